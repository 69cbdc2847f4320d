"""Of many writers at once just one wins, by whichever way a conditional write is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.errors import RunExists
from contracts.records import Task
from fakes.dynamodb_table import TABLE, dynamodb_table
from stores.dynamodb import DynamoStore
from unit.stores.scripted_store import KEY, make_round, make_run

WRITERS = 8
RUN, RECORD = make_run(workers=40), make_round(1)


@pytest.fixture
def client() -> Iterator[Any]:
    with dynamodb_table() as found:
        DynamoStore(TABLE, found).create_run(RUN)
        assert DynamoStore(TABLE, found).save_task("r-0001", Task(key=KEY, version=1))
        yield found


def create(store: DynamoStore, writer: int) -> bool:
    try:
        store.create_run(replace(RUN, run_id="r-0002", created_at=float(writer)))
    except RunExists:
        return False
    return True


WRITES: dict[str, Callable[[DynamoStore, int], bool]] = {
    "a new run": create,
    "a run": lambda store, writer: store.save_run(replace(RUN, version=2, spent_usd=float(writer))),
    "a new stage": lambda store, writer: store.save_run(replace(RUN, version=2, round_index=writer + 1)),
    "a round": lambda store, writer: store.save_run(replace(RUN, version=2), replace(RECORD, examples=writer)),
    "a new task": lambda store, writer: store.save_task(
        "r-0001", Task(key=replace(KEY, index=1), version=1, attempt=writer), stage=RUN.stage
    ),
    "a claim": lambda store, writer: store.save_task(
        "r-0001", Task(key=KEY, version=2, attempt=writer), stage=RUN.stage
    ),
    "a report": lambda store, writer: store.save_task("r-0001", Task(key=KEY, version=2, attempt=writer)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
@pytest.mark.parametrize("knows_the_run", [True, False])
def test_just_one_of_many_writers_wins(
    client: Any, write: Callable[[DynamoStore, int], bool], knows_the_run: bool
) -> None:
    stores = [DynamoStore(TABLE, client) for _ in range(WRITERS)]
    if knows_the_run:
        for store in stores:
            store.load_run("r-0001")
    assert sum(all_at_once(lambda writer: write(stores[writer], writer))) == 1


def test_every_offer_of_many_reconcilers_is_written_once(client: Any) -> None:
    keys = [replace(KEY, round_index=2, index=index) for index in range(40)]

    def offer(writer: int) -> list[bool]:
        # Each begins elsewhere, so that none wins all.
        mine = keys[5 * writer :] + keys[: 5 * writer]
        tasks = [Task(key=key, version=1, attempt=writer) for key in mine]
        saved = DynamoStore(TABLE, client).save_tasks("r-0001", tasks, stage=RUN.stage)
        return [done for _, done in sorted(zip(mine, saved, strict=True))]

    won = all_at_once(offer)
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * 40
    stored = DynamoStore(TABLE, client).load_tasks("r-0001", 2)
    assert [won[task.attempt][index] for index, task in enumerate(stored.values())] == [True] * 40


def test_a_claim_and_a_cancel_never_both_win_the_same_moment(client: Any) -> None:
    """Whoever claims after the run has ended is refused; so a claim that won was there before."""
    outcomes = []

    def act(writer: int) -> bool:
        store = DynamoStore(TABLE, client)
        if writer == 0:
            return store.save_run(replace(RUN, version=2, status="CANCELLED"))
        task = Task(key=replace(KEY, round_index=3, index=writer), version=1)
        saved = store.save_task("r-0001", task, stage=RUN.stage)
        outcomes.append((saved, store.load_run("r-0001").ended))
        return saved

    assert all_at_once(act)[0]
    late = Task(key=replace(KEY, round_index=3, index=39), version=1)
    for index in range(40):
        key = replace(KEY, round_index=4, index=index)
        assert not DynamoStore(TABLE, client).save_task("r-0001", replace(late, key=key), stage=RUN.stage)
    assert all(saved or ended for saved, ended in outcomes), "refused only because the run had ended"


def all_at_once[T](act: Callable[[int], T]) -> list[T]:
    """What each writer got, all having begun together."""
    barrier = threading.Barrier(WRITERS, timeout=30)

    def begin(writer: int) -> T:
        barrier.wait()
        return act(writer)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(begin, range(WRITERS)))
