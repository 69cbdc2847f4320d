"""`train` and `runs resume`: what is asked reaches the run, bad input is refused unwritten, every end has its code."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import click
import pytest
import xxhash
from cli_helpers import OWN_RECIPE, RESULTS, FakeEngine, failed, interrupted, last_line

from cli.flags import RUN_ANSWER_KEYS
from contracts.errors import BudgetReached, DeadlinePassed, LambdafitError, NotFinite, RecipeFailed, StoreBusy
from contracts.records import Run
from stores.sqlite import SqliteStore


def only_run(home: Path) -> Run:
    (run,) = SqliteStore(home / "runs.db").list_runs()
    return run


# --- what was asked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"workers": 4, "epochs": 20, "rounds": None, "batch_size": 8, "seed": 0, "sync": "local"}),
        (["--workers", "2"], {"workers": 2, "batch_size": 16}),
        (["--epochs", "3"], {"epochs": 3, "rounds": None}),
        (["--rounds", "7"], {"epochs": None, "rounds": 7}),
        (["--steps-per-round", "5"], {"steps_per_round": 5}),
        (["--batch-size", "48"], {"batch_size": 48}),
        (["--seed", "42"], {"seed": 42}),
        (["--target-accuracy", "0.9", "--patience", "3"], {"target_accuracy": 0.9, "patience": 3}),
        (["--validate-every-rounds", "2"], {"validate_every_rounds": 2}),
        (["--max-cost-usd", "0.5", "--deadline-s", "60"], {"max_cost_usd": 0.5, "deadline_s": 60.0}),
        (["--sync", "gradients"], {"sync": "gradients"}),
    ],
)
def test_options_reach_the_run(
    invoke: Any, home: Path, engine: type[FakeEngine], arguments: list[str], expected: dict[str, Any]
) -> None:
    result = invoke("train", "digits-mlp", *arguments)
    assert result.exit_code == 0, result.output
    settings = only_run(home).settings
    assert {name: getattr(settings, name) for name in expected} == expected
    assert engine.made[0].prestarted


def test_settings_of_the_recipe_reach_the_run(invoke: Any, home: Path, engine: type[FakeEngine]) -> None:
    invoke("train", "digits-mlp", "--set", "units=8", "--set", "dropout=0")
    found = only_run(home).settings.recipe_settings
    assert (found["units"], found["dropout"], found["momentum"]) == (8, 0.0, 0.9)


def test_options_of_the_outer_optimizer(invoke: Any, home: Path, engine: type[FakeEngine]) -> None:
    invoke("train", "digits-mlp", "--outer", "momentum", "--outer-learning-rate", "0.3", "--outer-momentum", "0.5")
    outer = only_run(home).settings.outer
    assert (outer.kind, outer.learning_rate, outer.momentum) == ("momentum", 0.3, 0.5)


def test_limits_come_from_the_environment(
    invoke: Any, home: Path, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDAFIT_TIMEOUT_S", "6")
    monkeypatch.setenv("LAMBDAFIT_MEMORY_MB", "2000")
    monkeypatch.setenv("LAMBDAFIT_CONCURRENCY", "3")
    invoke("train", "digits-mlp")
    settings = only_run(home).settings
    assert (settings.time_limit_s, settings.memory_mb, settings.concurrency) == (6.0, 2000, 3)


def test_many_workers_are_warned_of(invoke: Any, engine: type[FakeEngine]) -> None:
    result = invoke("train", "digits-mlp", "--workers", "16")
    assert "Note: " in result.stderr
    assert "16" in result.stderr


def test_an_own_recipe_is_described_and_kept(invoke: Any, home: Path, tmp_path: Path, engine: type[FakeEngine]) -> None:
    (tmp_path / "mine.py").write_text(OWN_RECIPE)
    result = invoke("train", "mine.py", "--set", "rate=0.25", "--json")
    assert result.exit_code == 0, result.output
    assert last_line(result)["recipe"] == "mine"
    settings = only_run(home).settings
    assert (settings.epochs, settings.recipe_settings) == (3, {"rate": 0.25})
    kept = home / "shared" / settings.recipe
    assert kept.read_text() == OWN_RECIPE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


WITH_BACKBONE = """
from training.recipe import Recipe
from training.weights import load_weights

def build_backbone(settings):
    import keras
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    load_weights(model, settings["weights"])
    return model

