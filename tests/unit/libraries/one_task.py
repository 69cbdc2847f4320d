"""A run until its first task of Train, done where TensorFlow is not installed; prints one line of JSON.

Run as a program, with a home in LAMBDAFIT_HOME and an archive in LAMBDAFIT_LIBRARIES.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from whole_run import Context, Queue

FACTS = {"train_examples": 100, "val_examples": 10, "test_examples": 10, "folder": "none"}


def main() -> dict[str, Any]:
    """Prepare without data, then hand the next event to Train."""
    from contracts.messages import parse_task
    from handlers import train, wiring
    from runs.describe_recipe import summarise_recipe
    from runs.execute import execute
    from runs.prepare import prepare
    from runs.reconcile import reconcile
    from runs.services import Services
    from runs.start import EngineLimits, complete_settings, start

    ports, queue = wiring.services(), Queue()
    services = Services(ports.store, ports.telemetry, ports.files, queue, ports.clock, ports.randomness)
    summary = summarise_recipe("digits-mlp", "digits-mlp", {})
    limits = EngineLimits(concurrency=1, cores=1, time_limit_s=300.0, memory_mb=3_008)
    run_id = start(services, complete_settings({"workers": 1}, summary, limits)).run_id
    reconcile(services, run_id)
    ((_, event),) = queue.events
    work = {"prepare": partial(prepare, prepare_data=lambda run: FACTS)}
    execute(parse_task(event), services, wiring.ContextDeadline(Context()), "prepared", work)
    queue.events.clear()
    reconcile(services, run_id)
    ((_, event),) = queue.events
    answer = train.handler(event, Context())
    task = services.store.load_task(run_id, parse_task(event).key)
    batches, _ = services.telemetry.read_spans(run_id)
    spans = [span.name for batch in batches if batch.key.kind == "initialise" for span in batch.spans]
    return {"answer": answer, "history": [one.outcome for one in task.history], "spans": spans}


if __name__ == "__main__":
    for name in ("tensorflow", "keras", "h5py", "sklearn", "scipy", "pooch", "click", "rich"):
        sys.modules[name] = None  # type: ignore[assignment]  # as on Lambda, whatever this environment has
    print(json.dumps(main()))
