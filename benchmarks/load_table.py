"""Many runs at once in one DynamoDB table (moto's, in memory): each in a thread of its own, over one shared store."""

from __future__ import annotations

import collections
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
import held_resources
import whole_numbers
from contracts.errors import LambdafitError
from contracts.messages import parse_task
from contracts.records import Run
from contracts.settings import RunSettings
from every_task import every_task
from handlers import wiring
from runs.execute import execute
from runs.reconcile import EndedInvocation, reconcile
from runs.services import Services
from runs.start import start
from stores.dynamodb import DynamoStore
from stores.shared_files import FolderFiles

sys.path.append(str(harness.ROOT / "tests"))

from fakes.dynamodb_table import TABLE, dynamodb_table

TRAINER = whole_numbers.NumberTrainer()
WORK = every_task(TRAINER, whole_numbers.prepare_numbers)


class Queued:
    """Implements contracts.ports.Invoker: events wait until the thread of their run comes to them."""

    def __init__(self) -> None:
        self.events: collections.deque[Mapping[str, Any]] = collections.deque()

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Queue it."""
        self.events.append(event)

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """Queue them all."""
        self.events.extend(event for _, event in calls)
        return [None] * len(calls)

    def warm_up(self, run_id: str, environments: int) -> None:
        """See `Invoker.warm_up`: nothing is cold here."""


class Endless:
    """Implements contracts.ports.Deadline."""

    def remaining_s(self) -> float:
        """Enough."""
        return 1e9


def conduct(store: DynamoStore, files: FolderFiles, settings: RunSettings) -> Run:
    """One run from its start to its end, in this thread."""
    queued = Queued()
    services = Services(store, store, files, queued, wiring.SystemClock(), wiring.SystemRandomness())
    run_id = start(services, settings).run_id
    run, _ = reconcile(services, run_id)
    while not run.ended:
        event = queued.events.popleft()
        message = parse_task(event)
        execute(message, services, Endless(), "in this thread", WORK)
        if not queued.events or message.key.kind != "train":
            run, _ = reconcile(services, run_id, [EndedInvocation(message, "in this thread", None)])
    return run


def measure(runs: int, workers: int, rounds: int, steps: int) -> dict[str, Any]:
    """Conduct the runs side by side; then remove every other one.

    Raises:
        AssertionError: something is lost, or a run's items are not its own.
    """
    all_settings = [whole_numbers.run_settings(workers, rounds, steps, seed=seed) for seed in range(runs)]
    with dynamodb_table() as client, tempfile.TemporaryDirectory(prefix="lambdafit-load-") as folder:
        store, files = DynamoStore(TABLE, client), FolderFiles(Path(folder))
        began = time.perf_counter()
        with ThreadPoolExecutor(runs) as pool:
            done = list(pool.map(partial(conduct, store, files), all_settings))
        wall_s = time.perf_counter() - began
        rounds_s: list[float] = []
        for run in done:
            assert run.status == "FINISHED", run.error
            assert run.results["parameters_sha256"] == whole_numbers.expected_digest(run.settings), "other parameters"
            records = store.load_rounds(run.run_id)
            rounds_s += [after.committed_at - before.committed_at for before, after in pairwise(records)]
            batches, _ = store.read_steps(run.run_id)
            assert sum(len(batch.losses) for batch in batches) == workers * rounds * steps, "steps are missing"
        assert len(store.list_runs()) == runs and not store.open_run_ids()
        before = items_by_run(client)
        for run in done[::2]:
            store.delete_run(run.run_id)
        after = items_by_run(client)
        assert after == {run_id: before[run_id] for run_id in after}, "a removal changed another run's items"
        assert set(after) == {run.run_id for run in done[1::2]}, "a removal left something, or took too much"
    return {
        "runs": runs,
        "wall_s": wall_s,
        "rounds_s": held_resources.percentiles(rounds_s),
        "items_a_run": max(len(items) for items in before.values()),
        "bytes_a_run": max(sum(map(len, items)) for items in before.values()),
    }


def items_by_run(client: Any) -> dict[str, list[str]]:
    """Every item of the table as text, by the run that its key names."""
    found: dict[str, list[str]] = {}
    for page in client.get_paginator("scan").paginate(TableName=TABLE):
        for item in page["Items"]:
            found.setdefault(run_of(item["pk"]["S"]), []).append(repr(sorted(item.items())))
    return {run_id: sorted(items) for run_id, items in found.items()}


def run_of(key: str) -> str:
    """The run that a partition belongs to."""
    return next(part for part in key.split("#") if part.startswith("r-"))
