"""What the dashboard does to runs: `lambdafit` commands, so that a page checks, fails and acts as the terminal does."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import contracts.errors
from contracts.errors import EXIT_CONFIGURATION, CommandHung, InvalidImage, LambdafitError, ReadOnly
from contracts.identifiers import check_run_id
from dashboard.actions.new_run import NewRun, plain, train_arguments
from dashboard.actions.processes import Finished, Runner, run_process
from dashboard.options import DEFAULT_HOME, HOME_VARIABLE, Options

SOURCE_FOLDER = Path(contracts.errors.__file__).parents[1]
PROGRAM = (sys.executable, "-P", "-m", "cli.main")
NUMBERED = re.compile(r"^E\d{3} \w+: ", re.MULTILINE)
QUICK_LIMIT_S = 60.0
ESTIMATE_LIMIT_S = 180.0
START_LIMIT_S = 900.0
"""Starting may wake a stack's functions, and bring a data set there."""


class Outcome(NamedTuple):
    """How a command ended.

    Args:
        code: its exit code; 0 is well.
        answer: the JSON object that it printed, if any.
        error: what went wrong and what to do, with the error's number; empty if nothing did.
        shown: the command line, as one would type it.
        text: what it printed besides.
    """

    code: int
    answer: dict[str, Any] | None
    error: str
    shown: str
    text: str = ""

    @property
    def run_id(self) -> str:
        """Of the run that was started or resumed; empty if none was."""
        return str((self.answer or {}).get("run_id") or "")

    @property
    def number(self) -> str:
        """Of the error, such as E102; empty without one, or if nobody foresaw it."""
        return self.error[:4] if NUMBERED.match(self.error) else ""


