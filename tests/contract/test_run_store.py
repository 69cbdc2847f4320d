"""What every run store promises. Each implementation passes this suite; DynamoDB against moto, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.errors import RunExists, RunNotFound
from contracts.records import (
    Best,
    Claim,
    FileRef,
    PredictionBatch,
    Report,
    RoundRecord,
    Run,
    Span,
    SpanBatch,
    StepBatch,
    Task,
    TaskKey,
)
from contracts.settings import RunSettings
from fakes.dynamodb_table import TABLE, dynamodb_table
from fakes.memory_store import MemoryStore
from stores.dynamodb import DynamoStore
from stores.sqlite import SqliteStore

Store = SqliteStore | MemoryStore | DynamoStore
FILE = FileRef(path="runs/r-0001/a.npy", bytes=3, count=3, parts=("00",))
TRAIN = TaskKey(round_index=1, kind="train", index=2)


@pytest.fixture(params=["sqlite", "memory", "dynamodb", "dynamodb, one item a page"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        yield SqliteStore(tmp_path / "runs.db")
    else:
        with dynamodb_table() as client:
            yield DynamoStore(TABLE, client, page_items=1 if "page" in request.param else None)


def make_run(run_id: str = "r-0001", **changes: object) -> Run:
    run_settings = RunSettings(recipe="a", recipe_digest="b", dataset="c", workers=2, batch_size=4, epochs=1)
    values = {"settings": run_settings, "code_version": "1", "created_at": 5.0, "deadline_at": 9.0}
    return Run(run_id=run_id, **(values | changes))  # type: ignore[arg-type]


def test_a_run_is_read_back_as_it_was_created(store: Store) -> None:
    best = Best(round_index=3, value=0.5, parameters=(FILE,))
    run = make_run(inputs={0: "aa", 1: "bb"}, best=best, slice_bounds=(0, 3), granted=("x@1",), results={"a": 1.5})
    store.create_run(run)
    assert store.load_run("r-0001") == run


def test_a_run_id_is_given_once(store: Store) -> None:
    store.create_run(make_run())
    with pytest.raises(RunExists):
        store.create_run(make_run(created_at=6.0))
    assert store.load_run("r-0001").created_at == 5.0


def test_an_unknown_run_is_an_error(store: Store) -> None:
    with pytest.raises(RunNotFound, match="E304"):
        store.load_run("r-none")


def test_a_run_is_saved_only_by_who_saw_its_last_version(store: Store) -> None:
    store.create_run(make_run())
    run = store.load_run("r-0001")
    assert store.save_run(replace(run, version=2, status="RUNNING"))
    assert not store.save_run(replace(run, version=2, status="CANCELLED"))
    assert not store.save_run(replace(run, version=9, status="CANCELLED"))
    assert store.load_run("r-0001").status == "RUNNING"


def test_a_run_that_was_never_created_is_not_saved(store: Store) -> None:
    assert not store.save_run(make_run(version=2))


def test_a_round_is_committed_with_its_run_or_not_at_all(store: Store) -> None:
    store.create_run(make_run())
    record = round_record(1)
    assert not store.save_run(make_run(version=7), record)
    assert store.load_rounds("r-0001") == []
    assert store.save_run(make_run(version=2), record)
    assert store.save_run(make_run(version=3), round_record(2))
    assert [r.round_index for r in store.load_rounds("r-0001")] == [1, 2]
    assert store.load_rounds("r-0001", after=1) == [round_record(2)]


def test_a_task_is_read_back_as_it_was_saved(store: Store) -> None:
    store.create_run(make_run())
    claim = Claim(nonce="ab", request_id="c", attempt=1, claimed_at=1.5, expires_at=2.5)
    span = Span(name="load", start_s=1.0, end_s=2.0)
    report = Report(outcome="done", nonce="ab", outputs={"update": FILE}, voids={1: "cd"}, spans=(span,))
    task = Task(key=TRAIN, version=1, status="CLAIMED", claim=claim, report=report)
    assert store.save_task("r-0001", task)
    assert store.load_task("r-0001", TRAIN) == task
    assert store.load_task("r-0001", TaskKey(round_index=1, kind="train", index=3)) is None


def test_a_task_is_saved_only_by_who_saw_its_last_version(store: Store) -> None:
    store.create_run(make_run())
    assert store.save_task("r-0001", Task(key=TRAIN, version=1))
    assert not store.save_task("r-0001", Task(key=TRAIN, version=1, attempt=8))
    assert store.save_task("r-0001", Task(key=TRAIN, version=2, attempt=1))
    assert not store.save_task("r-0001", Task(key=TRAIN, version=2, attempt=9))
    assert not store.save_task("r-0001", Task(key=TRAIN, version=7, attempt=9))
    task = store.load_task("r-0001", TRAIN)
    assert task is not None and task.attempt == 1


def test_a_task_is_saved_only_in_the_stage_it_was_meant_for(store: Store) -> None:
    run = make_run()
    store.create_run(run)
    assert not store.save_task("r-0001", Task(key=TRAIN, version=1), stage="RUNNING/TRAINING/1/1")
    assert store.load_task("r-0001", TRAIN) is None
    assert store.save_task("r-0001", Task(key=TRAIN, version=1), stage=run.stage)
    assert store.save_run(replace(run, version=2, status="CANCELLED"))
    assert not store.save_task("r-0001", Task(key=TRAIN, version=2), stage=run.stage)
    assert not store.save_task("r-none", Task(key=TRAIN, version=1), stage=run.stage)


def test_of_many_tasks_each_is_saved_on_its_own_terms(store: Store) -> None:
    run = make_run(status="RUNNING")
    store.create_run(run)
    first, second, third = (Task(key=replace(TRAIN, index=index), version=1) for index in range(3))
    assert store.save_tasks("r-0001", [], stage=run.stage) == []
    assert store.save_tasks("r-0001", [first, second], stage=run.stage) == [True, True]
    changed = [replace(first, version=2, attempt=1), replace(second, version=3, attempt=1), third]
    assert store.save_tasks("r-0001", changed, stage=run.stage) == [True, False, True]
    assert store.save_run(replace(run, version=2, status="CANCELLED"))
    late = [replace(first, version=3, attempt=2), replace(second, version=2, attempt=2)]
    assert store.save_tasks("r-0001", late, stage=run.stage) == [False, False]
    assert list(store.load_tasks("r-0001", 1).values()) == [changed[0], second, third]


def test_more_tasks_than_a_transaction_takes_are_saved(store: Store) -> None:
    run = make_run(status="RUNNING")
    store.create_run(run)
    tasks = [Task(key=replace(TRAIN, index=index), version=1) for index in range(256)]
    lost = Task(key=replace(TRAIN, index=150), version=1, attempt=9)
    assert store.save_task("r-0001", lost, stage=run.stage)
    saved = store.save_tasks("r-0001", tasks, stage=run.stage)
    assert [index for index, done in enumerate(saved) if not done] == [150]
    assert list(store.load_tasks("r-0001", 1).values()) == [*tasks[:150], lost, *tasks[151:]]


def test_tasks_of_one_round_come_in_order_and_without_others(store: Store) -> None:
    store.create_run(make_run())
    keys = [
        TaskKey(round_index=1, kind="combine", index=0, generation=1),
        TaskKey(round_index=1, kind="combine", index=0, generation=2),
        TaskKey(round_index=1, kind="train", index=2),
        TaskKey(round_index=1, kind="train", index=10),
    ]
    for key in [*reversed(keys), TaskKey(round_index=2, kind="train"), TaskKey(round_index=0, kind="prepare")]:
        assert store.save_task("r-0001", Task(key=key, version=1))
    assert list(store.load_tasks("r-0001", 1)) == keys
    assert store.load_tasks("r-0002", 1) == {}


def test_the_newest_runs_come_first(store: Store) -> None:
    for number in (2, 1, 3):
        store.create_run(make_run(f"r-000{number}", created_at=float(number)))
    assert [run.run_id for run in store.list_runs()] == ["r-0003", "r-0002", "r-0001"]
    assert [run.run_id for run in store.list_runs(limit=1)] == ["r-0003"]


def test_the_runs_that_have_not_ended_are_known(store: Store) -> None:
    for number in (3, 1, 2):
        store.create_run(make_run(f"r-000{number}", created_at=float(number)))
    assert store.open_run_ids() == ["r-0001", "r-0002", "r-0003"]
    for number, status in ((1, "RUNNING"), (2, "FAILED"), (3, "FINISHED")):
        assert store.save_run(make_run(f"r-000{number}", version=2, created_at=float(number), status=status))
    assert store.open_run_ids() == ["r-0001"]
    assert store.save_run(make_run("r-0002", version=3, created_at=2.0, status="RUNNING")), "it is resumed"
    assert store.open_run_ids() == ["r-0001", "r-0002"]


def test_a_deleted_run_leaves_nothing(store: Store) -> None:
    for run_id in ("r-0001", "r-0002"):
        store.create_run(make_run(run_id))
        store.save_task(run_id, Task(key=TRAIN, version=1))
        store.save_run(make_run(run_id, version=2), round_record(1))
        store.put_steps(run_id, step_batch(0))
        store.put_predictions(run_id, prediction_batch(0))
    store.delete_run("r-0001")
    store.delete_run("r-0001")
    with pytest.raises(RunNotFound):
        store.load_run("r-0001")
    assert store.load_task("r-0001", TRAIN) is None
    assert store.load_rounds("r-0001") == [] and store.read_steps("r-0001")[0] == []
    assert store.read_predictions("r-0001")[0] == []
    assert store.read_predictions("r-0002")[0] == [prediction_batch(0)]
    assert len(store.read_steps("r-0002")[0]) == len(store.load_rounds("r-0002")) == 1


def test_of_many_writers_just_one_wins_each_version(store: Store) -> None:
    store.create_run(make_run())
    store.save_task("r-0001", Task(key=TRAIN, version=1))

    def contend(writer: int) -> int:
        won = 0
        while True:
            task, run = store.load_task("r-0001", TRAIN), store.load_run("r-0001")
            assert task is not None
            if task.version >= 40:
                return won
            won += store.save_task("r-0001", replace(task, version=task.version + 1, attempt=writer), stage=run.stage)
            store.save_run(replace(run, version=run.version + 1))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(contend, range(4))) == 39


def test_progress_is_read_from_a_cursor_on(store: Store) -> None:
    for run_id in ("r-0001", "r-0002"):
        store.create_run(make_run(run_id))
    store.put_steps("r-0001", step_batch(0))
    batches, cursor = store.read_steps("r-0001")
    assert batches == [step_batch(0)]
    assert store.read_steps("r-0001", cursor) == ([], cursor)
    store.put_steps("r-0001", step_batch(1))
    store.put_steps("r-0002", step_batch(2))
    batches, later = store.read_steps("r-0001", cursor)
    assert batches == [step_batch(1)] and later != cursor
    assert store.read_steps("r-0001", later) == ([], later)


def test_the_same_progress_twice_counts_once(store: Store) -> None:
    store.create_run(make_run())
    store.put_steps("r-0001", step_batch(0))
    store.put_steps("r-0001", step_batch(0))
    assert store.read_steps("r-0001")[0] == [step_batch(0)]


def test_spans_are_read_from_a_cursor_on(store: Store) -> None:
    batch = SpanBatch(
        key=replace(TRAIN, index=1), attempt=1, request_id="a", spans=(Span(name="load", start_s=1.0, end_s=2.0),)
    )
    store.create_run(make_run())
    store.put_spans("r-0001", batch)
    batches, cursor = store.read_spans("r-0001")
    assert batches == [batch]
    assert store.read_spans("r-0001", cursor) == ([], cursor)


def test_predictions_are_read_from_a_cursor_on_with_their_pictures(store: Store) -> None:
    for run_id in ("r-0001", "r-0002"):
        store.create_run(make_run(run_id))
    store.put_predictions("r-0001", prediction_batch(0, images=(bytes(range(256)), b"\x89PNG\r\n")))
    batches, cursor = store.read_predictions("r-0001")
    assert batches == [prediction_batch(0, images=(bytes(range(256)), b"\x89PNG\r\n"))]
    assert store.read_predictions("r-0001", cursor) == ([], cursor)
    store.put_predictions("r-0001", prediction_batch(4))
    store.put_predictions("r-0002", prediction_batch(2))
    batches, later = store.read_predictions("r-0001", cursor)
    assert batches == [prediction_batch(4)] and later != cursor
    assert store.read_predictions("r-0001", later) == ([], later)
    assert store.read_steps("r-0001")[0] == store.read_spans("r-0001")[0] == []


def test_the_same_predictions_twice_count_once(store: Store) -> None:
    store.create_run(make_run())
    batches = [
        prediction_batch(0),
        prediction_batch(0, worker_index=0),
        prediction_batch(0, attempt=2),
        prediction_batch(1),
    ]
    for batch in [*batches, *batches]:
        store.put_predictions("r-0001", batch)
    found = store.read_predictions("r-0001")[0]
    assert len(found) == 4 and all(batch in found for batch in batches)


def round_record(index: int) -> RoundRecord:
    return RoundRecord(
        round_index=index,
        generation=1,
        committed_at=1.0,
        examples=8,
        epochs=0.5,
        metrics={"train/loss": 0.5},
        inputs={0: "aa"},
        parameters=(FILE,),
        cost_usd=0.1,
    )


def step_batch(first_step: int) -> StepBatch:
    return StepBatch(
        worker_index=1,
        round_index=1,
        attempt=1,
        first_step=first_step,
        ended_at=1.0,
        losses=(0.5,),
        examples=(4,),
        durations_ms=(1.25,),
    )


def prediction_batch(parameters_round: int, **changes: object) -> PredictionBatch:
    values: dict[str, object] = {
        "worker_index": 1,
        "parameters_round": parameters_round,
        "attempt": 1,
        "made_at": 1.5 + parameters_round,
        "examples": (3, 5),
        "truths": (1, 0),
        "predicted": (1, 1),
        "confidences": (0.75, 0.5),
        "confusion": ((1, 1, 30), (0, 1, 2)),
    }
    return PredictionBatch(**(values | changes))  # type: ignore[arg-type]


class TestSqliteAlone:
    """What only a file can do."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "home" / "runs.db"

    def test_another_process_sees_what_was_saved(self, path: Path) -> None:
        SqliteStore(path).create_run(make_run())
        assert SqliteStore(path).load_run("r-0001") == make_run()

    def test_the_file_is_the_owners_alone(self, path: Path) -> None:
        SqliteStore(path).create_run(make_run())
        assert path.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("damage", [b"not a database at all", b"SQLite format 3\0" + bytes(100)])
    def test_a_damaged_file_is_named(self, path: Path, damage: bytes) -> None:
        path.parent.mkdir()
        path.write_bytes(damage)
        with pytest.raises(Exception, match="E306 StoreCorrupted"):
            SqliteStore(path).list_runs()

    def test_make_durable_keeps_everything(self, path: Path) -> None:
        store = SqliteStore(path)
        store.create_run(make_run())
        store.make_durable()
        store.close()
        assert SqliteStore(path).load_run("r-0001") == make_run()
