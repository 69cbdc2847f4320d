"""The parts of the stand-in for AWS that need no process: batches, filters, intrinsics, permissions, transactions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from rehearsal.batches import Outcome, Policy, Records, Throttled, deliver, outcome_of
from rehearsal.intrinsics import NO_VALUE, Intrinsics
from rehearsal.patterns import passes
from rehearsal.recording import needed_permissions


def records(*names: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "dynamodb": {"SequenceNumber": str(100 + number), "ApproximateCreationDateTime": 0.0}}
        for number, name in enumerate(names)
    ]


class Delivery:
    """Delivers a batch to a function that fails on `poison`, and notes everything."""

    def __init__(self, policy: Policy, poison: Sequence[str] = (), *, partial: bool = False) -> None:
        self.policy, self.poison, self.partial = policy, poison, partial
        self.invoked: list[str] = []
        self.done: list[str] = []
        self.given_up: list[tuple[str, str, int]] = []
        self.pauses: list[float] = []
        self.throttles = 0
        self.ages: dict[str, float] = {}

    def of(self, batch: Records) -> Delivery:
        deliver(
            batch,
            self.policy,
            self._invoke,
            give_up=lambda lost, why, tries: self.given_up.append((_names(lost), why, tries)),
            age_s=lambda record: self.ages.get(record["name"], 0.0),
            pause=lambda seconds: self.pauses.append(seconds) or True,
        )
        return self

    def _invoke(self, batch: Records) -> Outcome:
        if self.throttles:
            self.throttles -= 1
            raise Throttled
        self.invoked.append(_names(batch))
        poisoned = [number for number, record in enumerate(batch) if record["name"] in self.poison]
        if not poisoned:
            self.done += [record["name"] for record in batch]
            return Outcome(None)
        if not self.partial:
            return Outcome(0)
        self.done += [record["name"] for record in batch[: poisoned[0]]]
        return Outcome(poisoned[0], partial=True)


def _names(batch: Records) -> str:
    return "".join(record["name"] for record in batch)


BISECTING = Policy(retries=2, max_age_s=-1, bisect=True, reports_failures=True)
PLAIN = Policy(retries=2, max_age_s=-1, bisect=False, reports_failures=True)


def test_bisecting_finds_the_poison_and_uses_no_retry_for_it() -> None:
    seen = Delivery(BISECTING, poison="f").of(records(*"abcdefgh"))
    assert seen.invoked == ["abcdefgh", "abcd", "efgh", "ef", "e", "f", "f", "f", "gh"]
    assert seen.done == list("abcdegh")
    assert seen.given_up == [("f", "RetryAttemptsExhausted", 3)]


def test_without_bisecting_the_whole_batch_is_lost() -> None:
    seen = Delivery(PLAIN, poison="b").of(records(*"abc"))
    assert seen.invoked == ["abc"] * 3
    assert seen.given_up == [("abc", "RetryAttemptsExhausted", 3)]
    assert seen.pauses == [1.0, 2.0]


def test_a_partial_answer_goes_on_from_the_lowest_failed_record() -> None:
    seen = Delivery(PLAIN, poison="c", partial=True).of(records(*"abcd"))
    assert seen.invoked == ["abcd", "cd", "cd"]
    assert seen.given_up == [("cd", "RetryAttemptsExhausted", 3)], "what lies behind the poison goes with it"


def test_a_partial_answer_is_bisected_behind_its_checkpoint() -> None:
    seen = Delivery(BISECTING, poison="c", partial=True).of(records(*"abcdef"))
    assert seen.invoked == ["abcdef", "cd", "c", "c", "c", "d", "ef"]
    assert seen.done == list("abdef")
    assert seen.given_up == [("c", "RetryAttemptsExhausted", 3)]


def test_records_that_are_too_old_are_given_up_untried() -> None:
    seen = Delivery(Policy(retries=-1, max_age_s=60, bisect=False, reports_failures=False))
    seen.ages = {"a": 61.0}
    assert seen.of(records(*"ab")).invoked == ["b"]
    assert seen.given_up == [("a", "RecordAgeExceeded", 0)]


def test_throttles_are_no_tries() -> None:
    seen = Delivery(Policy(retries=0, max_age_s=-1, bisect=False, reports_failures=False))
    seen.throttles = 5
    assert seen.of(records(*"ab")).invoked == ["ab"]
    assert len(seen.pauses) == 5 and not seen.given_up


@pytest.mark.parametrize(
    ("answer", "failed_from"),
    [
        (None, None),
        ({}, None),
        ({"batchItemFailures": []}, None),
        ({"batchItemFailures": None}, None),
        ({"batchItemFailures": [{"itemIdentifier": "102"}, {"itemIdentifier": "101"}]}, 1),
        ({"batchItemFailures": [{"itemIdentifier": "7"}]}, 0),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, 0),
        ({"batchItemFailures": [{"bad": "101"}]}, 0),
        (["of another shape"], 0),
    ],
)
def test_answers(answer: Any, failed_from: int | None) -> None:
    expected = outcome_of(answer, False, records("a", "b", "c"), reports_failures=True).failed_from
    assert expected == failed_from
    assert outcome_of(answer, False, records("a"), reports_failures=False).failed_from is None
    assert outcome_of(answer, True, records("a"), reports_failures=True).failed_from == 0


def test_filters() -> None:
    task = {"eventName": "MODIFY", "dynamodb": {"NewImage": {"kind": {"S": "task"}, "status": {"S": "DONE"}}}}
    run = {"eventName": "INSERT", "dynamodb": {"NewImage": {"kind": {"S": "run"}}}}
    removed = {"eventName": "REMOVE", "dynamodb": {"Keys": {}}}

    def image(**wanted: Any) -> dict[str, Any]:
        return {"dynamodb": {"NewImage": {name: {"S": rules} for name, rules in wanted.items()}}}

    both = [image(kind=["run"]), image(kind=["task"], status=["DONE", "FAILED"])]
    assert passes(both, task) and passes(both, run) and not passes(both, removed)
    assert not passes([image(kind=["task"], status=["WAITING"])], task)
    assert passes([], removed)
    assert passes([image(kind=[{"prefix": "ta"}])], task) and not passes([image(kind=[{"prefix": "x"}])], task)
    assert passes([image(kind=[{"anything-but": ["run"]}])], task) and not passes(
        [image(kind=[{"anything-but": "run"}])], run
    )
    assert passes([image(status=[{"exists": False}])], run) and not passes([image(status=[{"exists": False}])], task)
    assert passes([{"$or": [{"eventName": ["INSERT"]}, image(status=["DONE"])]}], task)
    assert passes([{"eventName": [{"equals-ignore-case": "modify"}]}], task)
    with pytest.raises(ValueError, match="numeric"):
        passes([image(kind=[{"numeric": [">", 1]}])], task)


def test_intrinsics() -> None:
    template = {
        "Parameters": {
            "Size": {"Type": "Number", "Default": 3},
            "Zones": {"Type": "CommaDelimitedList", "Default": "a,b"},
        },
        "Conditions": {
            "Big": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Size"}, 3]}]},
            "Small": {"Fn::Not": [{"Condition": "Big"}]},
        },
        "Mappings": {"Prices": {"x86": {"Usd": "1.5"}}},
    }
    given = Intrinsics(template, {}, {"AWS::Region": "us-east-1"}, lambda name, attribute: f"<{name} {attribute}>")
    assert given.resolve({"a": [{"Ref": "Size"}, {"Ref": "AWS::NoValue"}], "b": {"Ref": "AWS::NoValue"}}) == {
        "a": ["3"]
    }
    assert (
        given.resolve({"Fn::Sub": "${Thing} ${Thing.Arn} ${!Kept} ${AWS::Region}"})
        == "<Thing > <Thing Arn> ${Kept} us-east-1"
    )
    assert given.resolve({"Fn::Sub": ["${Own}-${Size}", {"Own": {"Fn::GetAtt": ["Thing", "Arn"]}}]}) == "<Thing Arn>-3"
    assert given.resolve({"Fn::If": ["Big", 1, {"Fn::Join": ["-", ["a", {"Ref": "Size"}]]}]}) == "a-3"
    assert given.resolve({"Fn::Select": [1, {"Ref": "Zones"}]}) == "b"
    assert given.resolve({"Fn::FindInMap": ["Prices", "x86", "Usd"]}) == "1.5"
    assert given.resolve({"Fn::If": ["Big", 1, {"Ref": "AWS::NoValue"}]}) is NO_VALUE
    assert given.wanted({"Condition": "Small"}) and not given.wanted({"Condition": "Big"})
    with pytest.raises(KeyError, match="Sise"):
        Intrinsics(template, {"Sise": "3"}, {}, lambda *_: "")


def test_permissions_that_requests_need() -> None:
    def dynamodb(operation: str, **fields: Any) -> list[tuple[str, str]]:
        headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
        return needed_permissions("dynamodb", "r", "1", "POST", "/", "", headers, json.dumps(fields).encode())

    def s3(method: str, path: str, query: str = "", **headers: str) -> list[tuple[str, str]]:
        return needed_permissions(
            "s3", "r", "1", method, path, query, {k.replace("_", "-"): v for k, v in headers.items()}, b""
        )

    table = "arn:aws:dynamodb:r:1:table/t"
    parts = [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "t"}}, {"Update": {"TableName": "t"}}]
    assert dynamodb("TransactWriteItems", TransactItems=parts) == [
        ("dynamodb:PutItem", table),
        ("dynamodb:ConditionCheckItem", table),
        ("dynamodb:UpdateItem", table),
    ]
    assert dynamodb("Query", TableName="t", IndexName="i") == [("dynamodb:Query", f"{table}/index/i")]
    assert dynamodb("BatchWriteItem", RequestItems={"t": []}) == [("dynamodb:BatchWriteItem", table)]
    assert dynamodb("GetRecords", ShardIterator=f"{table}/stream/x|1|abc") == [
        ("dynamodb:GetRecords", f"{table}/stream/x")
    ]
    assert s3("GET", "/b/k/l") == [("s3:GetObject", "arn:aws:s3:::b/k/l")]
    assert s3("GET", "/b", "list-type=2") == [("s3:ListBucket", "arn:aws:s3:::b")]
    assert s3("POST", "/b/k", "uploads") == [("s3:PutObject", "arn:aws:s3:::b/k")]
    assert s3("DELETE", "/b/k", "uploadId=1") == [("s3:AbortMultipartUpload", "arn:aws:s3:::b/k")]
    assert s3("PUT", "/b/k", x_amz_copy_source="/c/d") == [
        ("s3:PutObject", "arn:aws:s3:::b/k"),
        ("s3:GetObject", "arn:aws:s3:::c/d"),
    ]
    message = needed_permissions(
        "sqs", "r", "1", "POST", "/", "", {"x-amz-target": "AmazonSQS.SendMessage"}, b'{"QueueUrl": "http://h:1/1/q"}'
    )
    assert message == [("sqs:SendMessage", "arn:aws:sqs:r:1:q")]
