"""Records of settled rounds, packed: the same records come out, and what has not changed is not made anew."""

from __future__ import annotations

import pytest
from dashboard_samples import SHAPE, make_sample, sample_snapshot, sample_source
from worker_samples import T, attempt, spans, task, train_key

from contracts.records import SpanBatch, Task, TaskKey
from dashboard.queries.collector import Collector
from dashboard.queries.packed_records import (
    Packed,
    PackedRecords,
    PackedTasks,
    record_parts,
    records_of,
    task_parts,
    tasks_of,
)
from dashboard.queries.run_data import RunData
from dashboard.views.task_rows import RowStore
from fakes.memory_store import MemoryStore

BYTES_A_TASK = 700
"""Of a made one, whose paths and checksums are random; as objects it takes 3,400."""


def test_what_comes_out_is_what_went_in() -> None:
    snapshot = sample_snapshot(state="finished", troubles=True)
    tasks, batches = list(snapshot.tasks.values()), list(snapshot.spans)
    assert len(tasks) == len(snapshot.tasks) > 30
    assert Packed(Task, tasks).unpack() == tasks
    assert Packed(SpanBatch, batches).unpack() == batches
    assert Packed(Task, []).unpack() == []


def test_a_packed_round_is_small() -> None:
    store = MemoryStore()
    make_sample(store, SHAPE._replace(workers=32))
    tasks = list(store.load_tasks(SHAPE.run_id, 3).values())
    assert Packed(Task, tasks).size_bytes < BYTES_A_TASK * len(tasks)


def test_packed_and_unpacked_rounds_are_one_mapping() -> None:
    rounds = [
        {key: task(key, attempt("done", 1, 2)) for key in map(train_key, range(2), (index, index))}
        for index in range(4)
    ]
    found = PackedTasks([Packed(Task, tasks.values()) for tasks in rounds[:2]], {3: rounds[3], 2: rounds[2]})
    assert dict(found) == {key: task for tasks in rounds for key, task in tasks.items()}
    assert list(found) == [key for tasks in rounds for key in tasks]
    assert len(found) == 8
    assert [tasks_of(found, index) for index in range(5)] == [*rounds, {}]
    assert tasks_of(dict(found), 1) == rounds[1]
    assert found.get(TaskKey(round_index=1, kind="train", index=2)) is None
    assert found.get(TaskKey(round_index=9, kind="train")) is None
    with pytest.raises(KeyError):
        found[train_key(0, -1)]


def test_parts_are_told_without_unpacking() -> None:
    batches = [spans(train_key(index), ("load", 1, 2)) for index in range(4)]
    packed = Packed(SpanBatch, batches[:3])
    found = PackedRecords([packed], batches[3:])
    assert list(found) == batches
    assert (found[3], found[-1], found[1:3]) == (batches[3], batches[3], tuple(batches[1:3]))
    assert len(found) == 4
    assert record_parts(found) == (packed, batches[3])
    assert [records_of(part) for part in record_parts(found)] == [batches[:3], (batches[3],)]
    assert record_parts(batches) is batches


def test_rounds_are_packed_once_nothing_changes_in_them() -> None:
    store = MemoryStore()
    made = make_sample(store, SHAPE, "running")
    snapshot = Collector(sample_source(store), clock=lambda: made.now).look(SHAPE.run_id)
    kinds = [type(part) for part in task_parts(snapshot.tasks)]
    assert kinds.count(Packed) == 5  # rounds 0 to 4; the fifth is under way
    assert kinds[:5] == [Packed] * 5
    assert {batch.key.round_index for batch in snapshot.spans} == set(range(5))
    assert all(isinstance(part, Packed) for part in record_parts(snapshot.spans))


def settled(*workers: int) -> RunData:
    data = RunData(sample_snapshot(state="running").run)
    for index in range(3):
        data.use_tasks(
            index, {key: task(key, attempt("done", 1, 2)) for key in map(train_key, workers, [index] * len(workers))}
        )
    data.settle(2)
    return data


def test_spans_that_come_late_or_again_join_their_round() -> None:
    data, source = settled(0, 1), sample_source(MemoryStore())
    first, late = (spans(train_key(worker, 1), ("load", 1, 2)) for worker in (0, 1))
    other = spans(train_key(0, 2), ("load", 3, 4))
    data.add_spans([first, other])
    data.settle(2)
    before = data.snapshot(1, T, True, source)
    again = spans(train_key(0, 1), ("load", 1, 2.5))
    data.add_spans([late, again])
    data.settle(2)
    after = data.snapshot(2, T, True, source)

    assert list(before.spans) == [first, other]
    assert sorted(map(str, after.spans)) == sorted(map(str, [again, late, other]))
    untouched = record_parts(before.spans)[-1]
    assert untouched in record_parts(after.spans)
    rows = RowStore()
    assert sorted(rows.read(before).spans["end"].tolist()) == [T + 2, T + 4]
    assert sorted(rows.read(after).spans["end"].tolist()) == [T + 2, T + 2.5, T + 4]


def test_a_task_asked_for_is_unpacked_with_its_round_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = settled(0, 1).snapshot(1, T, True, sample_source(MemoryStore()))
    unpacked = []
    whole = Packed.unpack
    monkeypatch.setattr(Packed, "unpack", lambda self: unpacked.append(len(self)) or whole(self))
    for worker in (0, 1):
        assert snapshot.tasks[train_key(worker, 1)].history[0].started_at == T + 1
    assert unpacked == [2]
    assert list(snapshot.tasks.values())[-1].key == train_key(1, 2)
