"""What the display reads, and how it looks on terminals of all kinds."""

from __future__ import annotations

import io
import re
import threading
from typing import Any

import pytest
from cli_helpers import PLAN, RunsInStore, interrupted
from msgspec.structs import replace
from rich.console import Console

from cli.display import Display, NoView, choose_view
from cli.flags import Flags
from cli.follow import Follower, Snapshot, doing, total_steps
from cli.live_view import LiveView, picture
from cli.plain_view import PlainView
from contracts.errors import NotFinite, RunNotFound
from contracts.records import Claim, Report, Run, StepBatch, Task, TaskKey


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_010.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def in_round_two(run: Run) -> Run:
    return replace(interrupted(run), started_at=1_000.0)


@pytest.fixture
def follower(stored: RunsInStore, clock: Clock) -> Follower:
    """A run of two workers in its second of four rounds."""
    stored.add("r-0001", in_round_two)
    stored.add_history()
    return Follower(stored.store, stored.store, "r-0001", clock)


def set_task(stored: RunsInStore, worker: int, **fields: Any) -> None:
    """Replace a worker's task of the second round."""
    key = TaskKey(round_index=2, kind="train", index=worker)
    before = stored.store.load_task("r-0001", key)
    version = before.version + 1 if before else 1
    assert stored.store.save_task("r-0001", Task(key=key, version=version, **fields))


CLAIM = Claim(nonce="0" * 8, request_id="x", attempt=1, claimed_at=1_004.0, expires_at=2_000.0)
PAUSED = Report(outcome="paused", nonce="0" * 8, steps_done=2)
ERROR = NotFinite("run r-0001 round 2 worker 0", "the loss is nan").record()


# --- what is read ------------------------------------------------------------------------------------------


def test_a_snapshot_says_how_far_the_run_is(follower: Follower) -> None:
    snapshot = follower.look()
    assert snapshot.losses == (1.0, 0.5)
    assert snapshot.epochs == 2.0
    assert snapshot.elapsed_s == 10.0
    assert snapshot.fraction == 0.5, "one of four rounds, and all of the second"
    assert [worker.state for worker in snapshot.workers] == ["done", "done"]
    assert snapshot.events == []


def test_only_what_is_new_is_read(follower: Follower, stored: RunsInStore, monkeypatch: pytest.MonkeyPatch) -> None:
    follower.look()
    asked: list[str] = []
    read = stored.store.read_steps
    monkeypatch.setattr(stored.store, "read_steps", lambda run_id, cursor: asked.append(cursor) or read(run_id, cursor))
    follower.look()
    assert asked == ["8"], "behind the four spans and four step batches"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": "WAITING"}, "waiting"),
        ({"status": "OFFERED", "attempt": 1}, "starting"),
        ({"status": "CLAIMED", "attempt": 1, "claim": CLAIM}, "training"),
        ({"status": "WAITING", "resume": PAUSED}, "paused"),
        ({"status": "WAITING", "failures": 1, "error": ERROR}, "again"),
        ({"status": "FAILED", "failures": 1, "error": ERROR}, "failed"),
    ],
)
def test_states_of_a_worker(follower: Follower, stored: RunsInStore, fields: dict[str, Any], state: str) -> None:
    set_task(stored, 0, **fields)
    assert follower.look().workers[0].state == state


def test_steps_of_a_worker_at_work(follower: Follower, stored: RunsInStore) -> None:
    set_task(stored, 0, status="CLAIMED", attempt=1, claim=CLAIM)
    worker = follower.look().workers[0]
    assert (worker.steps, worker.total_steps, worker.loss, worker.steps_per_s) == (4, 4, 0.5, pytest.approx(10.0))


def test_a_failure_is_told_once(follower: Follower, stored: RunsInStore) -> None:
    set_task(stored, 0, status="WAITING", failures=1, error=ERROR)
    (event,) = follower.look().events
    assert event.startswith("round 2, worker 0: E201 NotFinite, attempt 1 of 3: ")
    assert follower.look().events == []


def test_examples_a_second_are_those_of_the_last_moments(follower: Follower, stored: RunsInStore, clock: Clock) -> None:
    clock.now_s = 1_005.0
    assert follower.look().examples_per_s == pytest.approx(100 / 4.4, rel=0.01)
    clock.now_s = 1_100.0
    assert follower.look().examples_per_s is None


