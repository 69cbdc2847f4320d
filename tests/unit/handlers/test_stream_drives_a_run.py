"""A whole run through StartRun, the table's stream, Conduct and Monitor: batches, duplicates, any order across items.

The table and its stream are moto's, the functions' work is arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from handler_helpers import TABLE_ARN, Context, Invocations, failed_names
from moto.dynamodb.models import dynamodb_backends

from contracts.messages import parse_task
from fakes.arithmetic_trainer import ArithmeticTrainer
from fakes.dynamodb_table import REGION, dynamodb_table
from fakes.every_task import every_task
from fakes.memory_files import MemoryFiles
from fakes.memory_store import MemoryStore
from handlers import conduct, monitor, start_run, wiring
from runs.execute import execute
from runs.reconcile import reconcile
from runs.services import Services
from runs.start import start
from stores.dynamodb import DynamoStore

TRAINER = ArithmeticTrainer()
WORK = every_task(TRAINER, lambda _: {"train_examples": 64, "val_examples": 6})
MOST_TURNS = 200


class Unhurried:
    def remaining_s(self) -> float:
        return 1e9


@pytest.fixture
def stack() -> Iterator[Services]:
    """The functions' ports on a table of moto's."""
    with dynamodb_table("lambdafit") as client, pytest.MonkeyPatch.context() as patch:
        store = DynamoStore("lambdafit", client)
        clock, randomness = wiring.SystemClock(), wiring.SystemRandomness()
        services = Services(store, store, MemoryFiles(), Invocations(), clock, randomness)
        patch.setattr(wiring, "services", lambda: services)
        yield services


def stream(after: int) -> list[dict[str, Any]]:
    """The stream's records from one on, as Lambda hands them over."""
    shard = dynamodb_backends["123456789012"][REGION].tables["lambdafit"].stream_shard
    assert shard is not None
    found = []
    for number, item in enumerate(shard.items[after:], after + 1):
        record = item.to_json()
        record["dynamodb"]["SequenceNumber"] = str(number)
        found.append(record | {"eventSource": "aws:dynamodb", "eventSourceARN": TABLE_ARN})
    return found


def passes(record: dict[str, Any], wanted: Sequence[tuple[str, str]]) -> bool:
    """As the mappings' filters do."""
    image = record["dynamodb"].get("NewImage", {})
    kind, status = (image.get(name, {}).get("S", "") for name in ("kind", "status"))
    return (kind, "") in wanted or (kind, status) in wanted


CONDUCT = [("run", ""), ("task", "DONE"), ("task", "FAILED"), ("task", "WAITING")]
MONITOR = [("run", ""), ("round", "")]


@pytest.mark.filterwarnings("ignore:This metric doesn't meet the requirements")
@pytest.mark.parametrize("seed", range(3))
def test_the_stream_drives_the_run_whatever_it_doubles_or_swaps(
    stack: Services, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    chance = random.Random(seed)
    request = {"start": True, "workers": 3, "rounds": 3, "seed": 5, "recipe": "digits-mlp"}
    run_id = start_run.handler(request, Context())["run_id"]
    assert isinstance(stack.invoker, Invocations)
    seen = 0
    for _ in range(MOST_TURNS):
        records = stream(seen)
        if not records:
            break
        seen += len(records)
        for handler, wanted in ((conduct.handler, CONDUCT), (monitor.handler, MONITOR)):
            batch = [record for record in records if passes(record, wanted)]
            batch += chance.sample(batch, len(batch) // 2)
            chance.shuffle(batch)
            if batch:
                assert failed_names(handler({"Records": batch}, Context())) == []
        sent = stack.invoker.take()
        for function, event in chance.sample(sent, len(sent)) + sent[:1]:
            request_id = f"{function}-{chance.random()}"
            execute(parse_task(event), stack, Unhurried(), request_id, WORK)
    run = stack.store.load_run(run_id)
    assert (run.status, run.final_round) == ("FINISHED", 3)
    assert stack.store.open_run_ids() == []
    assert [record.round_index for record in stack.store.load_rounds(run_id)] == [1, 2, 3]
    assert capsys.readouterr().out.count('"RoundSeconds":[') >= 3
    assert run.results["test_loss"] == pytest.approx(_expected(stack, run_id))


def _expected(stack: Services, run_id: str) -> float:
    """The same run, brought to its end by hand, one thing after the other."""
    store, invocations = MemoryStore(), Invocations()
    alone = replace(stack, store=store, telemetry=store, files=MemoryFiles(), invoker=invocations)
    start(alone, stack.store.load_run(run_id).settings, run_id)
    while not reconcile(alone, run_id)[0].ended:
        for number, (_, event) in enumerate(invocations.take()):
            execute(parse_task(event), alone, Unhurried(), str(number), WORK)
    result: float = store.load_run(run_id).results["test_loss"]
    return result