class Commands:
    """The commands for one place.

    Each one waits until its process has ended, and never raises for what the user did: see `Outcome.error`.

    Args:
        options: which place, and whether it may be written to.
        runner: how a process is run.
        environment: for the processes; this one's if not given.
    """

    def __init__(
        self, options: Options, runner: Runner = run_process, environment: Mapping[str, str] | None = None
    ) -> None:
        self._options = options
        self._runner = runner
        self._environment = dict(os.environ if environment is None else environment)

    def command_line(self, new_run: NewRun) -> str:
        """What `start` would run, to be copied.

        Raises:
            InvalidSetting: see `train_arguments`.
        """
        return self._shown((*train_arguments(new_run), *self._options.place_arguments, "--detach"))

    def start(self, new_run: NewRun) -> Outcome:
        """Start a run in the background; its id is in the answer."""
        return self._train(new_run, "--detach", START_LIMIT_S, writes=True)

    def dry_run(self, new_run: NewRun) -> Outcome:
        """Check everything and estimate time and cost; the answer is a `runs.estimate.Estimate` as JSON."""
        return self._train(new_run, "--dry-run", ESTIMATE_LIMIT_S, writes=False)

    def stop(self, run_id: str) -> Outcome:
        """Stop a run, whoever trains it. Its last checkpoint stays."""
        return self._on_run(run_id, ("runs", "stop"), (), QUICK_LIMIT_S)

    def resume(self, run_id: str, *, max_cost_usd: float | None = None) -> Outcome:
        """Let a run go on from its checkpoint, in the background.

        Args:
            max_cost_usd: another budget, what is spent included.
        """
        budget = () if max_cost_usd is None else ("--max-cost-usd", plain(max_cost_usd))
        return self._on_run(run_id, ("runs", "resume"), (*budget, "--detach"), START_LIMIT_S, as_json=True)

    def remove(self, run_id: str) -> Outcome:
        """Remove a run with its files, logs and records, for good."""
        return self._on_run(run_id, ("runs", "rm"), ("--yes",), QUICK_LIMIT_S)

    def predict(self, run_id: str, path: Path) -> Outcome:
        """What the run's model sees in a picture on this machine."""
        try:
            check_run_id(run_id)
            if not path.is_file():
                raise InvalidImage(f"image {path}", "there is no such file")
        except LambdafitError as error:
            return _refused(error, f"lambdafit predict {run_id} {path.name}")
        arguments = ("predict", run_id, str(path.absolute()), *self._options.place_arguments)
        return self._run(arguments, ESTIMATE_LIMIT_S, as_json=True)

    def recipes(self) -> Outcome:
        """The built-in recipes with their defaults and settings."""
        return self._run(("recipes",), QUICK_LIMIT_S, as_json=True)

    def doctor(self) -> Outcome:
        """What could keep a run from working. A check that fails is no error: the answer holds it."""
        return self._run(("doctor", *self._options.place_arguments), ESTIMATE_LIMIT_S, as_json=True)

    def _train(self, new_run: NewRun, how: str, limit_s: float, *, writes: bool) -> Outcome:
        try:
            arguments = (*train_arguments(new_run), *self._options.place_arguments, how)
        except LambdafitError as error:
            return _refused(error, "lambdafit train")
        return self._writing(arguments, limit_s) if writes else self._run(arguments, limit_s, as_json=True)

    def _on_run(
        self, run_id: str, command: Sequence[str], more: Sequence[str], limit_s: float, *, as_json: bool = False
    ) -> Outcome:
        try:
            check_run_id(run_id)
        except LambdafitError as error:
            return _refused(error, shlex.join(("lambdafit", *command, run_id)))
        return self._writing((*command, run_id, *more, *self._options.place_arguments), limit_s, as_json=as_json)

    def _writing(self, arguments: Sequence[str], limit_s: float, *, as_json: bool = True) -> Outcome:
        if self._options.read_only:
            shown = self._shown(arguments)
            return _refused(ReadOnly("this dashboard", "only shows runs, and starts, stops and removes none"), shown)
        return self._run(arguments, limit_s, as_json=as_json)

    def _run(self, arguments: Sequence[str], limit_s: float, *, as_json: bool) -> Outcome:
        talk = ("--json",) if as_json else ()
        done = self._runner((*PROGRAM, *arguments, *talk), self._process_environment(), limit_s)
        shown = self._shown(arguments)
        if done.hung:
            return _refused(CommandHung(shown, f"no answer after {limit_s:g} s"), shown)
        return outcome_of(done, shown)

    def _process_environment(self) -> dict[str, str]:
        path = os.pathsep.join(part for part in (str(SOURCE_FOLDER), self._environment.get("PYTHONPATH", "")) if part)
        more = {HOME_VARIABLE: self._options.home, "PYTHONPATH": path, "NO_COLOR": "1"}
        return self._environment | more

    def _shown(self, arguments: Sequence[str]) -> str:
        """As typed in a terminal: with the home where it is not the one that everybody has."""
        is_usual = self._options.is_cloud or self._options.home == DEFAULT_HOME
        home = "" if is_usual else f"{HOME_VARIABLE}={shlex.quote(self._options.home)} "
        return home + shlex.join(("lambdafit", *arguments))


def outcome_of(done: Finished, shown: str) -> Outcome:
    """What an ended process said: the JSON object in its last line, or the numbered error on its standard error."""
    answer, text = _last_object(done.output)
    error = ""
    if answer is not None and answer.get("error"):
        told = answer["error"]
        error = f"{told['number']} {told['name']}: {told['message']}\n{told['advice']}"
    elif done.code and not (answer is not None and "checks" in answer):
        error = _told(done)
    return Outcome(done.code, answer, error, shown, text)


def _last_object(output: str) -> tuple[dict[str, Any] | None, str]:
    """The JSON object in the last line, if there is one, and the lines before it."""
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        return None, "\n".join(lines)
    return found, "\n".join(lines[:-1])


def _told(done: Finished) -> str:
    """The error as the command printed it; where nobody foresaw it, its last line."""
    numbered = list(NUMBERED.finditer(done.errors))
    if numbered:
        return done.errors[numbered[-1].start() :].strip()
    lines = [line.strip() for line in done.errors.splitlines() if line.strip()]
    usage = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    said = (usage or lines or ["it said nothing"])[-1]
    return f"The command ended with code {done.code}: {said}"


def _refused(error: LambdafitError, shown: str) -> Outcome:
    return Outcome(EXIT_CONFIGURATION, None, str(error.record()), shown)
