"""Handlers that the tests of the local Lambda engine run in its environments."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from contracts.errors import ShapeMismatch

GRANDCHILD = """
import json, os, socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.sendall(json.dumps({"name": "grandchild", "pid": os.getpid()}).encode() + b"\\n")
peer.recv(1)
"""

invocations = 0


def echo(event: Any, context: Any) -> Any:
    """Return the event."""
    return event


def about(event: Any, context: Any) -> dict[str, Any]:
    """Tell all about the context and the process."""
    global invocations
    invocations += 1
    return {
        "event": event,
        "aws_request_id": context.aws_request_id,
        "function_name": context.function_name,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "invoked_function_arn": context.invoked_function_arn,
        "log_stream_name": context.log_stream_name,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "invocations": invocations,
        "pid": os.getpid(),
        "process_group": os.getpgid(0),
        "variables": dict(os.environ),
        "awslambdaric": "awslambdaric.bootstrap" in sys.modules,
    }


def remaining(event: Any, context: Any) -> list[int]:
    """The remaining milliseconds, asked until they have changed ten times."""
    seen = [context.get_remaining_time_in_millis()]
    while len(seen) < 10:
        now = context.get_remaining_time_in_millis()
        if now != seen[-1]:
            seen.append(now)
    return seen


def act(event: dict[str, Any], context: Any) -> Any:
    """Do what the event says."""
    match event["do"]:
        case "return":
            return event["value"]
        case "print":
            print(event["value"])
            print("to stderr", file=sys.stderr)
        case "raise":
            raise ValueError(event["value"])
        case "raise numbered":
            raise ShapeMismatch("run r-7f round 4", "(128, 10)", "(64, 10)", advice="Look at the recipe.")
        case "unserialisable":
            return {"x": object()}
        case "large":
            return "x" * event["value"]
        case "exit":
            print("about to leave")
            sys.exit(event["value"])
        case "kill":
            os.kill(os.getpid(), event["value"])
        case other:
            raise KeyError(other)
    return None


def answer_and_leave(event: dict[str, Any], context: Any) -> None:
    """Post an answer past the runtime client, then die."""
    host, _, token = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = http.client.HTTPConnection(host)
    path = f"/{token}/2018-06-01/runtime/invocation/{context.aws_request_id}/response"
    for body in ('"first"', '"second"'):
        connection.request("POST", path, body)
        connection.getresponse().read()
    os._exit(9)


def meet(event: dict[str, Any], context: Any) -> Any:
    """Tell the test's gate that we are here, and wait to be let through. See lambda_helpers.Gate."""
    if event.get("grandchild"):
        subprocess.Popen([sys.executable, "-c", GRANDCHILD, str(event["gate"])])
    facts = {
        "name": event["name"],
        "pid": os.getpid(),
        "address": os.environ["AWS_LAMBDA_RUNTIME_API"],
        "request_id": context.aws_request_id,
    }
    with socket.create_connection(("127.0.0.1", event["gate"])) as peer:
        peer.sendall(json.dumps(facts).encode() + b"\n")
        held = bytearray(b"x") * (event.get("megabytes", 0) * 2**20)
        if event.get("stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        peer.recv(1)
    return {"name": event["name"], "pid": os.getpid(), "held": len(held)}
