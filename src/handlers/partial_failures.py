"""Which records of a batch failed, told as event source mappings want it (`ReportBatchItemFailures`).

Powertools' Batch hands its records over one by one; here all records of a run are one piece of work, so that a run is
reconciled once a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aws_lambda_powertools import Logger

from contracts.errors import LambdafitError, unexpected
from contracts.stack_errors import InvalidRecord


class PartialFailures:
    """Collects them while the others go on."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._names: set[str] = set()
        self._nameless: list[LambdafitError] = []

    def note(self, names: Iterable[str], error: Exception, run_id: str = "") -> None:
        """Records that failed, all for one reason.

        Args:
            names: their sequence numbers or message ids; an empty one has none.
        """
        numbered = unexpected(error, f"run {run_id}" if run_id else "record")
        names = list(names)
        self._names.update(name for name in names if name)
        if "" in names:
            self._nameless.append(numbered)
        self._logger.error(
            str(numbered),
            exc_info=None if isinstance(error, LambdafitError) else error,
            extra={"run_id": run_id, "error": numbered.number, "records": names},
        )

    def answer(self) -> dict[str, Any]:
        """What the mapping is told. Of a stream's failures it goes by the lowest, which comes first.

        Raises:
            InvalidRecord: a record that has no name failed: only the whole batch can be tried again, in halves.
        """
        if self._nameless:
            raise InvalidRecord("batch", f"a record without a name failed ({self._nameless[0].message.rstrip('.')})")
        ordered = sorted(self._names, key=lambda name: (int(name), name) if name.isdigit() else (0, name))
        return {"batchItemFailures": [{"itemIdentifier": name} for name in ordered]}
