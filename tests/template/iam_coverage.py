"""What the template lets each function do, held against the AWS calls that a recorded rehearsal made.

A record is a list of `{"function": "Train", "action": "dynamodb:GetItem", "resource": "arn:…", …}`, the function by its
logical id, or `user` for a person's command line. Names of resources differ from stack to stack, so a statement's ARN
matches any name of that kind; the stack has one table, one bucket and one topic, and function names keep their endings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.intrinsics import Intrinsics
from template.stack_template import template

USER = "user"
NAME = r"[^/:]+"

NOT_RECORDED: dict[tuple[str, str], str] = {
    ("*", "Log"): "Lambda's own log writer uses it, with no call of the function",
    ("*", "Files"): "mounting and writing through the mount are no API calls",
    ("*", "Stream"): "the event source mapping reads the stream in the function's name",
    ("*", "Streams"): "as Stream",
    ("*", "Failures"): "the event source mapping empties the queue in the function's name",
    ("*", "FailedTasks"): "Lambda delivers a failed invocation in the function's name",
    ("*", "Unhandled"): "as FailedTasks, for mappings and asynchronous invocations",
    ("*", "Describe"): "Lambda attaches the function to the network",
    ("*", "Attach"): "as Describe",
    ("*", "Detach"): "as Describe",
}
"""Statements that no recorded call can use: function (or `*`) and statement id → why they are needed all the same."""


@dataclass(frozen=True)
class Permission:
    """One allowed action of one statement."""

    function: str
    sid: str
    action: str
    resources: tuple[str, ...]

    def allows(self, call: Mapping[str, Any]) -> bool:
        """Whether it lets this call through."""
        return call["action"] == self.action and any(matches(one, call["resource"]) for one in self.resources)

    def __str__(self) -> str:
        return f"{self.function}: {self.sid} {self.action} on {', '.join(self.resources)}"


def matches(pattern: str, arn: str) -> bool:
    """Whether an ARN is meant by a statement's resource: `<…>` any one name, `*` anything."""
    parts = re.split(r"(<[^>]*>|\*)", pattern)
    expression = "".join(NAME if part.startswith("<") else ".*" if part == "*" else re.escape(part) for part in parts)
    return re.fullmatch(expression, arn) is not None


def _attribute(resource: str, attribute: str) -> str:
    """A resource's `Ref` (attribute empty) or attribute, its names as `<…>`."""
    one = template()["Resources"][resource]
    place = "<region>:<account>"
    arns = {
        "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{place}:table/<{resource}>",
        "AWS::S3::Bucket": f"arn:aws:s3:::<{resource}>",
        "AWS::SQS::Queue": f"arn:aws:sqs:{place}:<{resource}>",
        "AWS::SNS::Topic": f"arn:aws:sns:{place}:<{resource}>",
    }
    kind = one["Type"]
    match kind, attribute:
        case "AWS::Serverless::Function", "Arn":
            name = one["Properties"]["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", "<stack>")
            return f"arn:aws:lambda:{place}:function:{name}"
        case "AWS::Logs::LogGroup", "Arn":
            name = one["Properties"]["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", "<stack>")
            return f"arn:aws:logs:{place}:log-group:{name}:*"
        case "AWS::DynamoDB::Table", "StreamArn":
            return f"{arns[kind]}/stream/*"
        case ("AWS::SNS::Topic", "") | (_, "Arn") if kind in arns:
            return arns[kind]
        case _, "":
            return f"<{resource}>"
    raise KeyError(f"{resource}.{attribute} of {kind}")


def _intrinsics() -> Intrinsics:
    pseudo = {
        "AWS::Partition": "aws",
        "AWS::Region": "<region>",
        "AWS::AccountId": "<account>",
        "AWS::StackName": "<stack>",
        "AWS::StackId": "arn:aws:cloudformation:<region>:<account>:stack/<stack>/*",
    }
    return Intrinsics(template(), {}, pseudo, _attribute)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(caller: str) -> Iterator[dict[str, Any]]:
    """The resolved statements of a function's role and its managed policies, or of the users' policy."""
    resources = template()["Resources"]
    if caller == USER:
        documents = [resources["UserPolicy"]["Properties"]["PolicyDocument"]]
    else:
        role = resources[f"{caller}Role"]["Properties"]
        documents = [policy["PolicyDocument"] for policy in role["Policies"]]
        attached = [one["Ref"] for one in role.get("ManagedPolicyArns", [])]
        documents += [resources[name]["Properties"]["PolicyDocument"] for name in attached]
    for document in documents:
        yield from _intrinsics().resolve(document["Statement"])


def permissions(caller: str) -> list[Permission]:
    """Every action that a function, or a user, is allowed."""
    return [
        Permission(caller, one["Sid"], action, tuple(_as_list(one["Resource"])))
        for one in statements(caller)
        if one["Effect"] == "Allow"
        for action in _as_list(one["Action"])
    ]


def uncovered(calls: Iterable[Mapping[str, Any]]) -> list[str]:
    """The recorded calls that no statement allows: each function, action and resource once."""
    wanted = {(str(call["function"]), str(call["action"]), str(call["resource"])) for call in calls}
    allowed = {caller: permissions(caller) for caller, _, _ in wanted}
    return [
        f"{caller} {action} {resource}"
        for caller, action, resource in sorted(wanted)
        if not any(one.allows({"action": action, "resource": resource}) for one in allowed[caller])
    ]


def unused(
    callers: Iterable[str], calls: Iterable[Mapping[str, Any]], explained: Mapping[tuple[str, str], str]
) -> list[str]:
    """The permissions that no recorded call of these callers used, and that nobody explains.

    Args:
        explained: caller (or `*`) and statement id → why it is needed; beside `NOT_RECORDED`.
    """
    made: dict[str, set[tuple[str, str]]] = {}
    for call in calls:
        made.setdefault(call["function"], set()).add((call["action"], call["resource"]))
    reasons = {**NOT_RECORDED, **explained}
    return [
        str(one)
        for caller in callers
        for one in permissions(caller)
        if (caller, one.sid) not in reasons and ("*", one.sid) not in reasons
        if not any(one.allows({"action": a, "resource": r}) for a, r in made.get(caller, ()))
    ]