def test_the_time_left_needs_some_progress(follower: Follower, stored: RunsInStore, clock: Clock) -> None:
    assert follower.look().left_s is None
    run = stored.store.load_run("r-0001")
    assert stored.store.save_run(replace(run, version=run.version + 1, round_index=4))
    clock.now_s += 5.0
    assert follower.look().left_s == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("round_index", "worker", "steps"), [(1, 0, 4), (1, 1, 4), (0, 0, 0), (5, 0, 0)], ids=str
)  # 25 rows in batches of 8
def test_how_many_steps_a_worker_takes(stored: RunsInStore, round_index: int, worker: int, steps: int) -> None:
    run = replace(stored.add(), round_index=round_index, plan=PLAN)
    assert total_steps(run, worker) == steps


def test_a_batch_without_steps_is_no_worker(follower: Follower, stored: RunsInStore) -> None:
    empty = StepBatch(
        worker_index=0, round_index=2, attempt=9, first_step=0, ended_at=1.0, losses=(), examples=(), durations_ms=()
    )
    stored.store.put_steps("r-0001", empty)
    assert follower.look().workers[0].loss == 0.5


# --- how it looks ------------------------------------------------------------------------------------------


def drawn(snapshot: Snapshot, width: int, height: int = 24, **options: Any) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, force_terminal=True, **options)
    console.print(picture(snapshot, width, height))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_the_picture_never_folds_a_line(follower: Follower, stored: RunsInStore, width: int) -> None:
    set_task(stored, 0, status="CLAIMED", attempt=1, claim=CLAIM)
    lines = drawn(follower.look(), width, color_system=None)
    assert len(lines) == 6
    assert max(map(len, lines)) <= width


def test_the_picture_in_words(follower: Follower, stored: RunsInStore) -> None:
    set_task(stored, 0, status="CLAIMED", attempt=1, claim=CLAIM)
    text = "\n".join(drawn(follower.look(), 100, color_system=None))
    for part in (
        "digits-mlp  r-0001  2 workers, seed 0",
        "round 2 of 4: training, 1 of 2 done",
        "epoch 2.0 of 2",
        "worker 0",
        "step 4 of 4",
        "loss 0.5000",
        "on Lambda",
    ):
        assert part in text


def test_many_workers_become_counts(stored: RunsInStore, clock: Clock) -> None:
    stored.add("r-0001", in_round_two, workers=64)
    set_task(stored, 0, status="CLAIMED", attempt=1, claim=CLAIM)
    snapshot = Follower(stored.store, stored.store, "r-0001", clock).look()
    text = "\n".join(drawn(snapshot, 100, color_system=None))
    assert "workers: 63 waiting its turn  1 training" in text
    assert "worker 0" not in text


def test_a_low_terminal_gets_a_low_picture(follower: Follower) -> None:
    assert len(drawn(follower.look(), 80, height=6, color_system=None)) <= 6


