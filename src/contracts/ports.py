"""What the use cases need from outside, as Protocols. Tests, the simulator and AWS each bring their own.

Every implementation of a port passes the same suite in `tests/contract/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from contracts.errors import LambdafitError
from contracts.records import PredictionBatch, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey


class Clock(Protocol):
    """Time."""

    def now(self) -> float:
        """Seconds since 1970, as every process of the run agrees on them roughly."""


class Randomness(Protocol):
    """Names that must not collide. Never used for anything that reaches a parameter."""

    def nonce(self) -> str:
        """16 fresh hexadecimal digits."""

    def run_id(self) -> str:
        """A fresh run id."""


class Deadline(Protocol):
    """How long this execution may still take."""

    def remaining_s(self) -> float:
        """Seconds until the function is killed."""


class Invoker(Protocol):
    """Starts functions. Never waits for them."""

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Send `event` to `function`, asynchronously.

        Raises:
            InvocationFailed: it was refused at once (throttled, no such function).
        """

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """Send many events, side by side where that is faster: each as `invoke` would.

        Args:
            calls: function and event.
        Returns:
            why each one was refused at once, None for those that were not; in the order of `calls`.
        """

    def warm_up(self, run_id: str, environments: int) -> None:
        """Have as many environments of Train load what the run's first tasks will need, before these are offered.

        A favour: whatever refuses it is ignored, here and there, and the tasks load it themselves.
        """


class RunStore(Protocol):
    """Runs and tasks. Reads are consistent; each write is one atomic, conditional write."""

    def create_run(self, run: Run) -> None:
        """Store a new run.

        Raises:
            RunExists: its id is taken.
        """

    def load_run(self, run_id: str) -> Run:
        """The run as last saved.

        Raises:
            RunNotFound: there is none.
        """

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        """Save `run` if the stored version is `run.version - 1`, and `record` in the same transaction.

        Returns whether it was saved. A False means that somebody else was faster, and nothing changed.
        """

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        """One task, or None where it was never offered."""

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> dict[TaskKey, Task]:
        """All tasks of one round, in order of their keys.

        Without `consistent` some may be a moment old, for half the price: only for who knows what must be there.
        """

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        """Save `task` if its stored version is `task.version - 1` (0: there is none).

        With `stage`, only if the run's stage is just that, in the same transaction. Returns whether saved.
        """

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        """Save many tasks of one stage, each on its own terms as `save_task` would: not all or none.

        Returns whether each was saved, in their order.
        """

    def load_rounds(self, run_id: str, after: int = 0) -> Sequence[RoundRecord]:
        """The committed rounds with a greater index, in order."""

    def list_runs(self, limit: int = 100) -> Sequence[Run]:
        """The newest runs, newest first."""

    def open_run_ids(self) -> Sequence[str]:
        """The ids of the runs that have not ended, oldest first. May lack a run that was created just now."""

    def delete_run(self, run_id: str) -> None:
        """Remove everything about a run. No error where there is nothing."""

    def make_durable(self) -> None:
        """Return once all that was saved survives a loss of power."""


class Telemetry(Protocol):
    """Progress, for display only: nothing that decides ever reads it.

    That of a run that is not in the store may be lost.
    """

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        """Store one packed item; the same item again replaces itself."""

    def put_spans(self, run_id: str, batch: SpanBatch) -> None:
        """Store where an attempt's time went; the same again replaces itself."""

    def put_predictions(self, run_id: str, batch: PredictionBatch) -> None:
        """Store what a worker saw; the same parameters, worker and attempt again replace it."""

    def read_steps(self, run_id: str, cursor: str = "") -> tuple[Sequence[StepBatch], str]:
        """What came after `cursor`, and the next cursor: a text that only the store can read."""

    def read_spans(self, run_id: str, cursor: str = "") -> tuple[Sequence[SpanBatch], str]:
        """What came after `cursor`, and the next cursor: a text that only the store can read."""

    def read_predictions(self, run_id: str, cursor: str = "") -> tuple[Sequence[PredictionBatch], str]:
        """What came after `cursor`, and the next cursor: a text that only the store can read."""


class OpenFile(Protocol):
    """A file open for reading; a context manager that closes it."""

    def __enter__(self) -> OpenFile:
        """Itself."""

    def __exit__(self, *error: object) -> None:
        """Closed."""

    def read_into(self, offset: int, buffer: Any) -> None:
        """Fill `buffer` from byte `offset` on.

        Raises:
            TornFile: the file is too short.
        """

    def view(self, offset: int, size: int) -> memoryview | None:
        """`size` bytes from `offset` on as they lie in memory, until the file is closed; None: they must be read.

        What was checked there is looked at once more when it is used: nobody whose word still counts may see it change.

        Raises:
            TornFile: the file is too short.
        """


class SharedFiles(Protocol):
    """One folder that all functions of a run see. Paths are relative to it, with forward slashes.

    Nobody polls it: a file is opened only after a report has named it.
    """

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """Write a whole file: to a temporary name that begins with a dot, then renamed. Folders are made.

        Args:
            buffers: bytes-like pieces, written in order.
            durable: also synchronised to the disk before this returns.
        Returns:
            the bytes written.
        Raises:
            DiskFull, HomeNotWritable: nothing is left behind.
        """

    def open(self, path: str) -> OpenFile:
        """A file for many reads.

        Raises:
            TornFile: the file is missing.
        """

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        """Fill `buffer` from byte `offset` on.

        Raises:
            TornFile: the file is missing or too short.
        """

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            TornFile: the file is missing.
        """

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""

    def names(self, path: str) -> Sequence[str]:
        """The names in a folder, sorted; none where there is no such folder."""

    def remove(self, path: str) -> None:
        """Remove a file or a whole folder. No error where there is none."""

    def local_path(self, path: str) -> str:
        """Where the file lies for a library that opens files by itself."""


class ObjectFacts(NamedTuple):
    """One object. `etag` changes whenever its content does."""

    key: str
    bytes: int
    etag: str


class Objects(Protocol):
    """Large files that a user brings or takes away: a bucket. Keys look like relative paths, with forward slashes.

    Every method may raise ObjectsUnreachable (the same again may help) and ObjectsForbidden.
    """

    def head(self, key: str) -> ObjectFacts:
        """What is there.

        Raises:
            ObjectNotFound: nothing is.
        """

    def read(self, key: str) -> bytes:
        """A whole object: a small one.

        Raises:
            ObjectNotFound: it is not there.
        """

    def read_into(self, facts: ObjectFacts, offset: int, buffer: Any) -> None:
        """Fill `buffer` from byte `offset` on. Many threads may do so side by side.

        Raises:
            ObjectNotFound: it is not there any more.
            ObjectChanged: it is not the one that `facts` tell of, or ends too early.
        """

    def list(self, prefix: str) -> Sequence[ObjectFacts]:
        """The objects whose keys begin so, in order of their keys."""

    def write(self, key: str, data: bytes) -> None:
        """Put a small object there, whole or not at all; the same key again replaces it."""

    def write_file(self, key: str, path: Path) -> int:
        """Put a file there, in parts where it is large, whole or not at all; the same key again replaces it.

        Returns:
            its bytes.
        """

    def remove(self, key: str) -> None:
        """Remove an object. No error where there is none."""
