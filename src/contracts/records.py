"""What the run store holds: immutable, versioned, the same for SQLite and DynamoDB.

A **run** is one item and carries its current stage. A **task** is one item and carries its claim and its
report, so that accepting a report is one conditional write. Nothing here decides anything.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from contracts.errors import ErrorRecord
from contracts.settings import RunSettings

RunStatus = Literal["PENDING", "RUNNING", "FINISHED", "FAILED", "CANCELLED"]
Phase = Literal["PREPARING", "EXTRACTING", "INITIALISING", "TRAINING", "COMBINING", "EVALUATING", "CLEARING"]
TaskKind = Literal["prepare", "extract", "initialise", "train", "combine", "evaluate", "clear"]
TaskStatus = Literal["WAITING", "OFFERED", "CLAIMED", "DONE", "FAILED"]
Outcome = Literal["done", "paused", "failed"]

ENDED: frozenset[str] = frozenset({"FINISHED", "FAILED", "CANCELLED"})


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all stored data: immutable, compact as JSON."""


class FileRef(Record, frozen=True, kw_only=True):
    """One file as its report named it: where, how long, and what its parts must hash to.

    `parts` are xxh3-128 digests of the data (without header) of each slice, in order; `count` values of
    `dtype`. For a file that is not a vector, one part covers the whole file and `count` is its bytes.
    """

    path: str
    bytes: int
    count: int
    dtype: str = "uint8"
    parts: tuple[str, ...]


class TaskKey(Record, frozen=True, kw_only=True, order=True):
    """Which task: its round, kind, index among its kind, and for combine tasks the generation."""

    round_index: int
    kind: TaskKind
    index: int = 0
    generation: int = 0

    def __str__(self) -> str:
        generation = f"#g{self.generation:02d}" if self.generation else ""
        return f"{self.round_index:06d}#{self.kind}#{self.index:04d}{generation}"


class Transfer(Record, frozen=True, kw_only=True):
    """What the shared file system bills for one execution, in bytes as it meters them."""

    read_bytes: int = 0
    written_bytes: int = 0


class Claim(Record, frozen=True, kw_only=True):
    """The right to report on a task: held by one execution, known by its random nonce.

    `transfer` is the most that it may move: what is billed for it if it dies without a word.
    """

    nonce: str
    request_id: str
    attempt: int
    claimed_at: float
    expires_at: float
    transfer: Transfer = Transfer()


class Span(Record, frozen=True, kw_only=True):
    """A stretch of time of one attempt. `start_s` and `end_s` are seconds since 1970."""

    name: str
    start_s: float
    end_s: float


class Report(Record, frozen=True, kw_only=True):
    """What one execution of a task did, with every file that it wrote.

    `voids` names inputs found torn: worker index → nonce of the report whose file it was. `transfer` is what was
    read and written; None where nobody measured it.
    """

    outcome: Outcome
    nonce: str
    outputs: dict[str, FileRef] = {}
    facts: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    examples: int = 0
    steps_done: int = 0
    spans: tuple[Span, ...] = ()
    fingerprint: str = ""
    peak_memory_bytes: int = 0
    error: ErrorRecord | None = None
    voids: dict[int, str] = {}
    transfer: Transfer | None = None


class AttemptRecord(Record, frozen=True, kw_only=True):
    """One ended attempt, for the bill, for `runs show`, and to find its lines in the logs.

    `cost_usd` holds its GB-seconds, its request and its `transfer`.
    """

    attempt: int
    nonce: str
    outcome: str
    started_at: float
    ended_at: float
    cost_usd: float
    request_id: str = ""
    transfer: Transfer = Transfer()


class Task(Record, frozen=True, kw_only=True):
    """A unit of work that one invocation does, and how far it has come.

    `attempt` numbers the newest dispatch; `failures` alone counts towards `max_attempts`, and only claimed
    attempts can fail. `resume` is the last pause's report: where the next attempt goes on.
    """

    key: TaskKey
    version: int = 0
    status: TaskStatus = "WAITING"
    attempt: int = 0
    failures: int = 0
    offers: int = 0
    offer_expires_at: float = 0.0
    backup_attempt: int = 0
    claim: Claim | None = None
    resume: Report | None = None
    report: Report | None = None
    error: ErrorRecord | None = None
    history: tuple[AttemptRecord, ...] = ()

    @property
    def cost_usd(self) -> float:
        """What all ended attempts cost."""
        return sum(record.cost_usd for record in self.history)


class RoundPlan(Record, frozen=True, kw_only=True):
    """How the examples are cut: `rounds_per_epoch` pieces an epoch, or `epochs_per_round` epochs a round.

    A piece has `examples_per_round` examples over all workers; an epoch's last one what remains.
    """

    examples: int
    examples_per_round: int
    rounds_per_epoch: int
    epochs_per_round: int
    total_rounds: int