def test_without_colour_there_is_no_colour(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in "\n".join(drawn(follower.look(), 80, color_system="auto"))


def test_plain_lines_are_few(follower: Follower, capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    view = PlainView()
    for _ in range(20):
        view.update(follower.look())
        clock.now_s += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 7
    assert lines.pop(0) == "digits-mlp, r-0001: 2 workers, seed 0"
    assert re.fullmatch(r"0:10  round 2 of 4, epoch 2.0 of 2, loss 0.5000, \d+ examples/s, \$0.0051", lines[0])
    assert not any("\x1b" in line for line in lines)


def test_plain_lines_tell_failures(follower: Follower, stored: RunsInStore, capsys: pytest.CaptureFixture[str]) -> None:
    set_task(stored, 0, status="WAITING", failures=1, error=ERROR)
    PlainView().update(follower.look())
    assert "round 2, worker 0: E201 NotFinite" in capsys.readouterr().err


def tell_blocks(stored: RunsInStore, worker: int, blocks: int) -> None:
    batch = StepBatch(
        worker_index=worker,
        round_index=0,
        attempt=1,
        first_step=blocks,
        ended_at=1.0,
        losses=(),
        examples=(),
        durations_ms=(),
    )
    stored.store.put_steps("r-0001", batch)


@pytest.fixture
def extracting(stored: RunsInStore, clock: Clock) -> Follower:
    """A run of two workers whose backbone's outputs are 10 + 1 + 1 blocks, the first worker at work."""
    facts = {"train_examples": 1_280, "val_examples": 100, "test_examples": 100}
    stored.add(
        "r-0001",
        lambda run: replace(in_round_two(run), phase="EXTRACTING", round_index=0, data_facts=facts, plan=None),
    )
    keys = [TaskKey(round_index=0, kind="extract", index=index) for index in range(2)]
    assert stored.store.save_task("r-0001", Task(key=keys[0], version=1, status="CLAIMED", attempt=1, claim=CLAIM))
    assert stored.store.save_task("r-0001", Task(key=keys[1], version=1))
    return Follower(stored.store, stored.store, "r-0001", clock)


def test_blocks_of_features_are_counted_live(extracting: Follower, stored: RunsInStore) -> None:
    assert doing(extracting.look()) == "computing the backbone's outputs, 0 of 12 blocks"
    tell_blocks(stored, 0, 3)
    snapshot = extracting.look()
    assert doing(snapshot) == "computing the backbone's outputs, 3 of 12 blocks"
    assert (snapshot.fraction, snapshot.examples_per_s, snapshot.workers[0].steps) == (0.25, None, 0)
    tell_blocks(stored, 0, 1)  # a second attempt, which finds the first one's blocks as it comes to them
    assert extracting.look().fraction == 0.25
    text = "\n".join(drawn(extracting.look(), 100, color_system=None))
    assert "3 of 12 blocks" in text and " 25 %" in text


@pytest.mark.parametrize(
    ("fields", "blocks"), [({"status": "DONE"}, 3 + 6), ({"resume": PAUSED}, 3 + 2), ({"status": "OFFERED"}, 3)]
)
def test_blocks_are_known_by_reports_too(
    extracting: Follower, stored: RunsInStore, fields: dict[str, Any], blocks: int
) -> None:
    tell_blocks(stored, 0, 3)
    key = TaskKey(round_index=0, kind="extract", index=1)
    assert stored.store.save_task("r-0001", Task(key=key, version=2, **fields))
    assert doing(extracting.look()).endswith(f", {blocks} of 12 blocks")


def test_before_the_first_block_tensorflow_is_loading(extracting: Follower, stored: RunsInStore) -> None:
    key = TaskKey(round_index=0, kind="extract")
    assert stored.store.save_task("r-0001", Task(key=key, version=2, status="OFFERED", attempt=1))
    assert doing(extracting.look()) == "loading TensorFlow"


def test_plain_lines_on_blocks_are_few(
    extracting: Follower, stored: RunsInStore, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    view = PlainView()
    for blocks in range(1, 7):
        tell_blocks(stored, 0, blocks)
        clock.now_s += 2.0
        view.update(extracting.look())
    _, *lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "0:12  computing the backbone's outputs, 1 of 12 blocks",
        "0:18  computing the backbone's outputs, 4 of 12 blocks",
    ]


def test_the_view_suits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.display.messages", lambda: Console(file=io.StringIO(), force_terminal=True))
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(choose_view(Flags()), LiveView)
    assert isinstance(choose_view(Flags(quiet=True)), NoView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_view(Flags()), PlainView)
    monkeypatch.setattr("cli.display.messages", lambda: Console(file=io.StringIO()))
    assert isinstance(choose_view(Flags()), PlainView)


def test_the_live_view_leaves_events_and_nothing_else(follower: Follower, stored: RunsInStore) -> None:
    stream = io.StringIO()
    view = LiveView(Console(file=stream, force_terminal=True, color_system=None, width=100))
    set_task(stored, 0, status="WAITING", failures=1, error=ERROR)
    view.begin()
    view.update(follower.look())
    view.update(follower.look())
    view.end()
    assert stream.getvalue().count("! round 2, worker 0: E201 NotFinite") == 1
    assert stream.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in stream.getvalue()


class CountingView:
    """Counts its frames; the third one lets the body of the `with` go on."""

    interval_s = 0.0

    def __init__(self) -> None:
        self.frames = 0
        self.enough = threading.Event()
        self.ended = False

    def begin(self) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        self.frames += 1
        if self.frames >= 3:
            self.enough.set()

    def end(self) -> None:
        self.ended = True


def test_the_display_runs_beside_the_body(follower: Follower) -> None:
    view = CountingView()
    with Display(follower, view):
        assert view.enough.wait(20)
    assert view.ended


def test_a_frame_that_fails_is_left_out(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    view = CountingView()
    looks = [0]
    look = follower.look

    def sometimes() -> Snapshot:
        looks[0] += 1
        if looks[0] % 2:
            raise RunNotFound("run r-0001", "it is not there just now")
        return look()

    monkeypatch.setattr(follower, "look", sometimes)
    with Display(follower, view):
        assert view.enough.wait(20)
