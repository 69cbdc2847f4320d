"""A whole run in this one process, through the handlers: train, evaluate, export, predict, curves.

Run as a program by tests and benchmarks, with a home in LAMBDAFIT_HOME and TensorFlow wherever sys.path or
LAMBDAFIT_LIBRARIES has it; it prints one line of JSON.

    python whole_run.py RECIPE [key=value …]
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BEGAN_AT = time.time()


class Context:
    """The part of Lambda's context that handlers use."""

    aws_request_id = "00000000-0000-0000-0000-000000000001"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


class Queue:
    """Implements `contracts.ports.Invoker`: events wait until the loop below hands them to their handler."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.events.append((function, event))

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[None]:
        self.events += calls
        return [None] * len(calls)

    def warm_up(self, run_id: str, environments: int) -> None:
        pass


def main(recipe: str, options: Mapping[str, int]) -> dict[str, Any]:
    """Train `recipe` and use its model in every way that a worker or Predict does."""
    from contracts.messages import parse_task
    from handlers import combine, prepare, train, wiring
    from runs import recipes
    from runs.reconcile import EndedInvocation, reconcile
    from runs.services import Services
    from runs.start import EngineLimits, complete_settings, start

    handlers = {"train": train.handler, "combine": combine.handler, "prepare": prepare.handler}
    ports, queue = wiring.services(), Queue()
    services = Services(ports.store, ports.telemetry, ports.files, queue, ports.clock, ports.randomness)
    summary = recipes.describe(recipe, {})
    recipes.keep(services.files, recipe, summary)
    limits = EngineLimits(concurrency=1, cores=1, time_limit_s=300.0, memory_mb=3_008)
    run_id = start(services, complete_settings(options, summary, limits)).run_id
    ended: list[EndedInvocation] = []
    while not (run := reconcile(services, run_id, ended)[0]).ended:
        assert queue.events, f"nothing goes on at {run.stage}"
        (function, event), *queue.events = queue.events
        handlers[function](event, Context())
        ended = [EndedInvocation(parse_task(event), Context.aws_request_id, None)]
    assert run.status == "FINISHED", run.error
    return {"run_id": run_id, "results": run.results, "fingerprint": run.fingerprint} | use(run_id, services)


def use(run_id: str, services: Any) -> dict[str, Any]:
    """Predict, evaluate, export twice, write curves; open the exported model as a user does."""
    from PIL import Image

    from handlers import predict

    run = services.store.load_run(run_id)
    folder = Path(os.environ["LAMBDAFIT_HOME"])
    picture = folder / "picture.png"
    Image.fromarray(np.zeros(run.data_facts["x_shape"], np.uint8)).save(picture)
    answers = {}
    for event in (
        {"task": "predict", "images": [str(picture)]},
        {"task": "evaluate"},
        {"task": "export", "format": "keras", "name": "model.keras"},
        {"task": "export", "format": "safetensors", "name": "model.safetensors"},
        {"task": "curves", "name": "curves"},
    ):
        answers[event.get("format") or event["task"]] = predict.handler(event | {"run_id": run_id}, Context())
    import keras

    model = keras.models.load_model(services.files.local_path(answers["keras"]["path"]))
    x = np.zeros((1, *run.data_facts["x_shape"]), "float32")
    answers["outputs_of_loaded"] = np.asarray(model.predict(x, verbose=0)).tolist()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, np.zeros((1,)), epochs=1, verbose=0)
    model.summary(print_fn=lambda line: None)
    import tensorflow

    answers["tensorflow_at"] = str(Path(tensorflow.__file__).parent)
    return answers


if __name__ == "__main__":
    pairs = (text.partition("=") for text in sys.argv[2:])
    print(json.dumps(main(sys.argv[1], {name: int(value) for name, _, value in pairs})))
