"""Gets an environment of Train ready before its first task: `{"warm_up": true, "run_id": "r-…"}`.

While a run's data are prepared and its model is initialised, its other environments load TensorFlow, build the model
and, once the data are there, trace the training step. Nothing is claimed and nothing is written: what fails here fails
again in the first task, which reports it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from contracts.identifiers import check_run_id
from handlers import wiring
from handlers.warm_trainer import WarmTrainer

logger = logging.getLogger(__name__)


def warm_up(event: Mapping[str, Any], trainer: WarmTrainer, init: wiring.Init) -> dict[str, Any]:
    """Load what the run needs.

    Args:
        init: is told where the time went, and what was read; the next task's record takes it over.
    Returns:
        what happened, for the log: nobody acts on it.
    Raises:
        InvalidRunId: the event names no run.
    """
    run_id = check_run_id(event.get("run_id", ""))
    answer = {"warm_up": True, "run_id": run_id}
    try:
        ready = trainer.get(init.span)
        run = wiring.services().store.load_run(run_id)
        if run.ended:
            return answer | {"outcome": "left", "why": f"the run is {run.status}"}
        with init.span("build"), init.metering(run_id):
            ready.warm_up(run)
    except Exception as error:  # noqa: BLE001 - see above
        logger.warning("not ready for run %s: %s", run_id, error)
        return answer | {"outcome": "left", "why": str(error)}
    return answer | {"outcome": "done"}
