"""Whole runs with TensorFlow on real processes: the same parameters again, after pauses, and with other workers."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.records import Run
from contracts.settings import RunSettings
from engines.home import Home
from engines.local import HANDLERS, LocalEngine
from runs import recipes
from runs.start import EngineLimits, complete_settings, start
from runs.trainer import parameters_digest
from stores.shared_files import FolderFiles
from training.samples import sample_rows
from training.vector_files import Vector, read_vector

TESTS = Path(__file__).parents[1]
HERE = Path(__file__).parent
EXAMPLE = str(TESTS.parent / "examples" / "my_recipe.py")
LIMITS = EngineLimits(concurrency=2, cores=2, time_limit_s=300.0, memory_mb=3_008)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return made_home(tmp_path)


def made_home(folder: Path) -> Home:
    made = Home(folder / "home")
    made.create()
    return made


def make_settings(home: Home, recipe: str, **request: Any) -> RunSettings:
    summary = recipes.describe(recipe, request.pop("overrides", {}))
    recipes.keep(FolderFiles(home.environment().shared_folder), recipe, summary)
    return complete_settings(request, summary, LIMITS)


@dataclass(frozen=True)
class Trained:
    """An engine, and what it is asked for."""

    home: Home
    engine: LocalEngine

    def __call__(self, recipe: str, **request: Any) -> Run:
        """A whole run."""
        settings = make_settings(self.home, recipe, **request)
        return self.engine.conduct(start(self.engine.services, settings).run_id, lambda run: None)

    def parameters(self, run: Run) -> Vector:
        return read_vector(FolderFiles(self.home.environment().shared_folder), run.parameters)


@contextlib.contextmanager
def opened(home: Home, recipe: str, handlers: dict[str, str] | None = None, **request: Any) -> Iterator[Trained]:
    """An engine with cold environments, as many as this request wants."""
    with LocalEngine(home, "", "r-test", make_settings(home, recipe, **request), handlers) as engine:
        engine.prestart()
        yield Trained(home, engine)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """One engine for all tests that do not ask for another: each environment imports TensorFlow once."""
    with opened(made_home(tmp_path_factory.mktemp("warm")), "digits-mlp", workers=2, epochs=2) as trained:
        yield trained


def finished(run: Run) -> Run:
    assert run.status == "FINISHED", run.error
    return run


def test_a_run_repeats_bit_for_bit_in_warm_and_cold_environments(warm: Trained, home: Home) -> None:
    request: dict[str, Any] = {"workers": 2, "epochs": 2, "seed": 5}
    digests = []
    for wanted in (request, request | {"epochs": 1, "seed": 6}, request):
        digests.append(finished(warm("digits-mlp", **wanted)).results["parameters_sha256"])
    with opened(home, "digits-mlp", **request) as cold:
        again = finished(cold("digits-mlp", **request))
    assert digests[0] == digests[2] == again.results["parameters_sha256"] != digests[1]
    assert again.results["test_accuracy"] > 0.8
    assert not again.fingerprints_mixed and "tensorflow" in again.fingerprint


def test_a_warm_up_builds_the_model_and_traces_its_step_before_its_environments_first_task(home: Home) -> None:
    with opened(home, "digits-mlp", workers=2, epochs=1) as cold:
        run = finished(cold("digits-mlp", workers=2, epochs=1))
        batches = cold.engine.services.telemetry.read_spans(run.run_id)[0]
    in_order = [sorted(batch.spans, key=lambda span: span.start_s) for batch in batches]
    building = [spans for spans in in_order if any(span.name == "build" for span in spans)]
    # Once to initialise and once to warm up: in two environments, or one after the other in that which was up first.
    assert sum(span.name == "build" for spans in building for span in spans) == 2
    for init, build, after, *_ in building:
        assert (init.name, build.name) == ("init", "build")
        assert init.end_s <= build.start_s <= build.end_s <= after.start_s
    (initialised,) = [batch for batch in batches if batch.key.kind == "initialise"]
    assert initialised.spans[0].name == "init", "the first task of its environment"


def test_every_validation_leaves_sample_predictions_and_a_confusion_matrix(warm: Trained) -> None:
    run = finished(warm("digits-mlp", workers=3, epochs=3, seed=5))
    services = warm.engine.services
    batches = services.telemetry.read_predictions(run.run_id)[0]
    steps = services.telemetry.read_steps(run.run_id)[0]
    rounds = {record.round_index: record.metrics for record in services.store.load_rounds(run.run_id)}
    validated = sorted(index - 1 for index, metrics in rounds.items() if "val/accuracy" in metrics)
    assert len(validated) >= 2 and sorted({batch.parameters_round for batch in batches}) == validated
    examples = run.data_facts["val_examples"]
    for parameters_round in validated:
        seen = sorted((b for b in batches if b.parameters_round == parameters_round), key=lambda b: b.worker_index)
        rows = [row for batch in seen for row in batch.examples]
        assert len(seen) == 3 and rows == sample_rows(examples).tolist() and len(rows) == 48
        cells = [cell for batch in seen for cell in batch.confusion]
        assert sum(count for *_, count in cells) == examples
        right = sum(count for truth, predicted, count in cells if truth == predicted)
        assert right / examples == pytest.approx(rounds[parameters_round + 1]["val/accuracy"])
        images = [image for batch in seen for image in batch.images]
        assert len(images) == (48 if parameters_round == validated[0] else 0)
        assert all(Image.open(io.BytesIO(image)).size == (8, 8) for image in images)
        assert all(0.1 <= share <= 1 for batch in seen for share in batch.confidences)
    for index, metrics in rounds.items():
        own = [batch for batch in steps if batch.round_index == index]
        right = sum(np.dot(batch.accuracies, batch.examples) for batch in own)
        assert metrics["train/accuracy"] == pytest.approx(right / sum(sum(b.examples) for b in own), abs=1e-3)
    assert rounds[max(rounds)]["train/accuracy"] > 0.8


def test_a_pause_after_every_step_changes_no_bit(warm: Trained, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example recipe has dropout, batch normalisation and Adam."""
    request: dict[str, Any] = {"workers": 2, "rounds": 3, "steps_per_round": 4}
    plain = finished(warm(EXAMPLE, **request))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(HERE)]))
    with opened(home, EXAMPLE, HANDLERS | {"train": "hurried_handlers.handler"}, **request) as hurried:
        paused = finished(hurried(EXAMPLE, **request))
    assert paused.results["parameters_sha256"] == plain.results["parameters_sha256"]


