"""The numbered errors of a stack in an AWS account, and of what it consists of and needs."""

from __future__ import annotations

from contracts.errors import EXIT_RUN_FAILED, LambdafitError

# --- the table -------------------------------------------------------------------------------------------


class StoreUnreachable(LambdafitError):
    number = "E311"
    retryable = True
    advice = "DynamoDB did not answer, or is throttling. Nothing is lost: the sweep goes on with open runs."


class ItemTooLarge(LambdafitError):
    number = "E312"
    advice = "DynamoDB takes no larger items. Use fewer workers or slices."


class StoreRefused(LambdafitError):
    number = "E313"
    advice = "Renew the credentials, check the region, and that they may use the stack's table (its UserPolicyArn)."


class TableNotFound(LambdafitError):
    number = "E314"
    advice = "Check --stack-name, the region and the account; `lambdafit deploy` makes the table."


# --- the bucket ------------------------------------------------------------------------------------------


class ObjectNotFound(LambdafitError):
    number = "E321"
    advice = "`lambdafit data push NAME` brings a data set there; `lambdafit deploy` makes the bucket and the rest."


class ObjectsUnreachable(LambdafitError):
    number = "E322"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "S3 did not answer, or asked for patience. It is tried again; the AWS Health Dashboard tells of outages."


class ObjectsForbidden(LambdafitError):
    number = "E323"
    advice = "The role or user that asks lacks this permission on the stack's bucket: `lambdafit doctor --engine aws`."


class ObjectChanged(LambdafitError):
    number = "E324"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "Somebody replaced the object while it was being read. It is read again from its beginning."


# --- the workers' libraries ------------------------------------------------------------------------------


class ArchiveNotFound(LambdafitError):
    number = "E411"
    exit_code = EXIT_RUN_FAILED
    advice = "`lambdafit deploy` uploads the libraries; with LibrariesSource=efs it also invokes InstallLibraries."


class ArchiveUnsuitable(LambdafitError):
    number = "E412"
    exit_code = EXIT_RUN_FAILED
    advice = "`lambdafit deploy` builds the archive for the stack's architecture and Python."


class ArchiveCorrupted(LambdafitError):
    number = "E413"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "Nothing of it was used. Where it happens again, `lambdafit deploy` uploads the archive anew."


class NoRoomForLibraries(LambdafitError):
    number = "E414"
    exit_code = EXIT_RUN_FAILED
    advice = "Raise the function's EphemeralStorage in template.yaml, or take LibrariesSource=efs."


class LibrariesOutdated(LambdafitError):
    number = "E415"
    exit_code = EXIT_RUN_FAILED
    advice = "`lambdafit deploy` builds and uploads the libraries that belong to this code."


class LibrariesNotBuilt(LambdafitError):
    number = "E416"
    advice = "`make setup` installs uv and a Python 3.13; packages come from the index that uv is set to."


# --- messages and functions ------------------------------------------------------------------------------


class InvalidRecord(LambdafitError):
    number = "E421"
    advice = "It goes to the queue of dead letters, the others go on. Was the table written to by another program?"


class ForeignRecord(LambdafitError):
    number = "E422"
    advice = "It belongs to another stack: look at the event source mappings and the queue of failed invocations."


class FunctionNotFound(LambdafitError):
    number = "E423"
    advice = "The stack is missing or half-deployed: `lambdafit deploy`."


class InvokeForbidden(LambdafitError):
    number = "E424"
    advice = "Whoever invokes lacks lambda:InvokeFunction on it: `lambdafit deploy` restores the roles of the stack."


class EventTooLarge(LambdafitError):
    number = "E425"
    advice = "Lambda takes 1 MB asynchronously and 6 MB synchronously: send less at once."


class SweepIncomplete(LambdafitError):
    number = "E426"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "The other runs went on. The log of the Sweep function has each run's error; the next sweep tries again."


class NotificationFailed(LambdafitError):
    number = "E427"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "The run itself is not concerned. Look at the topic and at the permission to publish to it."


# --- the stack -------------------------------------------------------------------------------------------


class StackNotFound(LambdafitError):
    number = "E431"
    advice = "`lambdafit deploy` makes one; --stack-name, --region and --profile say where it is looked for."


class StackNotReady(LambdafitError):
    number = "E432"
    advice = "Wait for the deployment to end, or mend it: `lambdafit deploy`; CloudFormation's events say what failed."


class StackVersionDiffers(LambdafitError):
    number = "E433"
    advice = "Bring both to the same version: `lambdafit deploy`, or install the stack's version of lambdafit here."


class CredentialsMissing(LambdafitError):
    number = "E434"
    advice = "Sign in (`aws sso login`, `aws configure`), or name another --profile; then the same command again."


class AccessDenied(LambdafitError):
    number = "E435"
    advice = "Have the managed policy of the stack's output UserPolicyArn attached to your user or role."


class RegionMissing(LambdafitError):
    number = "E436"
    advice = "Give --region, or set AWS_REGION, or a region in your AWS profile."


class AwsUnreachable(LambdafitError):
    number = "E437"
    retryable = True
    advice = "Look at the network and at AWS_ENDPOINT_URL…; a run that has been started goes on: `lambdafit watch RUN`."


class RunOfOtherStack(LambdafitError):
    number = "E438"
    advice = (
        "`lambdafit runs list` shows the runs of a place: --stack-name NAME of a stack, --engine local of this machine."
    )


class FunctionThrottled(LambdafitError):
    number = "E439"
    retryable = True
    advice = "Too many functions run at once: wait, use fewer --workers, or have the account's quota raised."


class MountFailed(LambdafitError):
    number = "E440"
    retryable = True
    advice = "`lambdafit doctor --engine aws` tries again; see the file system's mount targets and port 2049."


class FunctionNotReady(LambdafitError):
    number = "E441"
    retryable = True
    advice = "After weeks of idleness network interfaces take minutes to come back: try again, then `lambdafit deploy`."


class QuotaTooSmall(LambdafitError):
    number = "E442"
    advice = "Use fewer --workers, or have `Concurrent executions` of Lambda raised in the Service Quotas console."


class SamNotFound(LambdafitError):
    number = "E443"
    advice = "`make programs` in a checkout, `uv tool install aws-sam-cli` or `pipx install aws-sam-cli`; then again."


class DeployFailed(LambdafitError):
    number = "E444"
    advice = "What sam printed says why. Mend it, then `lambdafit deploy` again: what is done is not done twice."


class UndeployIncomplete(LambdafitError):
    number = "E445"
    advice = "Remove what is named, or wait some minutes, then `lambdafit undeploy` again."


class LibrariesMissing(LambdafitError):
    number = "E446"
    advice = "`lambdafit deploy` builds and uploads the libraries that the workers need."


class StackDamaged(LambdafitError):
    number = "E447"
    advice = "The stack was changed by hand: `lambdafit deploy` puts it right."


class RunAtWork(LambdafitError):
    number = "E448"
    advice = "Stop it first: `lambdafit runs stop RUN`."


class AwsRefused(LambdafitError):
    number = "E449"
    advice = "AWS says why. `lambdafit doctor --engine aws` looks at the whole stack."
