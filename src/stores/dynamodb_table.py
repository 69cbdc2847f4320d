"""One DynamoDB table as the run store needs it: conditional writes and transactions that may be asked for twice,
consistent reads of whole ranges, and patience with a busy service.

A write after which nobody knows whether it happened (the network broke, the answer was lost) is sent again. Where its
condition then fails because it had happened, the stored item is what was to be written: that is success.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.stack_errors import StoreUnreachable
from stores.dynamodb_errors import (
    CANCELLED,
    CONDITION_FAILED,
    CONDITION_REASON,
    NO_REASON,
    answer_is_lost,
    code,
    numbered,
    passes,
    reasons,
    tried_before,
)
from stores.dynamodb_items import Item, key_of

MAX_ACTIONS = 100
MAX_GETS = 100
MAX_BATCH_WRITES = 25


@dataclass(frozen=True)
class Backoff:
    """How long to wait before another try: longer each time, and at random, so that those who met do not meet again.

    Args:
        attempts: tries altogether.
        patience_s: after so long no further try is made; one try alone may take long where the network is cut off.
        jitter: a fraction between 0 and 1.
        sleep: waits for so many seconds.
        clock: seconds since some moment.
    """

    attempts: int = 32
    first_s: float = 0.025
    longest_s: float = 2.0
    patience_s: float = 30.0
    jitter: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def wait(self, failures: int) -> None:
        """Wait after so many failures in a row."""
        self.sleep(self.jitter() * min(self.longest_s, self.first_s * 2.0**failures))


@dataclass(frozen=True)
class Condition:
    """What must hold for a write. Names begin with `#`, values with `:`."""

    expression: str
    names: dict[str, str]
    values: Item

    def as_request(self) -> dict[str, Any]:
        """As DynamoDB wants it; it answers with the stored item where the condition fails."""
        request: dict[str, Any] = {
            "ConditionExpression": self.expression,
            "ExpressionAttributeNames": self.names,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return request | ({"ExpressionAttributeValues": self.values} if self.values else {})


ABSENT = Condition("attribute_not_exists(#key)", {"#key": "pk"}, {})
PRESENT = Condition("attribute_exists(#key)", {"#key": "pk"}, {})


def at_version(version: int) -> Condition:
    """The stored item has this version; for 0 there is none."""
    if version == 0:
        return ABSENT
    return Condition("#version = :version", {"#version": "version"}, {":version": {"N": str(version)}})


def at_stage(stage: str) -> Condition:
    """The stored item carries this stage."""
    return Condition("#stage = :stage", {"#stage": "stage"}, {":stage": {"S": stage}})


@dataclass(frozen=True)
class Put:
    """Write the item."""

    item: Item
    condition: Condition | None = None


@dataclass(frozen=True)
class Delete:
    """Remove the item."""

    key: Item


@dataclass(frozen=True)
class Check:
    """Write nothing, but only go on if the condition holds."""

    key: Item
    condition: Condition


Action = Put | Delete | Check


class Table:
    """One table through boto3's low-level client, which threads may share.

    Args:
        page_items: how many items a query asks for at a time; None leaves it to DynamoDB (1 MB).
    """

    def __init__(self, name: str, client: Any, backoff: Backoff, page_items: int | None = None) -> None:
        self.name = name
        self._client = client
        self._backoff = backoff
        self._page = {} if page_items is None else {"Limit": page_items}

    # --- writes ---

    def put(self, item: Item, condition: Condition | None = None) -> bool:
        """Write one item. Returns whether its condition held."""
        request = {"TableName": self.name, "Item": item} | (condition.as_request() if condition else {})
        sent = _Attempts()
        try:
            self._patiently("put_item", partial(self._client.put_item, **request), sent)
        except _ConditionFailed as failure:
            return sent.ambiguous and _same(failure.error.response.get("Item"), item)
        return True

    def transact(self, actions: Sequence[Action]) -> frozenset[int]:
        """Carry out all actions or none.

        Returns:
            the positions of those whose condition did not hold; none where all were carried out.
        """
        items = [self._as_request(action) for action in actions]
        sent = _Attempts()

        def send() -> None:
            self._client.transact_write_items(TransactItems=items, ClientRequestToken=sent.token)

        try:
            self._patiently("transact_write_items", send, sent)
        except _ConditionFailed as failure:
            found = {i: r for i, r in enumerate(reasons(failure.error)) if r.get("Code") == CONDITION_REASON}
            puts = [(actions[i], reason) for i, reason in found.items() if isinstance(actions[i], Put)]
            # Written together: where one of them is stored as it was sent, all of them were carried out.
            if sent.ambiguous and any(isinstance(a, Put) and _same(r.get("Item"), a.item) for a, r in puts):
                return frozenset()
            return frozenset(found)
        return frozenset()

    def delete_many(self, keys: Sequence[Item]) -> None:
        """Remove items, whatever they are; not all at once."""
        for low in range(0, len(keys), MAX_BATCH_WRITES):
            left = [{"DeleteRequest": {"Key": key}} for key in keys[low : low + MAX_BATCH_WRITES]]
            for failures in range(self._backoff.attempts):
                if failures:
                    self._backoff.wait(failures)
                request = {"RequestItems": {self.name: left}}
                answer = self._patiently("batch_write_item", partial(self._client.batch_write_item, **request))
                left = answer.get("UnprocessedItems", {}).get(self.name, [])
                if not left:
                    break
            else:
                raise self._unprocessed("batch_write_item", len(left))

    # --- reads ---

    def get(self, key: Item) -> Item | None:
        """One item as last written."""
        request = {"TableName": self.name, "Key": key, "ConsistentRead": True}
        found: Item | None = self._patiently("get_item", partial(self._client.get_item, **request)).get("Item")
        return found

    def get_many(self, keys: Sequence[Item]) -> list[Item]:
        """Those of the items that there are, as last written; in no order."""
        found: list[Item] = []
        for low in range(0, len(keys), MAX_GETS):
            left = list(keys[low : low + MAX_GETS])
            for failures in range(self._backoff.attempts):
                if failures:
                    self._backoff.wait(failures)
                request = {"RequestItems": {self.name: {"Keys": left, "ConsistentRead": True}}}
                answer = self._patiently("batch_get_item", partial(self._client.batch_get_item, **request))
                found += answer.get("Responses", {}).get(self.name, [])
                left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
                if not left:
                    break
            else:
                raise self._unprocessed("batch_get_item", len(left))
        return found

    def range(self, partition_key: str, low: str, high: str, *, consistent: bool = True) -> Iterator[Item]:
        """The items of a partition whose sort keys are between two texts, in their order."""
        return self._query(
            {
                "KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :low AND :high",
                "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
                "ExpressionAttributeValues": {":pk": {"S": partition_key}, ":low": {"S": low}, ":high": {"S": high}},
                "ConsistentRead": consistent,
            }
        )

    def keys(self, partition_key: str) -> list[Item]:
        """The keys of all items of a partition."""
        request = {
            "KeyConditionExpression": "#pk = :pk",
            "ProjectionExpression": "#pk, #sk",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":pk": {"S": partition_key}},
            "ConsistentRead": True,
        }
        return [key_of(item) for item in self._query(request)]

    def index(
        self, name: str, attribute: str, value: str, *, forward: bool, page_items: int | None = None
    ) -> Iterator[Item]:
        """The keys that an index lists under a value, by its sort key. An index follows the table a little later."""
        request = {
            "IndexName": name,
            "KeyConditionExpression": "#attribute = :value",
            "ExpressionAttributeNames": {"#attribute": attribute},
            "ExpressionAttributeValues": {":value": {"S": value}},
            "ScanIndexForward": forward,
        }
        if page_items is not None:
            request["Limit"] = page_items
        return (key_of(item) for item in self._query(request))

    def _query(self, request: dict[str, Any]) -> Iterator[Item]:
        request = {"TableName": self.name} | self._page | request
        while True:
            answer = self._patiently("query", partial(self._client.query, **request))
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request = request | {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    # --- requests ---

    def _patiently(self, operation: str, send: Callable[[], Any], sent: _Attempts | None = None) -> Any:
        """The answer to a request, sent again while it fails in a way that passes.

        Raises:
            _ConditionFailed: for `put` and `transact` to look at.
            LambdafitError: anything else.
        """
        sent = sent or _Attempts()
        began_s = self._backoff.clock()
        failures = 0
        while True:
            try:
                return send()
            except (ClientError, BotoCoreError) as error:
                sent.note(error)
                if isinstance(error, ClientError) and _condition_failed(error):
                    raise _ConditionFailed(error) from error
                failures += 1
                over = failures >= self._backoff.attempts or self._backoff.clock() - began_s > self._backoff.patience_s
                if over or not passes(error):
                    raise numbered(error, self.name, operation) from error
            self._backoff.wait(failures)

    def _as_request(self, action: Action) -> dict[str, Any]:
        match action:
            case Put(item, condition):
                return {"Put": {"TableName": self.name, "Item": item} | (condition.as_request() if condition else {})}
            case Delete(key):
                return {"Delete": {"TableName": self.name, "Key": key}}
            case Check(key, condition):
                return {"ConditionCheck": {"TableName": self.name, "Key": key} | condition.as_request()}

    def _unprocessed(self, operation: str, count: int) -> StoreUnreachable:
        where = f"table {self.name} {operation}"
        return StoreUnreachable(where, f"{count} items were left unprocessed {self._backoff.attempts} times")


class _ConditionFailed(Exception):
    """Somebody else was faster: an answer, not an error."""

    def __init__(self, error: ClientError) -> None:
        super().__init__(str(error))
        self.error = error


class _Attempts:
    """What is known about the earlier attempts at one write.

    The same token tells DynamoDB for ten minutes that a transaction is the same one. After a cancellation, which is an
    answer, the next one is a new one.
    """

    def __init__(self) -> None:
        self.ambiguous = False
        self.token = secrets.token_hex(16)

    def note(self, error: ClientError | BotoCoreError) -> None:
        """An attempt failed: throttled ones were surely not carried out, those without an answer perhaps."""
        if code(error) == CANCELLED:
            self.token = secrets.token_hex(16)
        self.ambiguous = self.ambiguous or tried_before(error) or answer_is_lost(error)


def _condition_failed(error: ClientError) -> bool:
    if code(error) == CANCELLED:
        return any(reason.get("Code", NO_REASON) == CONDITION_REASON for reason in reasons(error))
    return code(error) == CONDITION_FAILED


def _same(stored: Any, written: Item) -> bool:
    """Whether the stored item carries the record that was to be written."""
    return bool(stored) and "data" in written and stored.get("data") == written["data"]
