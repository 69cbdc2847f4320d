"""A frozen backbone's outputs: each example once, across time limits, crashes and runs; then training on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from contracts.errors import HomeNotWritable, InvocationFailed, LambdafitError, RecipeFailed, TornFile
from contracts.messages import TaskMessage, parse_task
from contracts.ports import SharedFiles
from contracts.records import Run, TaskKey
from contracts.settings import RunSettings, make_settings
from fakes.arithmetic_trainer import ArithmeticTrainer
from fakes.every_task import every_task
from fakes.memory_files import MemoryFiles
from fakes.memory_store import MemoryStore
from runs.block_progress import ToldBlocks
from runs.execute import Work, execute
from runs.reconcile import EndedInvocation, reconcile
from runs.services import Services
from runs.start import start
from runs.summary import load, summarise
from runs.transfer import most
from runs.worker_telemetry import FLUSH_MIN_S
from training import feature_blocks
from training.feature_blocks import Block
from training.vector_files import Vector

FACTS = {
    "name": "pictures",
    "folder": "datasets/pictures-00",
    "x_shape": [8, 8, 3],
    "train_examples": 1_000,
    "val_examples": 100,
    "test_examples": 300,
}
BLOCKS = 8 + 1 + 3
BACKBONE = "0123456789abcdef" * 2


class CountingTrainer(ArithmeticTrainer):
    """Remembers which rows it was asked for; `stops_at` rows are more than it lives to see."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []
        self.stops_at = 10**9

    def features(self, run: Run, split: str, low: int, high: int) -> Vector:
        if len(self.seen) >= self.stops_at:
            raise KeyboardInterrupt
        self.seen.append((split, low, high))
        return super().features(run, split, low, high)


