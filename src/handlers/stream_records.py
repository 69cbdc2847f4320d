"""Records of the table's stream as what they tell: which run has changed, and how.

A record is untrusted until it has been read whole: one that cannot be is an error of its own and spoils no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts.errors import InvalidMessage, InvalidRunId, InvalidSetting, StoreCorrupted
from contracts.identifiers import check_run_id
from contracts.records import RoundRecord, Run, Task
from contracts.stack_errors import ForeignRecord, InvalidRecord
from stores.dynamodb_items import decode

STREAM = "aws:dynamodb"
QUEUE = "aws:sqs"

_TABLE_ARN = re.compile(r"arn:[^:]+:dynamodb:[^:]*:[^:]*:table/(?P<table>[^/]+)(/.*)?")
_SEQUENCE_NUMBER = re.compile(r"\d+")
_SORT_KEYS = {
    "run": re.compile(r"run"),
    "task": re.compile(r"task#\d{6,}#\w+#\d{4,}(#g\d{2,})?"),
    "round": re.compile(r"round#\d{6,}"),
}
_TYPES: Mapping[str, type[Run | Task | RoundRecord]] = {"run": Run, "task": Task, "round": RoundRecord}
_OTHERS = frozenset({"stage", "steps", "spans", "predictions", "notice"})
"""Kinds of item that nobody here acts on. The mappings' filters let none of them through."""


class Change(NamedTuple):
    """A new or changed item of a run. Only what was just written: the store may have moved on since."""

    run_id: str
    record: Run | Task | RoundRecord


def records_of(event: Any) -> list[Any]:
    """The records of an event.

    Raises:
        InvalidMessage: it is no event of a stream or a queue.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise InvalidMessage("event", "it has no list of Records", "an event of the table's stream or of a queue")
    return records


def source_of(record: Any) -> str:
    """Which service a record comes from; empty where it does not say."""
    source = record.get("eventSource") if isinstance(record, Mapping) else None
    return source if isinstance(source, str) else ""


def sequence_number(record: Any) -> str:
    """What the stream calls a record; empty where it has no such name."""
    body = record.get("dynamodb") if isinstance(record, Mapping) else None
    number = body.get("SequenceNumber") if isinstance(body, Mapping) else None
    return number if isinstance(number, str) and _SEQUENCE_NUMBER.fullmatch(number) else ""


def read_change(record: Any, table: str) -> Change | None:
    """What a record of the stream tells; None for what concerns nobody: a removal, telemetry, a run being deleted.

    Args:
        table: name or ARN of the table that it must come from.
    Raises:
        InvalidRecord: it is not what lambdafit writes, or another version of it has written it.
        ForeignRecord: it comes from another table.
    """
    where = f"stream record {sequence_number(record) or 'without a number'}"
    if source_of(record) != STREAM:
        raise InvalidRecord(where, f"its eventSource is {source_of(record)!r}", STREAM)
    _check_table(record, table, where)
    name = record.get("eventName")
    if name == "REMOVE":
        return None
    if name not in ("INSERT", "MODIFY"):
        raise InvalidRecord(where, f"its eventName is {name!r}", "INSERT, MODIFY or REMOVE")
    body = record.get("dynamodb")
    image = body.get("NewImage") if isinstance(body, Mapping) else None
    if not isinstance(image, dict):
        raise InvalidRecord(where, "it has no NewImage", "the stream's view type NEW_IMAGE")
    kind = _value(image, "kind", "S") or ""
    if kind in _OTHERS:
        return None
    if kind not in _TYPES:
        raise InvalidRecord(where, f"the item's kind is {kind!r}", f"one of {', '.join(_TYPES)}")
    partition, run_id = (_value(image, "pk", "S") or "").partition("#")[::2]
    sort_key = _value(image, "sk", "S") or ""
    if partition != "run" or not _SORT_KEYS[kind].fullmatch(sort_key):
        raise InvalidRecord(where, f"the {kind} item's key is {partition}#{run_id} {sort_key}", "a key of a run's item")
    if kind == "run" and (_value(image, "version", "N") or "").startswith("-"):
        return None
    try:
        return Change(check_run_id(run_id), decode(image, _TYPES[kind]))
    except InvalidRunId as error:
        raise InvalidRecord(where, error.message) from None
    except (StoreCorrupted, InvalidSetting, TypeError) as error:
        raise InvalidRecord(where, str(error).partition("\n")[0]) from None


def _check_table(record: Mapping[str, Any], table: str, where: str) -> None:
    arn = record.get("eventSourceARN")
    found = _TABLE_ARN.fullmatch(arn) if isinstance(arn, str) else None
    if found is None:
        raise InvalidRecord(where, f"its eventSourceARN is {arn!r}", "that of a table's stream")
    wanted = table.rpartition("/")[2]
    if wanted and found["table"] != wanted:  # on one machine there is no table
        raise ForeignRecord(where, f"it comes from the table {found['table']!r}", repr(wanted))


def _value(image: Mapping[str, Any], attribute: str, of_type: str) -> str | None:
    """An attribute's value; None where it is missing or of another type."""
    value = image.get(attribute)
    found = value.get(of_type) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else None
