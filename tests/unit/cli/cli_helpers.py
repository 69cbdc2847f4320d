"""What the tests of the command line share: an engine without processes, and runs in a store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from click.testing import Result
from msgspec.structs import replace

from contracts.errors import LambdafitError
from contracts.records import (
    AttemptRecord,
    Claim,
    FileRef,
    Report,
    RoundPlan,
    RoundRecord,
    Run,
    Span,
    SpanBatch,
    StepBatch,
    Task,
    TaskKey,
)
from contracts.settings import RunSettings
from engines.home import Home, HomeLock
from fakes.deployed_stack import DeployedStack
from handlers.wiring import NoInvoker, SystemClock, SystemRandomness
from runs.code_version import code_version
from runs.services import Services
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore

RESULTS = {
    "val_loss": 0.2,
    "val_accuracy": 0.95,
    "test_loss": 0.3,
    "test_accuracy": 0.94,
    "parameters_sha256": "ab" * 32,
}
PLAN = RoundPlan(examples=100, examples_per_round=50, rounds_per_epoch=2, epochs_per_round=1, total_rounds=4)
PARAMETERS = FileRef(path="runs/r-0001/a.npy", bytes=3, count=3, parts=("00",))

Ending = Callable[[Run], Run]


def last_line(result: Result) -> dict[str, Any]:
    """The JSON object on the last line of the standard output."""
    found = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def finished(run: Run) -> Run:
    """As after a whole training."""
    return replace(
        run,
        status="FINISHED",
        reason="epochs",
        phase="CLEARING",
        started_at=run.created_at,
        ended_at=run.created_at + 12.5,
        round_index=5,
        final_round=4,
        plan=PLAN,
        examples_seen=200,
        train_loss=0.25,
        results=RESULTS,
        spent_usd=0.0031,
        fingerprint="tensorflow 2.21.0, 1 thread",
        parameters=(PARAMETERS,),
    )


def failed(error: LambdafitError, reason: str = "") -> Ending:
    """As after a failure in the third round."""

    def end(run: Run) -> Run:
        return replace(
            finished(run),
            status="FAILED",
            reason=reason or type(error).__name__,
            error=error.record(),
            phase="TRAINING",
            round_index=3,
            final_round=None,
            results={},
            validation={"val/accuracy": 0.7},
        )

    return end


OWN_RECIPE = """
from training.recipe import Recipe
print("a recipe may print")
recipe = Recipe(
    name="mine", title="t", dataset="digits", build_model=None, build_optimizer=None, build_loss=None,
    batch_size=12, epochs=3, settings={"rate": 0.5},
)
"""
"""A recipe of a user's own, as its file."""


def interrupted(run: Run) -> Run:
    """As Ctrl-C leaves it in the second round."""
    return replace(
        finished(run), status="RUNNING", reason="", phase="TRAINING", round_index=2, final_round=None, results={},
        ended_at=0.0,
    )  # fmt: skip


