"""Least privilege: named actions on named resources, and no more than the functions call."""

from __future__ import annotations

import pytest

from template.iam_coverage import NOT_RECORDED, USER, matches, permissions, statements, uncovered, unused
from template.stack_template import functions, resources, template

CALLERS = [*sorted(functions()), USER]
ANY_RESOURCE = {
    ("*", "Describe"): "describing network interfaces and subnets has no resource to be limited to",
    (
        "*",
        "Detach",
    ): "Lambda asks the role for these rights before there is a network interface, and refuses a narrower one",
    (USER, "CheckTheAccount"): "the account's settings and lists have no ARN",
}
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/stack-Table-1ABC"


def call(function: str, action: str, resource: str) -> dict[str, str]:
    return {"function": function, "service": action.partition(":")[0], "action": action, "resource": resource}


@pytest.mark.parametrize("caller", CALLERS)
def test_no_statement_allows_a_wildcard_action(caller: str) -> None:
    assert [one for one in permissions(caller) if "*" in one.action] == []


@pytest.mark.parametrize("caller", CALLERS)
def test_no_statement_allows_any_resource_unless_there_is_nothing_to_name(caller: str) -> None:
    wide = {one.sid for one in permissions(caller) if "*" in one.resources}
    assert {sid for sid in wide if (caller, sid) not in ANY_RESOURCE and ("*", sid) not in ANY_RESOURCE} == set()


def test_lambda_may_detach_whatever_interface_it_made_and_the_code_may_not() -> None:
    """Narrowed to network interfaces, creating a function in a network fails: only an account shows that."""
    policy = template()["Resources"]["NetworkPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    detach = next(one for one in policy if one["Sid"] == "Detach")
    assert "ec2:DeleteNetworkInterface" in detach["Action"]
    assert detach["Resource"] == "*"
    denied = next(one for one in policy if one["Effect"] == "Deny")
    assert set(detach["Action"]) <= set(denied["Action"])


def test_each_queue_has_a_policy_of_its_own_that_names_it_alone() -> None:
    """SQS refuses a statement about two queues: moto does not."""
    policies = list(resources("AWS::SQS::QueuePolicy").values())
    assert len(policies) == 2
    for policy in policies:
        assert len(policy["Queues"]) == 1
        for statement in policy["PolicyDocument"]["Statement"]:
            assert isinstance(statement["Resource"], (str, dict))


@pytest.mark.parametrize("caller", CALLERS)
def test_resources_are_of_this_account_and_region(caller: str) -> None:
    for one in permissions(caller):
        for arn in one.resources:
            assert arn == "*" or arn.startswith("arn:aws:s3:::<Bucket>") or ":<region>:<account>:" in arn, str(one)


def test_every_function_has_a_role_of_its_own_and_none_that_sam_makes() -> None:
    roles = {name: one["Role"] for name, one in functions().items()}
    assert roles == {name: {"Fn::GetAtt": [f"{name}Role", "Arn"]} for name in functions()}
    assert not [name for name, one in functions().items() if "Policies" in one]


def test_each_statement_of_a_role_has_an_id_of_its_own() -> None:
    for caller in CALLERS:
        ids = [one["Sid"] for one in statements(caller)]
        assert len(ids) == len(set(ids)), caller


def test_functions_may_invoke_only_what_they_need_to() -> None:
    allowed = {
        caller: {
            arn.rpartition("<stack>-")[2]
            for one in permissions(caller)
            if one.action == "lambda:InvokeFunction"
            for arn in one.resources
        }
        for caller in functions()
    }
    workers = {"train", "combine", "prepare"}
    assert allowed["Conduct"] == allowed["Sweep"] == workers
    assert allowed["StartRun"] == {"predict"}
    assert not [caller for caller in ("Monitor", "Train", "Combine", "Prepare", "Predict") if allowed[caller]]


def test_users_cannot_change_the_stack_or_its_code() -> None:
    writes = {one.action for one in permissions(USER)}
    assert not [action for action in writes if action.startswith(("iam:", "cloudformation:Create", "lambda:Update"))]
    keys = {
        arn.rpartition("<Bucket>")[2]
        for one in permissions(USER)
        if one.action == "s3:PutObject"
        for arn in one.resources
    }
    assert keys == {"/datasets/*", "/recipes/*", "/weights/*"}


def test_every_explanation_names_a_statement() -> None:
    for reasons in (NOT_RECORDED, ANY_RESOURCE):
        for caller, sid in reasons:
            callers = CALLERS if caller == "*" else [caller]
            assert any(one["Sid"] == sid for name in callers for one in statements(name)), (caller, sid)


def test_an_arn_is_matched_name_by_name() -> None:
    assert matches("arn:aws:dynamodb:<r>:<a>:table/<Table>", TABLE)
    assert not matches("arn:aws:dynamodb:<r>:<a>:table/<Table>", f"{TABLE}/index/open-runs")
    assert matches("arn:aws:dynamodb:<r>:<a>:table/<Table>/stream/*", f"{TABLE}/stream/2026-01-01T00:00:00.000")
    assert matches("arn:aws:lambda:<r>:<a>:function:<s>-train", "arn:aws:lambda:x:1:function:mine-train")
    assert not matches("arn:aws:lambda:<r>:<a>:function:<s>-train", "arn:aws:lambda:x:1:function:mine-combine")


def test_a_call_that_nobody_allowed_is_found() -> None:
    calls = [
        call("Train", "dynamodb:GetItem", TABLE),
        call("Train", "dynamodb:DeleteTable", TABLE),
        call("Train", "lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:111122223333:function:stack-train"),
        call("Conduct", "lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:111122223333:function:stack-train"),
    ]
    assert uncovered(calls) == [
        f"Train dynamodb:DeleteTable {TABLE}",
        "Train lambda:InvokeFunction arn:aws:lambda:eu-west-1:111122223333:function:stack-train",
    ]


def test_a_permission_that_nobody_used_is_found_unless_it_is_explained() -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:stack-Notices-1"
    calls = [call("Monitor", "sns:Publish", topic)]
    left = unused(["Monitor"], calls, {})
    assert [one for one in left if "sns:Publish" in one] == []
    assert [one for one in left if "dynamodb:GetItem" in one]
    assert (
        unused(["Monitor"], calls, {("Monitor", "RunStore"): "an example", ("Monitor", "SentNotices"): "an example"})
        == []
    )


def test_the_deny_on_network_calls_covers_what_is_allowed() -> None:
    policy = template()["Resources"]["NetworkPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = {
        a
        for s in policy
        if s["Effect"] == "Allow"
        for a in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])
    }
    (denied,) = [set(s["Action"]) for s in policy if s["Effect"] == "Deny"]
    assert denied == allowed


@pytest.mark.parametrize("service", ["dynamodb", "s3"])
def test_the_networks_endpoints_let_through_what_its_functions_may_do(service: str) -> None:
    inside = [name for name, one in functions().items() if "VpcConfig" in one]
    allowed = {one.action for name in inside for one in permissions(name) if one.action.startswith(f"{service}:")}
    (endpoint,) = (
        one for one in resources("AWS::EC2::VPCEndpoint").values() if one["ServiceName"]["Fn::Sub"].endswith(service)
    )
    (statement,) = endpoint["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == allowed
