"""One worker's steps summed up for the bill, so that no batch need be kept."""

from __future__ import annotations

from contracts.records import StepBatch
from runs.summary import UNATTENDED_GAP_S, PackedSteps
from runs.table_units import record_bytes, write_units


class StepSums:
    """The sums of one worker: one record for each stretch of time without a long silence."""

    def __init__(self, worker_index: int) -> None:
        self._worker_index = worker_index
        self._round_index = 0
        self._seen: set[tuple[int, int]] = set()
        self._stretches: list[_Stretch] = []

    def add(self, batch: StepBatch) -> None:
        """Count a batch. One of the newest round that comes again, stored anew, counts once."""
        if batch.round_index > self._round_index:
            self._round_index = batch.round_index
            self._seen.clear()
        which = (batch.attempt, batch.first_step)
        if batch.round_index == self._round_index:
            if which in self._seen:
                return
            self._seen.add(which)
        step_s = sum(batch.durations_ms) / 1000
        began_at = batch.ended_at - step_s
        if not self._stretches or not self._stretches[-1].is_near(began_at, batch.ended_at):
            self._stretches.append(_Stretch(began_at, batch.ended_at))
        self._stretches[-1].add(batch, step_s, began_at)

    @property
    def packed(self) -> list[PackedSteps]:
        """The sums so far."""
        return [stretch.packed(self._worker_index) for stretch in self._stretches]


class _Stretch:
    def __init__(self, began_at: float, ended_at: float) -> None:
        self._began_at = began_at
        self._ended_at = ended_at
        self._steps = self._examples = self._writes = self._bytes = 0
        self._step_s = 0.0

    def is_near(self, began_at: float, ended_at: float) -> bool:
        """Whether no long silence lies between this stretch and that one."""
        return began_at <= self._ended_at + UNATTENDED_GAP_S and ended_at >= self._began_at - UNATTENDED_GAP_S

    def add(self, batch: StepBatch, step_s: float, began_at: float) -> None:
        size = record_bytes(batch)
        self._steps += len(batch.losses)
        self._examples += sum(batch.examples)
        self._step_s += step_s
        self._began_at = min(self._began_at, began_at)
        self._ended_at = max(self._ended_at, batch.ended_at)
        self._writes += write_units(size)
        self._bytes += size

    def packed(self, worker_index: int) -> PackedSteps:
        return PackedSteps(
            worker_index=worker_index,
            steps=self._steps,
            examples=self._examples,
            step_s=self._step_s,
            began_at=self._began_at,
            ended_at=self._ended_at,
            table_writes=self._writes,
            table_bytes=self._bytes,
        )