def test_gradients_of_four_workers_equal_one_with_four_times_the_batch(home: Home) -> None:
    recipe = str(HERE / "float64_recipe.py")
    common: dict[str, Any] = {"sync": "gradients", "rounds": 1, "steps_per_round": 99}
    with opened(home, recipe, workers=4, batch_size=7, **common) as alone:  # the recipe has its process use float64
        four = finished(alone(recipe, workers=4, batch_size=7, **common))
        one = finished(alone(recipe, workers=1, batch_size=28, **common))
    a, b = alone.parameters(four), alone.parameters(one)
    assert a.dtype == np.float64
    assert float(np.max(np.abs(a - b)) / np.max(np.abs(b))) < 1e-10


def test_a_loss_that_turns_nan_names_round_and_worker_and_keeps_the_checkpoint(warm: Trained) -> None:
    run = warm(EXAMPLE, workers=2, epochs=1, overrides={"learning_rate": "1e30"})
    assert run.status == "FAILED" and run.error is not None
    assert run.error.number == "E201" and "worker" in run.error.message and "round" in run.error.message
    assert len(parameters_digest(warm.parameters(run))) == 64, "the last good parameters can be read"


def test_a_recipe_that_raises_fails_the_run_with_its_line(warm: Trained, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    source = Path(EXAMPLE).read_text()
    assert "    import keras\n" in source
    broken.write_text(source.replace("    import keras\n", "    raise ZeroDivisionError('oh')\n", 1))
    run = warm(str(broken), workers=2, epochs=1)
    assert run.status == "FAILED" and run.error is not None
    assert run.error.number == "E104" and "ZeroDivisionError" in run.error.message
