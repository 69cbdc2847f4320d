"""A run store that counts its reads, and a clock for those who look at it."""

from __future__ import annotations

from typing import Any

from dashboard_samples import SHAPE

from fakes.memory_store import MemoryStore


class Clock:
    """Time that stands still until it is told to move."""

    def __init__(self, now: float = SHAPE.started_at) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class CountedStore(MemoryStore):
    """Counts the calls of each read, and the steps that they brought."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.batches = 0
        self.error: Exception | None = None

    def load_run(self, run_id: str) -> Any:
        self.calls.append("run")
        if self.error:
            raise self.error
        return super().load_run(run_id)

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> Any:
        self.calls.append(f"tasks {round_index}")
        return super().load_tasks(run_id, round_index, consistent=consistent)

    def read_steps(self, run_id: str, cursor: str = "") -> Any:
        self.calls.append("steps")
        found, cursor = super().read_steps(run_id, cursor)
        self.batches += len(found)
        return found, cursor

    def read_spans(self, run_id: str, cursor: str = "") -> Any:
        self.calls.append("spans")
        return super().read_spans(run_id, cursor)

    def read_predictions(self, run_id: str, cursor: str = "") -> Any:
        self.calls.append("predictions")
        return super().read_predictions(run_id, cursor)

    def list_runs(self, limit: int = 100) -> Any:
        self.calls.append("list")
        return super().list_runs(limit)