recipe = Recipe(
    name="mine", title="t", dataset="digits", build_model=None, build_optimizer=None, build_loss=None,
    build_backbone=build_backbone, backbone_settings=("weights",), settings={"weights": "", "features": True},
)
"""


def test_weights_are_kept_by_their_content(
    invoke: Any, home: Path, tmp_path: Path, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Path | None] = []
    monkeypatch.setattr("cli.train_run.weights.check", lambda recipe, wanted, is_known: checked.append(wanted.file))
    (tmp_path / "mine.py").write_text(WITH_BACKBONE)
    (tmp_path / "w.h5").write_bytes(b"pretend")
    result = invoke("train", "mine.py", "--set", "weights=w.h5")
    assert result.exit_code == 0, result.output
    settings = only_run(home).settings
    kept = home / "shared" / settings.recipe_settings["weights"]
    assert kept.name == f"{xxhash.xxh3_128_hexdigest(b'pretend')}.weights.h5"
    assert (kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (b"pretend", 0o600)
    assert checked == [Path("w.h5")]
    assert len(settings.backbone_digest) == 32


def test_weights_that_do_not_fit_are_refused_unwritten(
    invoke: Any, home: Path, tmp_path: Path, engine: type[FakeEngine]
) -> None:
    (tmp_path / "mine.py").write_text(WITH_BACKBONE)
    (tmp_path / "w.h5").write_bytes(b"pretend")
    for name, error in (("w.h5", "E114 WeightsUnfit"), ("v.h5", "E113 WeightsNotFound")):
        result = invoke("train", "mine.py", "--set", f"weights={name}")
        assert result.exit_code == 3
        assert error in result.stderr
    assert not home.exists()


# --- how it ended ------------------------------------------------------------------------------------------


def test_a_finished_run_shows_a_table_and_what_to_do_next(invoke: Any, home: Path, engine: type[FakeEngine]) -> None:
    result = invoke("train", "digits-mlp")
    assert result.exit_code == 0
    for text in ("test accuracy", "0.9400", "cost on Lambda", "$0.0031", "12.5 s", "lambdafit runs show r-"):
        assert text in result.stdout
    assert "test accuracy" not in result.stderr


def test_json_is_the_last_line_and_has_every_key(invoke: Any, home: Path, engine: type[FakeEngine]) -> None:
    result = invoke("train", "digits-mlp", "--json", "--seed", "7")
    found = last_line(result)
    assert tuple(found) == RUN_ANSWER_KEYS
    run = only_run(home)
    expected = {
        "run_id": run.run_id,
        "status": "FINISHED",
        "reason": "epochs",
        "rounds": 4,
        "epochs": 2.0,
        "examples": 200,
        "train_loss": 0.25,
        "elapsed_s": 12.5,
        "cost_usd": 0.0031,
        "seed": 7,
        "workers": 4,
        "fingerprints_mixed": False,
        "error": None,
        **RESULTS,
    }
    assert found == found | expected


@pytest.mark.parametrize(
    ("error", "reason", "code", "resume"),
    [
        (NotFinite("run r-1 round 3 worker 1", "the loss is nan"), "", 1, "runs resume r-"),
        (RecipeFailed("mine.py:3", "ValueError"), "", 3, "runs resume r-"),
        (BudgetReached("run r-1", "$1 is spent"), "budget", 5, "--max-cost-usd"),
        (DeadlinePassed("run r-1", "60 s have passed"), "deadline", 1, "--deadline-s"),
    ],
)
def test_a_failed_run_says_why_and_how_to_go_on(
    invoke: Any, engine: type[FakeEngine], error: LambdafitError, reason: str, code: int, resume: str
) -> None:
    engine.ends_with(failed(error, reason))
    result = invoke("train", "digits-mlp", "--json")
    assert result.exit_code == code
    assert f"{error.number} {type(error).__name__}: " in result.stderr
    assert resume in result.stderr
    assert "Traceback" not in result.output
    found = last_line(result)
    assert (found["status"], found["error"]["number"]) == ("FAILED", error.number)
    assert (found["val_accuracy"], found["test_accuracy"]) == (0.7, None)


def test_an_interrupted_run_says_how_to_go_on(invoke: Any, home: Path, engine: type[FakeEngine]) -> None:
    engine.ends_with(interrupted)
    result = invoke("train", "digits-mlp", "--json")
    assert result.exit_code == 130
    assert f"lambdafit runs resume {only_run(home).run_id}" in result.stderr
    found = last_line(result)
    assert (found["status"], found["reason"], found["rounds"]) == ("RUNNING", "interrupted", 1)


def test_quiet_hides_the_progress_only(invoke: Any, engine: type[FakeEngine]) -> None:
    result = invoke("-q", "train", "digits-mlp", "--workers", "16")
    assert result.stderr.startswith("Note: ")
    assert len(result.stderr.splitlines()) == 1
    assert "test accuracy" in result.stdout


def test_an_engine_that_breaks_off_leaves_a_run_to_go_on_with(
    invoke: Any, home: Path, engine: type[FakeEngine]
) -> None:
    def break_off(_run: Run) -> Run:
        raise StoreBusy("runs.db", "locked for 30 s")

    engine.ends_with(break_off)
    result = invoke("train", "digits-mlp", "--json")
    assert result.exit_code == 3
    assert "E307 StoreBusy: runs.db: locked for 30 s." in result.stderr
    run = only_run(home)
    assert f"lambdafit runs resume {run.run_id}" in result.stderr
    found = last_line(result)
    assert (found["run_id"], found["reason"], found["error"]["number"]) == (run.run_id, "interrupted", "E307")


def test_every_option_of_train_is_explained() -> None:
    from cli.train_command import train

    options = [one for one in train.params if isinstance(one, click.Option) and not one.hidden]
    assert all(one.help for one in options)
