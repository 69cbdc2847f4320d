"""What the dashboard does, it does by `lambdafit` commands: never through a shell, never past --read-only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from contracts.errors import InvalidSetting
from dashboard.actions.commands import PROGRAM, Commands, outcome_of
from dashboard.actions.new_run import DEMO, NewRun
from dashboard.actions.processes import Finished, run_process
from dashboard.options import Options

RUN = "r-7f3a9c01d2"
LOCAL = Options(home="/homes/mine")
STACK = Options(engine="aws", stack_name="trainer", region="eu-west-1", profile="work")


class FakeRunner:
    """Notes what it is to run, and answers as told."""

    def __init__(self, output: str = "", errors: str = "", code: int = 0, *, hung: bool = False) -> None:
        self.finished = Finished(code, output, errors, hung)
        self.calls: list[tuple[str, ...]] = []
        self.environments: list[Mapping[str, str]] = []

    def __call__(self, arguments: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Finished:
        assert limit_s > 0
        assert tuple(arguments[: len(PROGRAM)]) == PROGRAM
        self.calls.append(tuple(arguments[len(PROGRAM) :]))
        self.environments.append(environment)
        return self.finished


def test_a_command_line_has_only_what_differs_from_the_defaults() -> None:
    new_run = NewRun(recipe="digits-mlp", workers=8, sync="gradients", max_cost_usd=0.5, overrides=(("units", "32"),))
    assert Commands(Options(), FakeRunner()).command_line(new_run) == (
        "lambdafit train digits-mlp --workers 8 --sync gradients --max-cost-usd 0.5 --set units=32"
        " --engine local --detach"
    )


def test_a_command_line_names_the_home_and_the_stack_where_they_are_not_the_usual_ones() -> None:
    assert Commands(Options(home="/my homes/a"), FakeRunner()).command_line(DEMO) == (
        "LAMBDAFIT_HOME='/my homes/a' lambdafit train digits-mlp --workers 4 --engine local --detach"
    )
    assert Commands(STACK, FakeRunner()).command_line(DEMO) == (
        "lambdafit train digits-mlp --workers 4 --engine aws --stack-name trainer --region eu-west-1 --profile work"
        " --detach"
    )


def test_what_is_shown_is_what_is_run() -> None:
    runner = FakeRunner(json.dumps({"run_id": RUN, "status": "RUNNING", "error": None}))
    commands = Commands(STACK, runner)
    outcome = commands.start(DEMO)
    assert outcome.shown == commands.command_line(DEMO)
    assert runner.calls == [(*outcome.shown.split()[1:], "--json")]
    assert (outcome.code, outcome.error, outcome.run_id) == (0, "", RUN)


def test_every_command_works_in_the_place_of_the_dashboard(tmp_path: Path) -> None:
    picture = tmp_path / "-shoe.png"
    picture.write_bytes(b"")
    runner = FakeRunner("{}")
    commands = Commands(LOCAL, runner, {"PATH": "/bin", "PYTHONPATH": "mine"})
    commands.stop(RUN)
    commands.resume(RUN, max_cost_usd=2.0)
    commands.remove(RUN)
    commands.predict(RUN, picture)
    commands.dry_run(DEMO)
    commands.doctor()
    place = ("--engine", "local")
    assert runner.calls == [
        ("runs", "stop", RUN, *place),
        ("runs", "resume", RUN, "--max-cost-usd", "2", "--detach", *place, "--json"),
        ("runs", "rm", RUN, "--yes", *place),
        ("predict", RUN, str(picture), *place, "--json"),
        ("train", "digits-mlp", "--workers", "4", *place, "--dry-run", "--json"),
        ("doctor", *place, "--json"),
    ]
    for environment in runner.environments:
        assert environment["LAMBDAFIT_HOME"] == "/homes/mine"
        assert environment["PATH"] == "/bin"
        assert environment["PYTHONPATH"].split(os.pathsep)[1:] == ["mine"]


@pytest.mark.parametrize("run_id", ["latest", "../x", "--all-finished", "r-7f; rm -rf /", ""])
def test_a_run_is_named_by_its_whole_id_alone(run_id: str) -> None:
    runner = FakeRunner()
    commands = Commands(LOCAL, runner)
    outcomes = [
        commands.stop(run_id),
        commands.resume(run_id),
        commands.remove(run_id),
        commands.predict(run_id, Path("x")),
    ]
    assert {outcome.number for outcome in outcomes} == {"E108"}
    assert runner.calls == []


@pytest.mark.parametrize("recipe", ["", "  ", "--help", "a\0b"])
def test_a_recipe_that_is_none_is_refused_before_anything_runs(recipe: str) -> None:
    runner = FakeRunner()
    commands = Commands(LOCAL, runner)
    assert commands.start(NewRun(recipe=recipe)).number == "E102"
    assert commands.dry_run(NewRun(recipe=recipe)).number == "E102"
    with pytest.raises(InvalidSetting):
        commands.command_line(NewRun(recipe=recipe))
    assert runner.calls == []


def test_an_image_that_is_not_there_is_refused(tmp_path: Path) -> None:
    runner = FakeRunner()
    assert Commands(LOCAL, runner).predict(RUN, tmp_path / "none.png").number == "E107"
    assert runner.calls == []


def test_read_only_writes_nothing_and_still_looks() -> None:
    runner = FakeRunner("{}")
    commands = Commands(Options(read_only=True), runner)
    refused = [commands.start(DEMO), commands.stop(RUN), commands.resume(RUN), commands.remove(RUN)]
    assert {outcome.number for outcome in refused} == {"E111"}
    assert all(outcome.code for outcome in refused)
    assert runner.calls == []
    assert commands.dry_run(DEMO).error == ""
    assert len(runner.calls) == 1


def test_a_command_that_hangs_is_a_numbered_error() -> None:
    outcome = Commands(LOCAL, FakeRunner(hung=True, code=-9)).doctor()
    assert outcome.number == "E112"
    assert "180 s" in outcome.error


def test_errors_are_read_from_json_from_text_and_from_whatever_there_is() -> None:
    record = {"number": "E103", "name": "TooManyWorkers", "message": "--workers: 9", "advice": "Use fewer."}
    told = outcome_of(Finished(3, json.dumps({"run_id": None, "error": record}), "E103 …"), "x")
    assert told.error == "E103 TooManyWorkers: --workers: 9\nUse fewer."
    assert told.number == "E103"
    text = outcome_of(Finished(3, "", "Note: slow\nE304 RunNotFound: run r-zz: none.\nLook at the list.\n"), "x")
    assert text.error == "E304 RunNotFound: run r-zz: none.\nLook at the list."
    usage = outcome_of(Finished(2, "", "Usage: …\n\nError: No such option: --x\n"), "x")
    assert usage.error == "The command ended with code 2: No such option: --x"
    assert usage.number == ""
    assert outcome_of(Finished(-9, "", ""), "x").error == "The command ended with code -9: it said nothing"


def test_what_is_printed_beside_the_answer_is_kept() -> None:
    outcome = outcome_of(Finished(0, 'starting\n{"run_id": "r-1234"}\n', "Note: x"), "x")
    assert (outcome.text, outcome.run_id, outcome.error) == ("starting", "r-1234", "")
    stopped = outcome_of(Finished(0, f"{RUN} is stopped.\n", ""), "x")
    assert (stopped.text, stopped.answer, stopped.run_id) == (f"{RUN} is stopped.", None, "")


def test_a_check_that_fails_is_no_error_of_the_doctor() -> None:
    answer = {"ok": False, "checks": [{"name": "disk", "state": "bad", "found": "full", "fix": "Free some."}]}
    outcome = outcome_of(Finished(3, json.dumps(answer), ""), "x")
    assert outcome.error == ""
    assert outcome.answer == answer


def test_a_process_that_hangs_is_ended() -> None:
    program = [sys.executable, "-c", "import signal; signal.pause()"]
    finished = run_process(program, os.environ, 1.0)
    assert finished.hung
    assert finished.code != 0


def test_a_process_left_in_the_background_keeps_nobody_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = f"open({str(pipe)!r}).read()"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); print('left')"
    finished = run_process([sys.executable, "-c", program], os.environ, 60.0)
    pipe.open("w").close()  # lets the one in the background go
    assert finished == Finished(0, "left\n", "")


@pytest.fixture
def real(tmp_path: Path) -> Commands:
    environment = {name: value for name, value in os.environ.items() if name != "LAMBDAFIT_STACK"}
    return Commands(Options(home=str(tmp_path / "home")), environment=environment)


def test_real_recipes(real: Commands) -> None:
    outcome = real.recipes()
    assert outcome.error == ""
    assert outcome.answer is not None
    assert outcome.answer["recipes"][0]["name"] == "digits-mlp"


def test_real_estimate_of_the_demo(real: Commands, tmp_path: Path) -> None:
    outcome = real.dry_run(DEMO)
    assert outcome.error == ""
    assert outcome.answer is not None
    assert outcome.answer["workers"] == 4
    assert outcome.answer["total_usd"] > 0
    assert not (tmp_path / "home").exists()


def test_real_errors(real: Commands) -> None:
    assert real.dry_run(NewRun(recipe="digits-mlp", workers=4000)).number == "E103"
    assert real.start(NewRun(recipe="no-such-recipe")).number == "E101"
    assert real.stop(RUN).number == "E304"
    assert real.remove(RUN).number == "E304"
