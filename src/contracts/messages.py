"""What travels between functions: small JSON with ids, never tensors.

The field names are those of the method's first publication, so its three bare events are valid as they are:

    {"start": true, "workers": 5}
    {"workerno": 3, "workers": 5, "epochsdone": 6}
    {"combine": true, "workers": 5, "epochsdone": 6}

`epochsdone` counts finished rounds: 6 asks for round 7. A bare event names no run; it means the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.errors import InvalidMessage
from contracts.identifiers import SHOWN, check_run_id
from contracts.records import TaskKey, TaskKind

NEWEST_RUN = "latest"
NEWEST_ATTEMPT = 0
MAX_NUMBER = 10**9
"""Of rounds, workers and attempts: a store's integers have 64 bits, Python's have no end."""

FUNCTIONS: dict[TaskKind, str] = {
    "prepare": "prepare",
    "extract": "train",
    "initialise": "train",
    "train": "train",
    "combine": "combine",
    "evaluate": "train",
    "clear": "combine",
}
"""Which function does which kind of task."""


class TaskMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one task, offered to whoever claims it."""

    run_id: str
    key: TaskKey
    attempt: int

    def to_event(self) -> dict[str, Any]:
        """As JSON-ready data with the published field names."""
        key = self.key
        event: dict[str, Any] = {"run_id": self.run_id, "round_index": key.round_index, "attempt": self.attempt}
        if key.kind == "train":
            return event | {"workerno": key.index, "epochsdone": key.round_index - 1}
        if key.kind == "combine":
            more = {"combine": True, "sliceno": key.index, "generation": key.generation}
            return event | more | {"epochsdone": key.round_index - 1}
        return event | {"task": key.kind, "index": key.index}


def parse_task(event: Mapping[str, Any]) -> TaskMessage:
    """The task message in an event, bare ones included.

    Raises:
        InvalidMessage: a field is missing, of another type or out of range.
    """
    if not isinstance(event, Mapping):
        raise InvalidMessage("event", f"a {type(event).__name__}", "an object")
    run_id = event.get("run_id", NEWEST_RUN)
    if run_id != NEWEST_RUN:
        check_run_id(_text(event, "run_id"))
    attempt = _whole_number(event, "attempt", NEWEST_ATTEMPT)
    round_index = _whole_number(event, "round_index", _whole_number(event, "epochsdone", -1) + 1)
    if event.get("combine"):
        key = TaskKey(
            round_index=round_index,
            kind="combine",
            index=_whole_number(event, "sliceno", 0),
            generation=_whole_number(event, "generation", 1),
        )
    elif "workerno" in event:
        key = TaskKey(round_index=round_index, kind="train", index=_whole_number(event, "workerno", 0))
    else:
        kind = _text(event, "task")
        if kind not in FUNCTIONS:
            raise InvalidMessage("event", f"task is {_shown(kind)}", f"one of {', '.join(FUNCTIONS)}")
        key = TaskKey(round_index=round_index, kind=kind, index=_whole_number(event, "index", 0))
    if key.kind in ("train", "combine") and round_index < 1:
        raise InvalidMessage("event", "it names no round", "epochsdone, a whole number, 0 or more")
    workers = _whole_number(event, "workers", key.index + 1)
    if key.kind == "train" and key.index >= workers:
        raise InvalidMessage("event", f"workerno is {key.index}", f"0 to {workers - 1}")
    return TaskMessage(run_id=run_id, key=key, attempt=attempt)


def is_start(event: Mapping[str, Any]) -> bool:
    """Whether the event asks for a new run."""
    return event.get("start") is True


def warm_up_event(run_id: str) -> dict[str, Any]:
    """Asks an execution environment to load what its first task of this run will need."""
    return {"warm_up": True, "run_id": run_id}


def is_warm_up(event: Mapping[str, Any]) -> bool:
    """Whether the event brings no work yet: see `warm_up_event`."""
    return event.get("warm_up") is True


def is_probe(event: Mapping[str, Any]) -> bool:
    """Whether the event only wants to know that the function is awake."""
    return event.get("probe") is True


def _text(event: Mapping[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str):
        raise InvalidMessage("event", f"{field} is {_shown(value)}", "a text")
    return value


def _whole_number(event: Mapping[str, Any], field: str, default: int) -> int:
    value = event.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or (field in event and value < 0):
        raise InvalidMessage("event", f"{field} is {_shown(value)}", "a whole number, 0 or more")
    if value > MAX_NUMBER:
        raise InvalidMessage("event", f"{field} is too large", f"at most {MAX_NUMBER}")
    return value


def _shown(value: Any) -> str:
    """A foreign value in a message: never longer than a line or two."""
    return repr(value)[:SHOWN] if not isinstance(value, int) or abs(value) <= MAX_NUMBER else "a large number"
