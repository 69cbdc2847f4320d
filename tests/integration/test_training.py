"""Whole runs with TensorFlow on real processes: the same parameters again, after pauses, and with other workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.records import Run
from contracts.settings import RunSettings
from engines.home import Home
from engines.local import HANDLERS, LocalEngine
from runs import recipes
from runs.start import EngineLimits, complete_settings, start
from runs.trainer import parameters_digest
from stores.shared_files import FolderFiles
from training.vector_files import Vector, read_vector

TESTS = Path(__file__).parents[1]
HERE = Path(__file__).parent
EXAMPLE = str(TESTS.parent / "examples" / "my_recipe.py")
LIMITS = EngineLimits(concurrency=2, cores=2, time_limit_s=300.0, memory_mb=3_008)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def make_settings(home: Home, recipe: str, **request: Any) -> RunSettings:
    summary = recipes.describe(recipe, request.pop("overrides", {}))
    recipes.keep(FolderFiles(home.environment().shared_folder), recipe, summary)
    return complete_settings(request, summary, LIMITS)


def train(home: Home, recipe: str, handlers: dict[str, str] | None = None, **request: Any) -> Run:
    settings = make_settings(home, recipe, **request)
    with LocalEngine(home, "", "r-test", settings, handlers) as engine:
        run = start(engine.services, settings)
        engine.prestart()
        return engine.conduct(run.run_id, lambda run: None)


def parameters(home: Home, run: Run) -> Vector:
    return read_vector(FolderFiles(home.environment().shared_folder), run.parameters)


def finished(run: Run) -> Run:
    assert run.status == "FINISHED", run.error
    return run


def test_a_run_repeats_bit_for_bit_in_warm_and_cold_environments(home: Home) -> None:
    settings = make_settings(home, "digits-mlp", workers=2, epochs=2, seed=5)
    other = make_settings(home, "digits-mlp", workers=2, epochs=1, seed=6)
    digests = []
    with LocalEngine(home, "", "r-test", settings) as engine:
        for wanted in (settings, other, settings):
            run = finished(engine.conduct(start(engine.services, wanted).run_id, lambda run: None))
            digests.append(run.results["parameters_sha256"])
    again = finished(train(home, "digits-mlp", workers=2, epochs=2, seed=5))
    assert digests[0] == digests[2] == again.results["parameters_sha256"] != digests[1]
    assert again.results["test_accuracy"] > 0.8
    assert not again.fingerprints_mixed and "tensorflow" in again.fingerprint


def test_a_pause_after_every_step_changes_no_bit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example recipe has dropout, batch normalisation and Adam."""
    plain = finished(train(home, EXAMPLE, workers=2, rounds=3, steps_per_round=4))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(HERE)]))
    hurried = HANDLERS | {"train": "hurried_handlers.handler"}
    paused = finished(train(home, EXAMPLE, hurried, workers=2, rounds=3, steps_per_round=4))
    assert paused.results["parameters_sha256"] == plain.results["parameters_sha256"]


def test_gradients_of_four_workers_equal_one_with_four_times_the_batch(home: Home) -> None:
    recipe = str(HERE / "float64_recipe.py")
    common: dict[str, Any] = {"sync": "gradients", "rounds": 1, "steps_per_round": 99}
    four = finished(train(home, recipe, workers=4, batch_size=7, **common))
    one = finished(train(home, recipe, workers=1, batch_size=28, **common))
    a, b = parameters(home, four), parameters(home, one)
    assert a.dtype == np.float64
    assert float(np.max(np.abs(a - b)) / np.max(np.abs(b))) < 1e-10


def test_a_loss_that_turns_nan_names_round_and_worker_and_keeps_the_checkpoint(home: Home) -> None:
    run = train(home, EXAMPLE, workers=2, epochs=1, overrides={"learning_rate": "1e30"})
    assert run.status == "FAILED" and run.error is not None
    assert run.error.number == "E201" and "worker" in run.error.message and "round" in run.error.message
    assert len(parameters_digest(parameters(home, run))) == 64, "the last good parameters can be read"


def test_a_recipe_that_raises_fails_the_run_with_its_line(home: Home, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    source = Path(EXAMPLE).read_text()
    assert "    import keras\n" in source
    broken.write_text(source.replace("    import keras\n", "    raise ZeroDivisionError('oh')\n", 1))
    run = train(home, str(broken), workers=2, epochs=1)
    assert run.status == "FAILED" and run.error is not None
    assert run.error.number == "E104" and "ZeroDivisionError" in run.error.message
