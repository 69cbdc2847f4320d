"""What is known of one run, as it comes in, and what pages are shown of it: a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from contracts.records import PredictionBatch, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey
from dashboard.queries.packed_records import Packed, PackedRecords, PackedTasks, tasks_of
from dashboard.queries.source import Source
from dashboard.queries.step_grid import StepGrid, Steps
from dashboard.queries.step_sums import StepSums
from runs.block_progress import ToldBlocks
from runs.summary import PackedSteps, RunHistory

__all__ = ["RunData", "RunSnapshot", "Steps"]

MAX_CHANGES = 512
FINISHED_TASKS = frozenset({"DONE", "FAILED"})
SpanName = tuple[TaskKey, int, str]
"""Task, attempt, request: a batch that is stored again has the same one."""


class Change(NamedTuple):
    """At this revision the columns from here on changed."""

    revision: int
    first_column: int


class RunSnapshot(NamedTuple):
    """One run at one moment. Cheap to make and to hand on: the steps are windows, not copies.

    Args:
        revision: grows whenever anything has changed; no two runs of a process share one.
        read_at: when it was read, in s since 1970.
        newest_at: the newest time that anything in it speaks of, in s since 1970.
        tasks: those of every round, packed where they will not change: `tasks_of` and columns cost less than a walk.
        spans: those of rounds whose tasks will not change are packed, too.
        predictions: of each worker and round those of the last attempt.
        conducted: whether it was being worked at.
        outdated_predictions: those of attempts before, which are stored, too.
        changes: what `first_changed_column` goes by.
        packed_steps: what `history` gives in place of the batches.
        told_blocks: worker → blocks of a frozen backbone's outputs that it has told of.
    """

    run: Run
    revision: int
    read_at: float
    newest_at: float
    steps: Steps
    rounds: tuple[RoundRecord, ...]
    tasks: Mapping[TaskKey, Task]
    spans: Sequence[SpanBatch]
    predictions: tuple[PredictionBatch, ...]
    conducted: bool
    source: Source
    changes: tuple[Change, ...] = ()
    outdated_predictions: tuple[PredictionBatch, ...] = ()
    packed_steps: tuple[PackedSteps, ...] = ()
    told_blocks: Mapping[int, int] = MappingProxyType({})

    @property
    def columns(self) -> int:
        """How many steps of the run have begun to come in."""
        return len(self.steps.round_index)

    @property
    def current_tasks(self) -> Mapping[TaskKey, Task]:
        """Those of the round that the run is at."""
        return self.tasks_of(self.run.round_index)

    def tasks_of(self, round_index: int) -> Mapping[TaskKey, Task]:
        """The tasks of one round."""
        return tasks_of(self.tasks, round_index)

    def first_changed_column(self, since_revision: int) -> int:
        """Columns before it are as they were at that revision; the number of columns if none changed."""
        changed = (change.first_column for change in self.changes if change.revision > since_revision)
        return min(chain(changed, (self.columns,)))

    def history(self) -> RunHistory:
        """For `runs.summary` and `runs.bill`: what `runs.summary.load` would give them, without the single steps."""
        return RunHistory(
            run=self.run,
            tasks=list(self.tasks.values()),
            rounds=self.rounds,
            spans=tuple(self.spans),
            steps=(),
            packed_steps=self.packed_steps,
            predictions=(*self.predictions, *self.outdated_predictions),
        )


class RunData:
    """All of one run that has been read so far. For one thread at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rounds: list[RoundRecord] = []
        self.settled_through = -1
        self._settled: list[Packed[Task]] = []  # by round
        self._unsettled: dict[int, Mapping[TaskKey, Task]] = {}
        self._settled_spans: dict[int, Packed[SpanBatch]] = {}  # by round
        self._spans: dict[SpanName, SpanBatch] = {}
        self._predictions: dict[tuple[int, int], PredictionBatch] = {}
        self._outdated_predictions: dict[tuple[int, int, int], PredictionBatch] = {}
        self._grid = StepGrid(run.settings.workers)
        self._blocks = ToldBlocks()
        self._sums = [StepSums(worker) for worker in range(run.settings.workers)]
        self._changes: list[Change] = []
        self._first_changed: int | None = None
        self._newest_at = 0.0
        self.use_run(run)

    @property
    def last_round(self) -> int:
        """The newest committed round that was read; 0 where there is none."""
        return self.rounds[-1].round_index if self.rounds else 0

    def use_run(self, run: Run) -> bool:
        """The run as it is now. Returns whether it has changed."""
        changed = run.version != self.run.version
        self.run = run
        self._grid.use_plan(run)
        self._heard(run.created_at, run.started_at, run.ended_at)
        return changed

    def add_rounds(self, rounds: Sequence[RoundRecord]) -> bool:
        """Rounds committed since. Returns whether there are any."""
        self.rounds += rounds
        self._heard(*(record.committed_at for record in rounds))
        return bool(rounds)

    def use_tasks(self, round_index: int, tasks: Mapping[TaskKey, Task]) -> bool:
        """The tasks of a round that was not settled. Returns whether one has changed."""
        before = self._unsettled.get(round_index, {})
        changed = _versions(before) != _versions(tasks)
        self._unsettled[round_index] = tasks
        for task in tasks.values():
            # What a backup took over is billed to its time limit, which may be yet to come.
            self._heard(*(record.ended_at for record in task.history if record.outcome != "superseded"))
            self._heard(task.claim.claimed_at if task.claim else 0.0)
        return changed

    def settle(self, latest_open: int) -> None:
        """Rounds whose tasks will not change any more are not read again.

        Args:
            latest_open: rounds before this one count as settled, whatever their tasks say.
        """
        for index in range(self.settled_through + 1, self.run.round_index):
            tasks = self._unsettled.get(index)
            if tasks is None or (index >= latest_open and not _all_finished(tasks)):
                break
            self._settled.append(Packed(Task, tasks.values()))
            del self._unsettled[index]
            self.settled_through = index
        self._settle_spans()

    def add_steps(self, batches: Iterable[StepBatch]) -> bool:
        """Steps that have come in. Returns whether there are any.

        Raises:
            StoreCorrupted: they cannot be of this run.
        """
        changed = False
        for batch in batches:
            if not (0 <= batch.worker_index < len(self._sums) and self._blocks.hear(batch)):
                column = self._grid.put(batch)
                self._first_changed = column if self._first_changed is None else min(column, self._first_changed)
            self._sums[batch.worker_index].add(batch)
            self._heard(batch.ended_at)
            changed = True
        return changed

    def add_spans(self, batches: Iterable[SpanBatch]) -> bool:
        """Spans that have come in. Returns whether there are any."""
        changed = False
        for batch in batches:
            self._spans[_span_name(batch)] = batch
            self._heard(*(span.end_s for span in batch.spans))
            changed = True
        return changed

    def add_predictions(self, batches: Iterable[PredictionBatch]) -> bool:
        """Predictions that have come in: the last attempt's count. Returns whether there are any."""
        changed = False
        for batch in batches:
            which = (batch.parameters_round, batch.worker_index)
            older = self._predictions.get(which, batch)
            if older.attempt > batch.attempt:
                older, batch = batch, older
            if older.attempt < batch.attempt:
                self._outdated_predictions[*which, older.attempt] = older
            self._predictions[which] = batch
            self._heard(batch.made_at)
            changed = True
        return changed

    def snapshot(self, revision: int, read_at: float, conducted: bool, source: Source) -> RunSnapshot:
        """What there is now, under a revision that no snapshot had before."""
        if self._first_changed is not None:
            self._note(Change(revision, self._first_changed))
            self._first_changed = None
        return RunSnapshot(
            run=self.run,
            revision=revision,
            read_at=read_at,
            newest_at=self._newest_at,
            steps=self._grid.steps(),
            rounds=tuple(self.rounds),
            tasks=PackedTasks(self._settled, self._unsettled),
            spans=PackedRecords(self._settled_spans.values(), self._spans.values()),
            predictions=tuple(self._predictions.values()),
            conducted=conducted,
            source=source,
            changes=tuple(self._changes),
            outdated_predictions=tuple(self._outdated_predictions.values()),
            packed_steps=tuple(chain.from_iterable(sums.packed for sums in self._sums)),
            told_blocks=dict(self._blocks.by_worker),
        )

    def _settle_spans(self) -> None:
        """Pack those of settled rounds. The last ones of a round mostly come when it is settled already."""
        late: dict[int, list[SpanName]] = {}
        for name in self._spans:
            if name[0].round_index <= self.settled_through:
                late.setdefault(name[0].round_index, []).append(name)
        for index, names in late.items():
            packed = self._settled_spans.get(index)
            batches = {_span_name(batch): batch for batch in packed.unpack()} if packed else {}
            batches |= {name: self._spans.pop(name) for name in names}
            self._settled_spans[index] = Packed(SpanBatch, batches.values())

    def _note(self, change: Change) -> None:
        """Only changes that reach further back than all later ones matter."""
        while self._changes and self._changes[-1].first_column >= change.first_column:
            self._changes.pop()
        self._changes.append(change)
        if len(self._changes) > MAX_CHANGES:  # the two oldest become one that is never too late
            oldest, second = self._changes[:2]
            self._changes[:2] = [Change(second.revision, oldest.first_column)]

    def _heard(self, *times: float) -> None:
        self._newest_at = max(self._newest_at, *times, 0.0)


def _span_name(batch: SpanBatch) -> SpanName:
    return batch.key, batch.attempt, batch.request_id


def _versions(tasks: Mapping[TaskKey, Task]) -> list[tuple[TaskKey, int]]:
    return [(key, task.version) for key, task in tasks.items()]


def _all_finished(tasks: Mapping[TaskKey, Task]) -> bool:
    return all(task.status in FINISHED_TASKS for task in tasks.values())
