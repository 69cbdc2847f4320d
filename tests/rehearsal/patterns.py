"""Event filter patterns, as event source mappings use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MISSING = object()


def passes(patterns: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> bool:
    """Whether a record passes one of the filters, or there are none."""
    return not patterns or any(_object(pattern, record) for pattern in patterns)


def _object(pattern: Mapping[str, Any], value: Any) -> bool:
    present = value if isinstance(value, Mapping) else {}
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(_object(one, present) for one in wanted):
                return False
        elif isinstance(wanted, Mapping):
            if not _object(wanted, present.get(name)):
                return False
        elif not any(_rule(rule, present.get(name, _MISSING)) for rule in wanted):
            return False
    return True


def _rule(rule: Any, value: Any) -> bool:
    if not isinstance(rule, Mapping):
        return value is not _MISSING and value == rule and type(value) is type(rule)
    ((name, argument),) = rule.items()
    if name == "exists":
        return (value is not _MISSING) is argument
    if value is _MISSING:
        return False
    match name:
        case "prefix":
            return isinstance(value, str) and value.startswith(argument)
        case "suffix":
            return isinstance(value, str) and value.endswith(argument)
        case "equals-ignore-case":
            return isinstance(value, str) and value.lower() == argument.lower()
        case "anything-but":
            if isinstance(argument, Mapping):
                return not _rule(argument, value)
            return value not in (argument if isinstance(argument, list) else [argument])
    # Numeric rules among them: DynamoDB's numbers are texts, which they never match.
    raise ValueError(f"filter rule {name!r}: of no use on a table's stream, or unknown")
