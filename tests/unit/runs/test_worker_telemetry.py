"""What workers show of a run: predictions, steps with their accuracy; and that showing never fails a run."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from contracts.records import PredictionBatch, StepBatch
from fakes.memory_store import MemoryStore
from simulation.world import NO_FAULTS, RUN_ID, Faults, World, fault_free, settings
from training.samples import sample_rows
from training.shards import is_validation_round

VAL_EXAMPLES = 50


def by_round(world: World) -> dict[int, list[PredictionBatch]]:
    """The newest attempt of each worker, by the round whose parameters they saw."""
    newest: dict[tuple[int, int], PredictionBatch] = {}
    for batch in world.store.read_predictions(RUN_ID)[0]:
        where = (batch.parameters_round, batch.worker_index)
        if where not in newest or newest[where].attempt < batch.attempt:
            newest[where] = batch
    found = defaultdict(list)
    for (parameters_round, _), batch in sorted(newest.items()):
        found[parameters_round].append(batch)
    return dict(found)


@pytest.mark.parametrize("faults", [NO_FAULTS, Faults(crash=0.05)])
def test_every_validated_round_shows_all_samples_and_the_pictures_once(faults: Faults) -> None:
    world = World(3, settings(epochs=3), faults)
    world.data_facts = {"train_examples": 37, "val_examples": VAL_EXAMPLES}
    run = world.run()
    assert run.status == "FINISHED" and run.plan is not None
    shown = by_round(world)
    last = run.plan.total_rounds
    assert sorted(shown) == [i - 1 for i in range(1, last + 1) if is_validation_round(run.plan, run.settings, i)]
    wanted = sample_rows(VAL_EXAMPLES).tolist()
    for parameters_round, batches in shown.items():
        assert [row for batch in batches for row in batch.examples] == wanted
        assert sum(count for batch in batches for *_, count in batch.confusion) == VAL_EXAMPLES
        pictures = [image for batch in batches for image in batch.images]
        assert pictures == ([b"picture %d" % row for row in wanted] if parameters_round == min(shown) else [])
    sizes = [len(batch.examples) for batch in shown[min(shown)]]
    assert len(sizes) == 3 and all(sizes)


def test_each_step_has_its_accuracy_and_a_round_their_mean() -> None:
    world = fault_free(settings())
    batches = world.store.read_steps(RUN_ID)[0]
    assert batches and all(batch.accuracies == (0.5,) * len(batch.losses) for batch in batches)
    assert {record.metrics["train/accuracy"] for record in world.store.load_rounds(RUN_ID)} == {0.5}


class Unreachable(MemoryStore):
    """A store that takes no telemetry of workers."""

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        raise OSError("the steps are lost")

    def put_predictions(self, run_id: str, batch: PredictionBatch) -> None:
        raise OSError("the predictions are lost")


def test_telemetry_that_fails_fails_no_training(caplog: pytest.LogCaptureFixture) -> None:
    world = World(0, settings(), NO_FAULTS)
    world.services = replace(world.services, telemetry=Unreachable())
    with caplog.at_level(logging.WARNING):
        run = world.run()
    assert run.status == "FINISHED"
    assert {task.failures for task in world.store.tasks.values()} == {0}
    assert run.results == fault_free(settings()).store.load_run(RUN_ID).results
    assert "its steps cannot be shown" in caplog.text and "its predictions cannot be shown" in caplog.text


def test_pictures_that_cannot_be_made_fail_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0, settings(), NO_FAULTS)

    def broken(*_: Any) -> tuple[bytes, ...]:
        raise ImportError("Pillow")

    monkeypatch.setattr(world.trainer, "pictures", broken)
    assert world.run().status == "FINISHED"
