"""moto's DynamoDB transactions, undone item by item.

moto undoes a transaction by putting a deep copy of the whole table in its place. The copy takes the longer the more
the table and its stream hold (70 ms soon), and the table that stands there afterwards has another stream: iterators
that were handed out before see nothing any more.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from moto.dynamodb import models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table

_moto_transact_write_items = DynamoDBBackend.transact_write_items


def install() -> None:
    """Put it in moto's place, in this process."""
    models.copy = SimpleNamespace(copy=copy.copy, deepcopy=_deepcopy_but_of_tables)
    DynamoDBBackend.transact_write_items = _transact_write_items


def _deepcopy_but_of_tables(value: Any, *arguments: Any) -> Any:
    return value if isinstance(value, Table) else copy.deepcopy(value, *arguments)


def _transact_write_items(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    undo = [_Target(backend, operation) for item in transact_items for operation in item.values()]
    try:
        _moto_transact_write_items(backend, transact_items)
    except BaseException:
        for target in reversed(undo):
            target.restore()
        raise


class _Target:
    """What one operation may change: an item, and the length of its table's stream."""

    def __init__(self, backend: DynamoDBBackend, operation: dict[str, Any]) -> None:
        self._table = backend.get_table(operation["TableName"])
        attributes = operation.get("Key") or operation["Item"]
        names = [name for name in (self._table.hash_key_attr, self._table.range_key_attr) if name]
        self._hash, self._range = backend.get_keys_value(self._table, {name: attributes[name] for name in names})
        self._item = copy.deepcopy(self._table.get_item(self._hash, self._range))
        shard = self._table.stream_shard
        self._stream_items = len(shard.items) if shard else 0

    def restore(self) -> None:
        """As it was."""
        table = self._table
        holder, key = (table.items[self._hash], self._range) if table.range_key_attr else (table.items, self._hash)
        if self._item is None:
            holder.pop(key, None)
        else:
            holder[key] = self._item
        if table.stream_shard:
            del table.stream_shard.items[self._stream_items :]
