"""A DynamoDB client that counts capacity units by AWS's rules: moto's own figures do not depend on sizes.

- a write: 1 unit for each begun KB of the larger of the item before and after; twice in a transaction;
- a condition check in a transaction: 2 units for each begun KB of the item checked;
- a write that an index sees (its keys appear or go): 1 unit more;
- a consistent read: 1 unit for each begun 4 KB, of an item or of a query's page; half when not consistent.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from stores.dynamodb_items import Item, item_bytes

WRITE_BYTES = 1024
READ_BYTES = 4096
INDEXED = ("listing", "open")


class CapacityMeter:
    """Wraps a client; counts by partition key, from the last `reset` on."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._stored: dict[tuple[str, str], Item] = {}
        self.largest_bytes: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def reset(self) -> None:
        """Begin to count anew."""
        for counter in (self.writes, self.reads, self.requests):
            counter.clear()

    def put_item(self, **request: Any) -> Any:
        self.requests["put_item"] += 1
        answer = self._client.put_item(**request)
        self._put(request["Item"], factor=1)
        return answer

    def transact_write_items(self, **request: Any) -> Any:
        self.requests["transact_write_items"] += 1
        answer = self._client.transact_write_items(**request)
        for action in request["TransactItems"]:
            ((kind, body),) = action.items()
            if kind == "Put":
                self._put(body["Item"], factor=2)
            else:
                stored = self._stored.get(_key(body["Key"]))
                self.writes[body["Key"]["pk"]["S"]] += 2 * _units(stored, WRITE_BYTES)
        return answer

    def get_item(self, **request: Any) -> Any:
        self.requests["get_item"] += 1
        answer = self._client.get_item(**request)
        self.reads[request["Key"]["pk"]["S"]] += _units(answer.get("Item"), READ_BYTES)
        return answer

    def query(self, **request: Any) -> Any:
        self.requests["query"] += 1
        answer = self._client.query(**request)
        size = sum(item_bytes(item) for item in answer["Items"])
        units = max(1, math.ceil(size / READ_BYTES)) * (1.0 if request.get("ConsistentRead") else 0.5)
        partition = request["ExpressionAttributeValues"].get(":pk", {"S": request.get("IndexName", "")})
        self.reads[partition["S"]] += units
        return answer

    def batch_get_item(self, **request: Any) -> Any:
        self.requests["batch_get_item"] += 1
        answer = self._client.batch_get_item(**request)
        for items in answer["Responses"].values():
            for item in items:
                self.reads[item["pk"]["S"]] += _units(item, READ_BYTES)
        return answer

    def _put(self, item: Item, factor: int) -> None:
        before = self._stored.get(_key(item))
        self._stored[_key(item)] = item
        self.writes[item["pk"]["S"]] += factor * max(_units(before, WRITE_BYTES), _units(item, WRITE_BYTES))
        self.writes["indexes"] += sum((name in item) != (before is not None and name in before) for name in INDEXED)
        kind = item["kind"]["S"]
        self.largest_bytes[kind] = max(self.largest_bytes[kind], item_bytes(item))


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _units(item: Item | None, unit_bytes: int) -> int:
    """At least one: what is not there costs as much as what is small."""
    return max(1, math.ceil(item_bytes(item) / unit_bytes)) if item else 1
