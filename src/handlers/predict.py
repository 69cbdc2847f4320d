"""Lambda function Predict: uses a run's model, whether the run goes on or has ended. No task of a run, no claim.

{"task": "predict", "run_id": "r-7f…", "images": ["/path/of/picture.png"]}, or pictures as `handlers.pictures` has them
{"task": "evaluate", "run_id": "r-7f…"}
{"task": "export", "run_id": "r-7f…", "format": "keras", "name": "0a1b.keras"}
{"task": "curves", "run_id": "r-7f…", "name": "0a1b"}
{"task": "remove", "run_id": "r-7f…"}

What `export` and `curves` make lies on the shared files; with a bucket in that, the curves as one .zip.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from contracts.errors import InvalidImage, InvalidMessage, LambdafitError, RunNotFound
from contracts.identifiers import check_run_id
from contracts.messages import NEWEST_RUN, is_probe
from contracts.records import Run
from contracts.stack_errors import RunAtWork
from handlers import wiring
from handlers.exports import curves_to_bucket, moved_to_bucket
from handlers.pictures import Picture, has_pictures, read_pictures
from handlers.probe import answer_probe
from handlers.warm_trainer import WarmTrainer, places
from libraries.load import current_digest
from runs import paths
from runs.curves import write_curves
from runs.predict import evaluate, export, predict
from runs.services import Services
from runs.unused_features import MOST_RUNS, remove_unused

logger = logging.getLogger(__name__)

TRAINER = WarmTrainer()
TASKS = ("predict", "evaluate", "export", "curves", "remove")
FORMATS = ("keras", "safetensors")


def handler(event: Mapping[str, Any], _context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one of the five, or answer a probe."""
    if is_probe(event):
        return answer_probe("predict", current_digest(places()))
    services = wiring.services()
    run_id = _run_id(event)
    match event.get("task", "predict"):
        case "predict" if has_pictures(event):
            return _predict_sent(services, run_id, read_pictures(event))
        case "predict":
            images = _texts(event, "images")
            TRAINER.get()  # TensorFlow is there from here on
            return predict(services, run_id, images)
        case "evaluate":
            return evaluate(services, TRAINER.get(), run_id)
        case "export":
            name = _text(event, "name")
            answer = export(services, TRAINER.get(), run_id, _choice(event, "format", FORMATS), name)
            return moved_to_bucket(answer, name, services.files, wiring.objects()) if _has_bucket() else answer
        case "curves":
            return _curves(services, run_id, _text(event, "name"))
        case "remove":
            return _remove(services, check_run_id(_text(event, "run_id")))
        case other:
            raise InvalidMessage("event", f"task is {other!r}", f"one of {', '.join(TASKS)}")


def _has_bucket() -> bool:
    return bool(wiring.environment().bucket)


def _predict_sent(services: Services, run_id: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Predictions for pictures that came with the event, by the names that they came with."""
    TRAINER.get()
    with tempfile.TemporaryDirectory(prefix="lambdafit-") as folder:
        images = [Path(folder) / str(index) for index in range(len(pictures))]
        for image, picture in zip(images, pictures, strict=True):
            image.write_bytes(picture.content)
        try:
            answer = predict(services, run_id, list(map(str, images)))
        except InvalidImage as error:
            raise _named(error, images, pictures) from error
    named = zip(answer["predictions"], pictures, strict=True)
    return answer | {"predictions": [found | {"image": picture.name} for found, picture in named]}


def _named(error: InvalidImage, images: Sequence[Path], pictures: Sequence[Picture]) -> InvalidImage:
    """The error with the sender's name of the picture in place of ours."""
    for image, picture in zip(images, pictures, strict=True):
        where, found, rest = error.message.partition(f"{image}: ")
        if found and not where:
            return InvalidImage(picture.name, rest.rstrip("."))
    return error


def _curves(services: Services, run_id: str, name: str) -> dict[str, Any]:
    TRAINER.get()
    rounds, steps = services.store.load_rounds(run_id), services.telemetry.read_steps(run_id)[0]
    if _has_bucket():
        return curves_to_bucket(run_id, name, rounds, steps, wiring.objects())
    path = paths.export_path(run_id, name)
    points = write_curves(Path(services.files.local_path(path)), rounds, steps)
    return {"run_id": run_id, "path": path, "points": points}


def _remove(services: Services, run_id: str) -> dict[str, Any]:
    """Remove a run's files; its items in the store are removed by whoever asks.

    Features that no other run names go with it.

    Returns:
        run_id; as `removed` whether there were any files; as `features` the folders of features that went.
    Raises:
        RunAtWork: it has not ended.
    """
    with suppress(RunNotFound):
        run = services.store.load_run(run_id)
        if not run.ended:
            raise RunAtWork(f"run {run_id}", f"it is {run.status}", "one that has ended")
    folder = paths.run_folder(run_id)
    there = services.files.exists(folder)
    services.files.remove(folder)
    try:
        unused = remove_unused(services.files, lambda: _others(services, run_id))
    except LambdafitError as error:
        logger.warning("features stay: %s", error)  # the run is removed all the same
        unused = []
    return {"run_id": run_id, "removed": there, "features": unused}


def _others(services: Services, run_id: str) -> list[Run]:
    return [run for run in services.store.list_runs(limit=MOST_RUNS + 1) if run.run_id != run_id]


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
