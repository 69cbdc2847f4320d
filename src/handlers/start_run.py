"""Lambda function StartRun: starts runs, and answers the HTTP API. No TensorFlow.

    {"start": true, "workers": 5}
    {"start": true, "run_id": "r-…", "recipe": "digits-mlp", "overrides": {"learning_rate": "0.1"}, "epochs": 3}

It writes the run; the table's stream has it begun. An error is an answer, too: `{"error": {…}}`, as ErrorRecord.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aws_lambda_powertools import Logger

from contracts.errors import InvalidMessage, LambdafitError
from contracts.messages import is_start
from handlers import api, wiring
from handlers.start_requests import begin

logger = Logger(service="start-run")


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Start a run, or do what the HTTP API asks."""
    if api.is_request(event):
        return api.respond(event, context)
    try:
        if not isinstance(event, Mapping) or not is_start(event):
            raise InvalidMessage("event", "it does not ask for a start", '{"start": true, …}')
        answer, run = begin(event, context.aws_request_id)
    except LambdafitError as error:
        logger.warning(str(error), extra={"error": error.number})
        return {"error": msgspec.to_builtins(error.record())}
    logger.info("started", extra={"run_id": run.run_id, "is_new": answer["created"]})
    return answer
