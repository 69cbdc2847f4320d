"""Which function gets which sample event on which home, and what a right answer is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sam_local.sample_homes import ROUND, RUN_ID, WORKERS

Answer = Mapping[str, Any]
Calls = list[dict[str, Any]]


class WrongAnswer(AssertionError):
    """A function answered, but not as it should."""


def expect(holds: bool, what: str) -> None:
    """Refuse an answer.

    Raises:
        WrongAnswer: `holds` is false.
    """
    if not holds:
        raise WrongAnswer(what)


def _done(task: str) -> Callable[[Answer, Calls], str]:
    def check(answer: Answer, _calls: Calls) -> str:
        expect(answer.get("outcome") == "done", "the task is not done")
        expect(answer.get("run_id") == RUN_ID, "another run")
        return f"{task} done, attempt {answer['attempt']}"

    return check


def _started(answer: Answer, _calls: Calls) -> str:
    expect(answer.get("status") in ("PENDING", "RUNNING"), "no run was started")
    expect(answer.get("created") is True, "the run was there already")
    return f"{answer['run_id']} is {answer['status']}"


def _started_by_api(answer: Answer, calls: Calls) -> str:
    expect(200 <= answer.get("statusCode", 0) < 300, "the API refused it")
    return f"{answer['statusCode']}: {_started(json.loads(answer['body']), calls)}"


def _combines_invoked(answer: Answer, calls: Calls) -> str:
    sent = [call["event"] for call in calls if call["service"] == "lambda" and "combine" in call["function"].lower()]
    slices = sorted(event["sliceno"] for event in sent)
    expect(slices == [0, 1], f"Combine was invoked for the slices {slices}, not 0 and 1")
    expect(all(event["run_id"] == RUN_ID and event["round_index"] == ROUND for event in sent), "another round")
    return "Combine invoked for both slices"


def _conducted(answer: Answer, calls: Calls) -> str:
    expect(answer == {"batchItemFailures": []}, "records failed")
    return _combines_invoked(answer, calls)


def _swept(answer: Answer, calls: Calls) -> str:
    expect(answer.get("runs") == 1, "not one open run")
    return _combines_invoked(answer, calls)


def _monitored(answer: Answer, _calls: Calls) -> str:
    expect(answer == {"batchItemFailures": []}, "records failed")
    return "no record failed"


def _prepared(answer: Answer, calls: Calls) -> str:
    said = _done("prepare")(answer, calls)
    fetched = sum(call["bytes"] for call in calls if call.get("get", "").endswith(".npy"))
    expect(fetched > 100_000, f"{fetched} bytes of arrays came from the bucket")
    return f"{said}, {fetched:,} bytes from S3"


def _installed(answer: Answer, calls: Calls) -> str:
    fetched = sum(call["bytes"] for call in calls if call.get("get", "").endswith(".tar.zst"))
    expect("error" not in answer, "not installed")
    expect(fetched > 50_000_000, f"{fetched} bytes of the archive came from the bucket")
    return f"{fetched / 1e6:.0f} MB from S3 unpacked"


def _predicted(answer: Answer, _calls: Calls) -> str:
    expect(answer.get("run_id") == RUN_ID, "another run")
    found = answer.get("predictions", [])
    expect(bool(found), "no predictions")
    return f"{len(found)} predictions"


def _probed(answer: Answer, _calls: Calls) -> str:
    expect(answer.get("probe") is True and answer.get("shared_writable") is True, "the probe found fault")
    return f"libraries {str(answer['libraries'])[:12]}"


def _warmed_up(answer: Answer, _calls: Calls) -> str:
    expect(answer.get("warm_up") is True and answer.get("outcome") == "done", "it did not get ready")
    return "libraries loaded, model built"


@dataclass(frozen=True)
class Case:
    """One invocation.

    Args:
        home: a moment of `sample_homes.MOMENTS`; empty for an empty home.
        check: raises `WrongAnswer`, or says in a few words what was right.
    """

    function: str
    event: str
    home: str
    check: Callable[[Answer, Calls], str]


CASES = (
    Case("StartRun", "start.json", "", _started),
    Case("StartRun", "api-start.json", "", _started_by_api),
    Case("Conduct", "conduct.json", "trained", _conducted),
    Case("Conduct", "conduct-failed.json", "trained", _conducted),
    Case("Sweep", "sweep.json", "trained", _swept),
    Case("Monitor", "monitor.json", "committed", _monitored),
    Case("Prepare", "prepare.json", "preparing", _prepared),
    Case("Train", "extract.json", "extracting", _done(f"features of worker 2 of {WORKERS},")),
    Case("Train", "initialise.json", "initialising", _done("initialise")),
    Case("Train", "train.json", "training", _done(f"worker 3 of {WORKERS}, bare event,")),
    Case("Train", "train-full.json", "training", _done(f"worker 3 of {WORKERS},")),
    Case("Combine", "combine.json", "combining", _done("slice 0, bare event,")),
    Case("Combine", "combine-full.json", "combining-again", _done("slice 1, generation 2,")),
    Case("InstallLibraries", "install-libraries.json", "", _installed),
    Case("Predict", "predict.json", "committed", _predicted),
    Case("Train", "warm-up.json", "initialising", _warmed_up),
    Case("Train", "probe.json", "committed", _probed),
    Case("Prepare", "probe.json", "committed", _probed),
)