class Best(Record, frozen=True, kw_only=True):
    """The best validated parameters so far: pinned, never cleared."""

    round_index: int
    value: float
    parameters: tuple[FileRef, ...]


class Run(Record, frozen=True, kw_only=True):
    """One training request and where it stands.

    `parameters` are those of round `round_index - 1`: the input of the current round, one file a slice.
    `outer` is the outer optimizer's state beside them. `inputs` is the frozen choice worker → nonce of a
    COMBINING stage; `previous_inputs` that of the round before, which names each worker's own state.
    `granted` are the open attempts that the budget has been reserved for. `clearing` is the clearing-up under way: it
    may outlast the round that it began beside. `feature_facts` are those of a frozen backbone's outputs, on which the
    workers train in place of the examples; empty where they train on the examples.
    """

    run_id: str
    version: int = 1
    settings: RunSettings
    code_version: str
    created_at: float
    deadline_at: float
    status: RunStatus = "PENDING"
    reason: str = ""
    error: ErrorRecord | None = None
    started_at: float = 0.0
    ended_at: float = 0.0

    phase: Phase = "PREPARING"
    round_index: int = 0
    generation: int = 1
    inputs: dict[int, str] = {}
    previous_inputs: dict[int, str] = {}
    voided: dict[int, str] = {}

    data_facts: dict[str, Any] = {}
    feature_facts: dict[str, Any] = {}
    plan: RoundPlan | None = None
    parameter_count: int = 0
    trainable_count: int = 0
    slice_bounds: tuple[int, ...] = ()
    parameters: tuple[FileRef, ...] = ()
    outer: tuple[FileRef, ...] = ()
    initial_state: FileRef | None = None
    constants: FileRef | None = None
    fingerprint: str = ""
    fingerprints_mixed: bool = False

    granted: tuple[str, ...] = ()
    spent_usd: float = 0.0
    examples_seen: int = 0
    train_loss: float | None = None
    validation: dict[str, float] = {}
    evaluations_without_gain: int = 0
    best: Best | None = None
    stop_reason: str = ""
    final_round: int | None = None
    clearing: TaskKey | None = None
    cleared_through: int = -1
    results: dict[str, Any] = {}

    @property
    def stage(self) -> str:
        """Status, phase, round and generation in one comparable text: what a claim is conditional on."""
        return f"{self.status}/{self.phase}/{self.round_index}/{self.generation}"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.status in ENDED

    @property
    def slices(self) -> int:
        """How many combine tasks a round has."""
        return len(self.slice_bounds) - 1


class RoundRecord(Record, frozen=True, kw_only=True):
    """What a committed round was: written once, in the same transaction that advances the run."""

    round_index: int
    generation: int
    committed_at: float
    examples: int
    epochs: float
    metrics: dict[str, float]
    inputs: dict[int, str]
    parameters: tuple[FileRef, ...]
    cost_usd: float


class StepBatch(Record, frozen=True, kw_only=True):
    """Many consecutive steps of one worker in one item. Lists are parallel, one entry a step.

    `accuracies` are those of each step's batch, 0 … 1; empty for regression and for older runs. One of round 0 has no
    steps: `first_step` is how many blocks of a frozen backbone's outputs the worker has stored.
    """

    worker_index: int
    round_index: int
    attempt: int
    first_step: int
    ended_at: float
    losses: tuple[float, ...]
    examples: tuple[int, ...]
    durations_ms: tuple[float, ...]
    accuracies: tuple[float, ...] = ()


class SpanBatch(Record, frozen=True, kw_only=True):
    """Where one attempt's time went."""

    key: TaskKey
    attempt: int
    request_id: str
    spans: tuple[Span, ...]


class PredictionBatch(Record, frozen=True, kw_only=True):
    """What one worker saw in its part of the validation split, with the parameters of round `parameters_round`.

    The lists from `examples` to `images` are parallel, one entry a sample: its row in the validation split, its class,
    the class predicted, and the model's certainty of it, 0 … 1. `images` are PNG or JPEG files, only beside the first
    parameters that were validated, so that each is stored once. `confusion` holds (truth, predicted, count) over the
    whole part, without the empty ones: at most 2,000, the largest.
    """

    worker_index: int
    parameters_round: int
    attempt: int
    made_at: float
    examples: tuple[int, ...]
    truths: tuple[int, ...]
    predicted: tuple[int, ...]
    confidences: tuple[float, ...]
    images: tuple[bytes, ...] = ()
    confusion: tuple[tuple[int, int, int], ...] = ()


STORED: tuple[type[Record], ...] = (Run, Task, RoundRecord, StepBatch, SpanBatch, PredictionBatch)
"""What stores read back, in whichever thread."""

for _kind in STORED:
    # msgspec makes a type's tables when it is first decoded. Where two threads do that at once, the second may find
    # them half made, and the process dies; an import has but one thread.
    msgspec.json.Decoder(_kind)
