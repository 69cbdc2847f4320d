"""The process that holds DynamoDB, S3, SQS, SNS and CloudFormation: `python -m rehearsal.cloud_process`.

moto's server behind one lock, as it loses concurrent updates without. Prints its port, serves until its standard input
ends, so it never outlives the program that started it. `GET /rehearsal/changes?service=dynamodb&after=N` answers as
soon as more than N requests have written there: whoever reads a stream or a queue waits and need not poll.
"""

from __future__ import annotations

import collections
import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from fakes.dynamodb_table import quick_values
from rehearsal import transactions
from rehearsal.recording import Recorder, needed_permissions, signed_by

CHANGES_PATH = "/rehearsal/changes"
WAIT_S = 10.0
_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "WriteItem", "SendMessage", "ChangeMessageVisibility")
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Quiet(MotoRequestHandler):
    """Prints no line a request."""

    def log_request(self, *_arguments: object) -> None:
        """Nothing."""


class OneAtATime:
    """A WSGI application before moto's: one request at a time, each recorded, writes made known."""

    def __init__(self, application: Application, recorder: Recorder, account: str) -> None:
        self._application = application
        self._recorder = recorder
        self._account = account
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._changes: collections.Counter[str] = collections.Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        if environ["PATH_INFO"] == CHANGES_PATH:
            return self._await_changes(environ, start_response)
        # Before the lock: a slow sender must not hold up the others.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        statuses: list[str] = []

        def started(status: str, headers: Any, *error: Any) -> Any:
            statuses.append(status)
            return start_response(status, headers, *error)

        with self._lock:
            answer = list(self._application(environ, started))
        self._note(environ, body, int(statuses[0].split()[0]))
        return answer

    def _note(self, environ: dict[str, Any], body: bytes, status: int) -> None:
        caller, region, service = signed_by(environ.get("HTTP_AUTHORIZATION", ""))
        if not caller:
            return
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        self._recorder.note(
            caller,
            needed_permissions(
                service,
                region,
                self._account,
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                environ.get("QUERY_STRING", ""),
                headers,
                body,
            ),
            status,
        )
        if status < 300 and headers.get("x-amz-target", "").endswith(_WRITES):
            with self._changed:
                self._changes[service] += 1
                self._changed.notify_all()

    def _await_changes(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = parse_qs(environ["QUERY_STRING"])
        service, after = query["service"][0], int(query["after"][0])
        with self._changed:
            self._changed.wait_for(lambda: self._changes[service] > after, WAIT_S)
            answer = str(self._changes[service]).encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
        return [answer]


def main() -> None:
    """Arguments: the file that calls are recorded in."""
    transactions.install()
    recorder = Recorder(Path(sys.argv[1]))
    moto = DomainDispatcherApplication(create_backend_app)
    application = OneAtATime(moto, recorder, os.environ["MOTO_ACCOUNT_ID"])
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    with quick_values():
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
