"""Lambda function Predict: uses a run's model, whether the run goes on or has ended. No task of a run, no claim.

{"task": "predict", "run_id": "r-7f…", "images": ["/path/of/picture.png"]}
{"task": "evaluate", "run_id": "r-7f…"}
{"task": "export", "run_id": "r-7f…", "format": "keras", "name": "0a1b.keras"}
{"task": "curves", "run_id": "r-7f…", "name": "0a1b"}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import InvalidMessage, RunNotFound
from contracts.identifiers import check_run_id
from contracts.messages import NEWEST_RUN
from handlers import wiring
from runs import paths
from runs.curves import write_curves
from runs.keras_trainer import KerasTrainer
from runs.predict import evaluate, export, predict

TRAINER = KerasTrainer(wiring.services().files, threads=wiring.environment().threads)
TASKS = ("predict", "evaluate", "export", "curves")
FORMATS = ("keras", "safetensors")


def handler(event: Mapping[str, Any], _context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one of the four."""
    services = wiring.services()
    run_id = _run_id(event)
    match event.get("task", "predict"):
        case "predict":
            return predict(services, run_id, _texts(event, "images"))
        case "evaluate":
            return evaluate(services, TRAINER, run_id)
        case "export":
            return export(services, TRAINER, run_id, _choice(event, "format", FORMATS), _text(event, "name"))
        case "curves":
            path = paths.export_path(run_id, _text(event, "name"))
            rounds, steps = services.store.load_rounds(run_id), services.telemetry.read_steps(run_id)[0]
            points = write_curves(Path(services.files.local_path(path)), rounds, steps)
            return {"run_id": run_id, "path": path, "points": points}
        case other:
            raise InvalidMessage("event", f"task is {other!r}", f"one of {', '.join(TASKS)}")


def _run_id(event: Mapping[str, Any]) -> str:
    name = event.get("run_id", NEWEST_RUN)
    if name != NEWEST_RUN:
        return check_run_id(_text(event, "run_id"))
    newest = wiring.services().store.list_runs(limit=1)
    if not newest:
        raise RunNotFound("event", "it names no run, and there is none yet", "a run_id, or one run")
    return newest[0].run_id


def _text(event: Mapping[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not value:
        raise InvalidMessage("event", f"{field} is {value!r}", "a text")
    return value


def _texts(event: Mapping[str, Any], field: str) -> list[str]:
    value = event.get(field)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise InvalidMessage("event", f"{field} is {value!r}", "a list of texts")
    return value


def _choice(event: Mapping[str, Any], field: str, choices: tuple[str, ...]) -> str:
    value = _text(event, field)
    if value not in choices:
        raise InvalidMessage("event", f"{field} is {value!r}", f"one of {', '.join(choices)}")
    return value
