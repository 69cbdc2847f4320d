"""A runtime client in plain Python, for systems that awslambdaric has no build for.

Speaks the Runtime API as AWS documents it: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Handlers
see the same as under awslambdaric; one contract test runs both.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from email.message import Message
from typing import Any

VERSION = "2018-06-01"


class Context:
    """What a handler may ask about its invocation; named as in Lambda's own context object."""

    client_context = None
    identity = None
    tenant_id = None

    def __init__(self, headers: Message) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""
        return max(0, self._deadline_ms - int(time.time() * 1000))


class Client:
    """One kept-alive connection to the Runtime API.

    Args:
        address: `host:port`, and what goes before all paths.
    """

    def __init__(self, address: str) -> None:
        host, _, prefix = address.partition("/")
        self._base = f"/{prefix}/{VERSION}/" if prefix else f"/{VERSION}/"
        self._connection = http.client.HTTPConnection(host)

    def next(self) -> tuple[Message, bytes]:
        """Wait for the next invocation: its headers and its event."""
        return self._exchange("GET", "runtime/invocation/next", None)

    def post(self, path: str, body: bytes) -> None:
        """Report something.

        Raises:
            RuntimeError: it was refused.
        """
        self._exchange("POST", path, body)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[Message, bytes]:
        self._connection.request(method, self._base + path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        data = response.read()
        if response.status >= 300:
            raise RuntimeError(f"the Runtime API refused {path}: {response.status} {data[:200]!r}")
        return response.headers, data


def prepare_logging() -> None:
    """Send `logging` to the log, in Lambda's form."""
    logging.basicConfig(stream=sys.stdout, format="[%(levelname)s]\t%(asctime)s\t%(message)s")


def serve(address: str, handler: Callable[[Any, Any], Any]) -> None:
    """Serve invocations, one after the other, without end."""
    client = Client(address)
    while True:
        headers, event = client.next()
        context = Context(headers)
        os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"] or ""
        kind, body = run(handler, event, context)
        client.post(f"runtime/invocation/{context.aws_request_id}/{kind}", body)


def run(handler: Callable[[Any, Any], Any], event: bytes, context: Context) -> tuple[str, bytes]:
    """Call the handler: "response" with its result, or "error" with what it raised."""
    try:
        result = handler(json.loads(event), context)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is reported
        frames = traceback.extract_tb(error.__traceback__)[1:]  # without this one
        return "error", _error(type(error).__name__, str(error), traceback.format_list(frames), context)
    if isinstance(result, bytes):
        return "response", result
    try:
        return "response", json.dumps(result).encode()
    except Exception as error:  # noqa: BLE001 - a result's own code may raise anything
        message = f"Unable to marshal response: {error}"
        return "error", _error("Runtime.MarshalError", message, [], context)


def _error(name: str, message: str, frames: list[str], context: Context) -> bytes:
    sys.stdout.write(f"[ERROR] {name}: {message}\nTraceback (most recent call last):\n{''.join(frames)}\n")
    report = {
        "errorMessage": message,
        "errorType": name,
        "requestId": context.aws_request_id,
        "stackTrace": frames,
    }
    return json.dumps(report).encode()