@dataclass
class World:
    """Implements the clock, the invoker, the randomness and the deadline of one run after the other."""

    files: MemoryFiles = field(default_factory=MemoryFiles)
    store: MemoryStore = field(default_factory=MemoryStore)
    trainer: CountingTrainer = field(default_factory=CountingTrainer)
    sent: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    now_s: float = 1_000_000.0
    names: int = 0
    warmed_up: list[tuple[str, int, str]] = field(default_factory=list)
    remaining: Iterator[float] = field(default_factory=lambda: iter(()))
    request_id: str = ""

    def __post_init__(self) -> None:
        self.services = Services(self.store, self.store, self.files, self, self, self)
        self.work: dict[str, Work] = every_task(self.trainer, lambda _: FACTS)

    def now(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def nonce(self) -> str:
        self.names += 1
        return f"{self.names:016x}"

    def run_id(self) -> str:
        self.names += 1
        return f"r-{self.names:08d}"

    def remaining_s(self) -> float:
        return next(self.remaining, 1e9)

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.sent.append((function, event))

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        self.sent += calls
        return [None] * len(calls)

    def warm_up(self, run_id: str, environments: int) -> None:
        self.warmed_up.append((run_id, environments, parse_task(self.sent[-1][1]).key.kind))

    def start(self, **changes: Any) -> Run:
        return start(self.services, settings(**changes))

    def go_on(self, run: Run, until: str = "FINISHED") -> Run:
        """Everything that was sent is done at once, one after the other, until the run is at a phase or ended."""
        for _ in range(200):
            found, _ = reconcile(self.services, run.run_id)
            if found.ended or found.phase == until:
                return found
            sent, self.sent = self.sent, []
            for _, event in sent:
                self.request_id = self.nonce()
                execute(parse_task(event), self.services, self, self.request_id, self.work)
        raise AssertionError("the run comes to no end")

    def crash(self, run: Run) -> None:
        """What is under way dies without a word."""
        with pytest.raises(KeyboardInterrupt):
            self.go_on(run)
        error = InvocationFailed("train", "it crashed").record()
        tasks = self.store.load_tasks(run.run_id, 0)
        (key,) = [key for key, task in tasks.items() if task.status == "CLAIMED"]
        message = TaskMessage(run_id=run.run_id, key=key, attempt=tasks[key].attempt)
        reconcile(self.services, run.run_id, [EndedInvocation(message, self.request_id, error)])


def settings(**changes: Any) -> RunSettings:
    values = {"recipe": "digits-mlp", "recipe_digest": "0", "dataset": "pictures", "rounds": 1, "steps_per_round": 2}
    values |= {"workers": 3, "batch_size": 8, "concurrency": 3, "backbone_digest": BACKBONE, "time_limit_s": 60.0}
    return make_settings(values | changes)


def test_every_row_is_computed_once_and_trained_on_by_all() -> None:
    world = World()
    run = world.go_on(world.start())
    assert run.status == "FINISHED"
    assert sorted(world.trainer.seen) == sorted(tuple(block) for block in feature_blocks.plan_blocks(FACTS))
    facts = run.feature_facts
    assert facts["width"] == 2
    values = feature_blocks.load_features(world.files, facts, "x_test")
    assert values.tolist() == world.trainer.features(run, "test", 0, 300).tolist()


def test_a_later_run_computes_nothing_whatever_its_workers() -> None:
    world = World()
    first = world.go_on(world.start())
    world.trainer.seen.clear()
    second = world.go_on(world.start(workers=1, concurrency=1))
    assert second.status == "FINISHED"
    assert world.trainer.seen == []
    assert second.feature_facts == first.feature_facts


def test_a_run_without_a_backbone_has_none_of_it() -> None:
    world = World()
    run = world.go_on(world.start(backbone_digest=""))
    assert (run.status, run.feature_facts, world.trainer.seen) == ("FINISHED", {}, [])
    assert world.files.names("features") == []


def test_another_backbone_has_a_folder_of_its_own() -> None:
    world = World()
    first = world.go_on(world.start())
    second = world.go_on(world.start(backbone_digest="f" * 32))
    assert first.feature_facts["folder"] != second.feature_facts["folder"]
    assert len(world.trainer.seen) == 2 * BLOCKS


def test_it_goes_on_across_the_time_limit() -> None:
    world = World()
    run = world.go_on(world.start(workers=1, concurrency=1), until="EXTRACTING")
    world.remaining = iter([60.0, 60.0, 0.0])  # enough for two blocks, then the limit is near
    run = world.go_on(run)
    assert run.status == "FINISHED"
    assert len(world.trainer.seen) == BLOCKS
    task = world.store.load_task(run.run_id, TaskKey(round_index=0, kind="extract", index=0))
    assert task is not None
    assert [record.outcome for record in task.history] == ["paused", "done"]
    assert task.failures == 0


def test_a_crash_loses_no_finished_block() -> None:
    world = World()
    run = world.go_on(world.start(workers=1, concurrency=1), until="EXTRACTING")
    world.trainer.stops_at = 5
    world.crash(run)
    world.trainer.stops_at = 10**9
    run = world.go_on(run)
    assert run.status == "FINISHED"
    assert len(world.trainer.seen) == BLOCKS


def test_a_block_that_was_damaged_since_is_computed_again() -> None:
    world = World()
    run = world.go_on(world.start(workers=1, concurrency=1), until="EXTRACTING")
    world.trainer.stops_at = 5
    world.crash(run)
    path = next(path for path in world.files.contents if "/blocks/" in path)
    world.files.contents[path] = world.files.contents[path][:-1] + b"\7"
    world.trainer.stops_at = 10**9
    run = world.go_on(run)
    assert run.status == "FINISHED"
    assert len(world.trainer.seen) == BLOCKS + 1
    values = feature_blocks.load_features(world.files, run.feature_facts, "x_train")
    assert values.tolist() == world.trainer.features(run, "train", 0, 1_000).tolist()


def test_blocks_that_were_damaged_or_lost_after_their_report_are_computed_again() -> None:
    world, whole = World(), World()
    run = world.go_on(world.start(), until="INITIALISING")
    computed = len(world.trainer.seen)
    damaged, lost = [path for path in world.files.contents if "/blocks/" in path][2:4]
    world.files.contents[damaged] = world.files.contents[damaged][:-1] + b"\7"
    del world.files.contents[lost]
    run = world.go_on(run)
    assert run.status == "FINISHED"
    assert run.feature_facts == whole.go_on(whole.start()).feature_facts
    assert len(world.trainer.seen) == computed + 2


def test_all_blocks_may_be_computed_again_within_what_is_held_back_for_it() -> None:
    world = World()
    run = world.go_on(world.start(), until="INITIALISING")
    for path in [path for path in world.files.contents if "/blocks/" in path]:
        del world.files.contents[path]
    assert world.go_on(run).status == "FINISHED"
    task = world.store.load_task(run.run_id, TaskKey(round_index=0, kind="initialise"))
    assert task is not None and len(task.history) == 1
    moved, held_back = task.history[0].transfer, most(run, "initialise")
    assert 0 < moved.read_bytes <= held_back.read_bytes and 0 < moved.written_bytes <= held_back.written_bytes


def test_what_a_worker_left_out_because_another_run_had_joined_all_is_computed_if_that_is_gone() -> None:
    world, other = World(), World()
    finished = other.go_on(other.start())
    run = world.go_on(world.start(), until="EXTRACTING")
    mine = dict(world.files.contents)
    world.files.contents.update(other.files.contents)
    run = world.go_on(run, until="INITIALISING")
    assert world.trainer.seen == []
    world.files.contents.clear()
    world.files.contents.update(mine)
    run = world.go_on(run)
    assert (run.status, run.feature_facts) == ("FINISHED", finished.feature_facts)
    assert len(world.trainer.seen) == BLOCKS


def test_a_folder_that_another_run_fills_while_it_is_removed_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    world, other = World(), World()
    other.go_on(other.start())
    run = world.go_on(world.start(), until="INITIALISING")
    world.files.contents.update(other.files.contents)
    removes = MemoryFiles.remove

    def remove(self: MemoryFiles, path: str) -> None:
        if path.endswith("/blocks"):
            raise HomeNotWritable(path, "the folder is not empty")
        removes(self, path)

    monkeypatch.setattr(MemoryFiles, "remove", remove)
    assert world.go_on(run).status == "FINISHED"


def test_a_block_whose_folder_went_while_it_was_written_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    run = world.go_on(world.start(workers=1, concurrency=1), until="EXTRACTING")
    writes = feature_blocks.write_block
    tried: list[Block] = []

    def write(files: SharedFiles, folder: str, block: Block, features: Vector) -> str:
        tried.append(block)
        if len(tried) == 3:
            raise HomeNotWritable(folder, "no such file or folder")
        return writes(files, folder, block, features)

    monkeypatch.setattr(feature_blocks, "write_block", write)
    assert world.go_on(run).status == "FINISHED"
    assert len(tried) == BLOCKS + 1 == len(world.trainer.seen) + 1


def test_environments_are_warmed_up_beside_the_one_task_that_is_alone() -> None:
    world = World()
    run = world.go_on(world.start())
    assert world.warmed_up == [(run.run_id, run.settings.concurrency - 1, "initialise")]


def test_two_runs_at_once_end_with_the_same() -> None:
    world = World()
    one = world.go_on(world.start(), until="EXTRACTING")
    world.sent.clear()
    two = world.go_on(world.start(workers=2), until="INITIALISING")
    world.now_s += 1_000.0  # what the first one had sent was lost: it is offered again once its time is over
    assert world.go_on(two).status == "FINISHED"
    finished = world.go_on(one)
    assert finished.status == "FINISHED"
    assert finished.feature_facts == world.store.load_run(two.run_id).feature_facts


def test_a_run_whose_blocks_another_one_has_just_joined_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    world, other = World(), World()
    finished = other.go_on(other.start())
    run = world.go_on(world.start(workers=1, concurrency=1), until="EXTRACTING")
    writes = feature_blocks.write_block
    seen: list[Block] = []

    def write(files: SharedFiles, folder: str, block: Block, features: Vector) -> str:
        seen.append(block)
        if len(seen) == 3:  # the other run's last step: everything joined, the folder of the blocks gone
            world.files.remove(f"{folder}/blocks")
            world.files.contents.update(other.files.contents)
            raise HomeNotWritable(folder, "no such file or folder")
        return writes(files, folder, block, features)

    monkeypatch.setattr(feature_blocks, "write_block", write)
    run = world.go_on(run)
    assert run.status == "FINISHED"
    assert run.feature_facts == finished.feature_facts
    assert world.files.names(f"{run.feature_facts['folder']}/blocks") == []


def test_what_killed_executions_left_goes_when_the_run_is_over() -> None:
    world = World()
    run = world.go_on(world.start(), until="TRAINING")
    folder = run.feature_facts["folder"]
    feature_blocks.write_block(world.files, folder, Block("train", 0, 128), np.ones((128, 2), np.float16))
    world.files.write(f"{folder}/.x_val.npy.0123.tmp", [b"half"], durable=False)
    assert world.go_on(run).status == "FINISHED"
    assert [name.partition(".")[0] for name in world.files.names(folder)] == ["meta", "x_test", "x_train", "x_val"]


@pytest.mark.parametrize("error", [TornFile("a block", "it is gone"), HomeNotWritable("x_val", "no such file")])
def test_joining_what_another_run_joins_takes_what_is_there(
    error: LambdafitError, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, other = World(), World()
    finished = other.go_on(other.start())
    run = world.go_on(world.start(), until="INITIALISING")

    def join(files: SharedFiles, folder: str, _: Any) -> dict[str, Any]:
        files.remove(f"{folder}/blocks")
        world.files.contents.update(other.files.contents)
        raise error

    monkeypatch.setattr(feature_blocks, "join_blocks", join)
    run = world.go_on(run)
    assert (run.status, run.feature_facts) == ("FINISHED", finished.feature_facts)
    task = world.store.load_task(run.run_id, TaskKey(round_index=0, kind="initialise"))
    assert task is not None and task.failures == 0


def test_a_worker_tells_how_many_blocks_there_are_while_it_works() -> None:
    world = World()
    run = world.go_on(world.start(workers=1, concurrency=1), until="EXTRACTING")
    computes = world.trainer.features

    def slowly(run: Run, split: str, low: int, high: int) -> Vector:
        world.now_s += 0.6 * FLUSH_MIN_S  # every second block is worth a word
        return computes(run, split, low, high)

    world.trainer.features = slowly  # type: ignore[method-assign]
    run = world.go_on(run)
    assert run.status == "FINISHED"
    told = [batch for batch in world.store.read_steps(run.run_id)[0] if batch.round_index == 0]
    assert [batch.first_step for batch in told] == [2, 4, 6, 8, 10, 12]
    assert all(ToldBlocks().hear(batch) for batch in told)
    steps = [batch for batch in world.store.read_steps(run.run_id)[0] if batch.round_index > 0]
    assert not any(ToldBlocks().hear(batch) for batch in steps)
    tally = summarise(load(world.store, world.store, run.run_id), world.now_s).workers[0]
    assert tally.steps == sum(len(batch.losses) for batch in steps)


@pytest.mark.parametrize("shape", [(128,), (128, 2, 2), (128, 0), (64, 2), (128, 40_000)])
def test_outputs_that_are_no_features_are_refused(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(world.trainer, "features", lambda *_: np.zeros(shape, np.float16))
    run = world.go_on(world.start(workers=1, concurrency=1))
    assert run.error is not None
    assert (run.status, run.error.number) == ("FAILED", RecipeFailed.number)
    assert "build_backbone" in str(run.error)
