"""All numbered errors, and the way back from what was stored of one."""

from __future__ import annotations

import contracts.stack_errors  # noqa: F401 - these, too, are subclasses
from contracts.errors import ErrorRecord, LambdafitError, TaskFailed


def all_errors() -> list[type[LambdafitError]]:
    """Every numbered error, in order of its number."""
    return sorted(LambdafitError.__subclasses__(), key=lambda error: error.number)


def error_from_record(record: ErrorRecord) -> LambdafitError:
    """The exception that a record was made of; E406 where its name is not known here."""
    kind = next((kind for kind in all_errors() if kind.__name__ == record.name), TaskFailed)
    error = kind.__new__(kind)
    error.message = record.message
    error.advice_given = record.advice
    Exception.__init__(error, str(record))
    return error