class FakeEngine:
    """Stands in for LocalEngine: holds the real lock, and ends the run at once, as the test says."""

    ending: ClassVar[Ending] = staticmethod(finished)
    made: ClassVar[list[FakeEngine]] = []

    def __init__(self, home: Home, data: str, log_name: str, run_settings: RunSettings) -> None:
        self.lock = HomeLock(home)
        self.lock.acquire(f"run {log_name}")
        self.settings = run_settings
        self.prestarted = False
        home.log_folder(log_name).mkdir(parents=True, exist_ok=True)
        environment = home.environment(data)
        store = SqliteStore(environment.store_file)
        files = FolderFiles(environment.shared_folder)
        self.services = Services(store, store, files, NoInvoker(), SystemClock(), SystemRandomness())
        FakeEngine.made.append(self)

    @classmethod
    def reset(cls) -> None:
        cls.made = []
        cls.ending = staticmethod(finished)

    @classmethod
    def ends_with(cls, ending: Ending) -> None:
        cls.ending = staticmethod(ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def prestart(self) -> None:
        self.prestarted = True

    def conduct(self, run_id: str, watch: Callable[[Run], None]) -> Run:
        run = self.services.store.load_run(run_id)
        ended = replace(FakeEngine.ending(run), version=run.version + 1)
        assert self.services.store.save_run(ended)
        watch(ended)
        return ended

    def interrupt(self) -> None:
        """Nothing goes on that could be interrupted."""

    def stop(self) -> None:
        self.lock.release()


class RunsInStore:
    """Writes runs into a home's store."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        self.home.create()
        self.store = SqliteStore(self.home.environment().store_file)
        self.files = FolderFiles(self.home.environment().shared_folder)

    def add(
        self, run_id: str = "r-0001", ending: Ending = finished, *, created_at: float = 1_000.0, **settings: Any
    ) -> Run:
        """A run in any state."""
        values: dict[str, Any] = {
            "recipe": "digits-mlp",
            "recipe_name": "digits-mlp",
            "recipe_digest": "d",
            "dataset": "digits",
            "workers": 2,
            "batch_size": 8,
            "epochs": 2,
            "concurrency": 2,
        }
        run = Run(
            run_id=run_id,
            settings=RunSettings(**values | settings),
            code_version=code_version(),
            created_at=created_at,
            deadline_at=created_at + 86_400,
        )
        self.store.create_run(run)
        saved = replace(ending(run), version=2)
        assert self.store.save_run(saved)
        return saved

    def add_history(self, run_id: str = "r-0001") -> None:
        """Two rounds of two workers; worker 1 paused once, and lost an attempt."""
        for round_index in (1, 2):
            for worker in (0, 1):
                self.add_task(run_id, round_index, worker)
            validation = {"val/loss": 0.5, "val/accuracy": 0.8} if round_index == 2 else {}
            record = RoundRecord(
                round_index=round_index,
                generation=1,
                committed_at=1_000.0 + 4 * round_index,
                examples=50,
                epochs=0.5 * round_index,
                metrics={"train/loss": 1.0 / round_index, **validation},
                inputs={},
                parameters=(),
                cost_usd=0.001,
            )
            run = self.store.load_run(run_id)
            assert self.store.save_run(replace(run, version=run.version + 1), record)

    def add_task(self, run_id: str, round_index: int, worker: int) -> None:
        """One worker's finished round, with its attempts, spans and steps."""
        begun = 1_000.0 + 4 * (round_index - 1)
        outcomes = ["done"] if worker == 0 or round_index == 1 else ["paused", "lost", "done"]
        history = tuple(
            AttemptRecord(
                attempt=number,
                nonce=f"{number:08x}",
                outcome=outcome,
                started_at=begun + number - 1,
                ended_at=begun + number,
                cost_usd=0.0005,
                request_id=f"request-{round_index}-{worker}-{number}",
            )
            for number, outcome in enumerate(outcomes, start=1)
        )
        key = TaskKey(round_index=round_index, kind="train", index=worker)
        report = Report(outcome="done", nonce="00000001", examples=25, peak_memory_bytes=2**20)
        task = Task(key=key, version=1, status="DONE", attempt=len(outcomes), report=report, history=history)
        assert self.store.save_task(run_id, task)
        spans = (
            Span(name="load", start_s=begun, end_s=begun + 0.25),
            Span(name="compute", start_s=begun + 0.25, end_s=begun + 1),
        )
        self.store.put_spans(run_id, SpanBatch(key=key, attempt=1, request_id=history[-1].request_id, spans=spans))
        self.store.put_steps(
            run_id,
            StepBatch(
                worker_index=worker,
                round_index=round_index,
                attempt=1,
                first_step=0,
                ended_at=begun + 1,
                losses=(1.0, 0.5, 0.25, 0.25),
                examples=(8, 8, 8, 1),
                durations_ms=(100.0, 100.0, 100.0, 100.0),
            ),
        )

    def claim(self, run_id: str, round_index: int, worker: int, request_id: str) -> None:
        """A worker at work."""
        claim = Claim(nonce="0" * 8, request_id=request_id, attempt=1, claimed_at=1_000.0, expires_at=2_000.0)
        key = TaskKey(round_index=round_index, kind="train", index=worker)
        assert self.store.save_task(run_id, Task(key=key, version=1, status="CLAIMED", attempt=1, claim=claim))

    def log(self, run_id: str, name: str, text: str) -> None:
        """One environment's log file."""
        folder = self.home.log_folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.log").write_text(text)


def versioned(ending: Any) -> Any:
    """An ending as the store wants it."""
    return lambda run: replace(ending(run), version=run.version + 1)


def start_in_stack(stack: DeployedStack, run_id: str = "r-0001", ending: Any = finished) -> Run:
    """A run in the stack, in any state."""
    stack.ending = versioned(ending)
    stack._start({"recipe": "digits-mlp", "overrides": {}, "run_id": run_id, "workers": 2})
    stack.ending = None
    return stack.store.load_run(run_id)
