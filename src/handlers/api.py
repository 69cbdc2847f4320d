"""The HTTP API (payload format 2.0), which lets in whom IAM lets: start, list, show and stop runs, and predict.

POST /runs                    a start event's fields; 201, or 200 where this very request has started it before
GET  /runs?limit=20
GET  /runs/{run_id}           as `lambdafit runs show --json`; `latest` names the newest, here and below
POST /runs/{run_id}/stop
POST /runs/{run_id}/predict   {"images_base64": ["…"]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types

from contracts.errors import (
    InvalidMessage,
    InvalidSetting,
    InvocationFailed,
    LambdafitError,
    ModelNotReady,
    RunExists,
    RunNotFound,
    TaskFailed,
)
from contracts.identifiers import check_run_id
from contracts.messages import NEWEST_RUN
from contracts.stack_errors import EventTooLarge
from handlers import wiring
from handlers.lambda_invoker import LambdaInvoker
from handlers.pictures import NAMED, PLAIN, read_pictures
from handlers.start_requests import begin
from runs import control
from runs.answers import answer, beginning, list_entry
from runs.summary import load, summarise
from stores.aws_clients import client

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
PREDICT_PATIENCE_S = 27.0
"""API Gateway waits 30 s for an answer."""

TRY_AGAIN_S = 20

STATUSES: Mapping[type[LambdafitError], int] = {
    RunNotFound: 404,
    RunExists: 409,
    ModelNotReady: 409,
    EventTooLarge: 413,
}

logger = Logger(service="start-run", child=True)
app = APIGatewayHttpResolver()


def is_request(event: Any) -> bool:
    """Whether an event is one of the HTTP API."""
    context = event.get("requestContext") if isinstance(event, Mapping) else None
    return isinstance(context, Mapping) and "http" in context


def respond(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """The API's response to a request."""
    return app.resolve(dict(event), context)  # type: ignore[arg-type]  # only its request id is used


@app.post("/runs")
def start_run() -> Response[str]:
    """Start a run."""
    request = _body()
    if request.pop("start", True) is not True:
        raise InvalidMessage("request", "start is not true", "true, or nothing")
    started, run = begin(request, app.lambda_context.aws_request_id)
    logger.info("started", extra={"run_id": run.run_id, "is_new": started["created"]})
    return _json(201 if started["created"] else 200, started)


@app.get("/runs")
def list_runs() -> Response[str]:
    """The newest runs."""
    text = app.current_event.query_string_parameters.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidSetting("limit", repr(text), f"1 to {MAX_LIMIT}")
    runs = wiring.services().store.list_runs(limit=int(text))
    return _json(200, {"runs": [list_entry(run) for run in runs]})


@app.get("/runs/<run_id>")
def show_run(run_id: str) -> Response[str]:
    """One run in full."""
    services = wiring.services()
    history = load(services.store, services.telemetry, _resolved(run_id))
    return _json(200, answer(summarise(history, services.clock.now())))


@app.post("/runs/<run_id>/stop")
def stop_run(run_id: str) -> Response[str]:
    """End a run; one that has ended stays as it is."""
    run = control.cancel(wiring.services(), _resolved(run_id), "stopped through the HTTP API")
    logger.info("stopped", extra={"run_id": run.run_id, "status": run.status})
    return _json(200, answer(beginning(run)))


@app.post("/runs/<run_id>/predict")
def predict(run_id: str) -> Response[str]:
    """What the run's model sees in pictures."""
    request = _body()
    read_pictures(request)
    pictures = {field: request[field] for field in (NAMED, PLAIN) if field in request}
    event = {"task": "predict", "run_id": _resolved(run_id), **pictures}
    try:
        return _json(200, _predict_function().call("predict", event))
    except InvocationFailed as error:
        advice = "Perhaps it is still loading TensorFlow, which takes up to a minute: ask again."
        raise InvocationFailed("function Predict", error.message.rstrip("."), advice=advice) from error


@app.exception_handler(LambdafitError)  # type: ignore[untyped-decorator]
def refused(error: LambdafitError) -> Response[str]:
    """A numbered error as a response."""
    status = STATUSES.get(type(error), 400 if error.number.startswith("E1") else 503 if error.retryable else 500)
    logger.warning(str(error), extra={"error": error.number, "status": status})
    headers = {"Retry-After": str(TRY_AGAIN_S)} if status == 503 else {}
    return _json(status, {"error": msgspec.to_builtins(error.record())}, headers)


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]
def failed(error: Exception) -> Response[str]:
    """Any other error: its text stays in the log."""
    logger.exception("request failed")
    return _json(500, {"error": msgspec.to_builtins(TaskFailed("request", type(error).__name__).record())})


@app.not_found
def no_route(_error: Exception) -> Response[str]:
    """A path that there is not."""
    request = app.current_event
    error = InvalidMessage("request", f"{request.http_method} {request.path}", "one of the API's routes", advice=ROUTES)
    return _json(404, {"error": msgspec.to_builtins(error.record())})


ROUTES = "There are POST /runs, GET /runs, GET /runs/{run_id}, POST /runs/{run_id}/stop and …/predict."


def _body() -> dict[str, Any]:
    try:
        body = app.current_event.json_body if app.current_event.body else {}
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("request", f"its body is no JSON ({error})", "a JSON object") from None
    if not isinstance(body, dict):
        raise InvalidMessage("request", "its body is no JSON object", "one")
    return body


def _resolved(run_id: str) -> str:
    if run_id != NEWEST_RUN:
        return check_run_id(run_id)
    newest = wiring.services().store.list_runs(limit=1)
    if not newest:
        raise RunNotFound("request", "there is no run yet")
    return newest[0].run_id


@cache
def _predict_function() -> LambdaInvoker:
    functions = {"predict": wiring.environment().predict_function}
    return LambdaInvoker(functions, client("lambda", read_timeout_s=PREDICT_PATIENCE_S, attempts=1))


def _json(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response[str]:
    return Response(
        status_code=status,
        content_type=content_types.APPLICATION_JSON,
        body=json.dumps(content, separators=(",", ":")),
        headers=dict(headers or {}),
    )
