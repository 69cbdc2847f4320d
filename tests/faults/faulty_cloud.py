"""The rehearsal's stack with a DynamoDB that can fail: a proxy before moto that all functions go through."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from rehearsal.cloud import Cloud
from rehearsal.recording import signed_by

KIND = "com.amazonaws.dynamodb.v20120810#"
WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"})


class Call(NamedTuple):
    """One request to DynamoDB."""

    caller: str
    action: str

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.action in WRITES


Trouble = Callable[[Call], str]
"""What becomes of a call: "" nothing, `throttle`, `fail` (500, not carried out) or `lose` (carried out, 500)."""


def no_trouble(_call: Call) -> str:
    """All goes well."""
    return ""


class DynamoProxy:
    """Serves on loopback, in threads of its own."""

    def __init__(self, target_port: int) -> None:
        self.trouble: Trouble = no_trouble
        proxy = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                caller, _, _ = signed_by(self.headers.get("Authorization", ""))
                word = proxy.trouble(Call(caller, self.headers.get("X-Amz-Target", "").rpartition(".")[2]))
                status, headers, answer = 500, {}, _refusal("InternalServerError")
                if word == "throttle":
                    status, answer = 400, _refusal("ProvisionedThroughputExceededException")
                elif word != "fail":
                    told = _forward(target_port, self.path, dict(self.headers.items()), body)
                    status, headers, answer = told if word != "lose" else (status, headers, answer)
                self.send_response(status)
                for name, value in {"Content-Type": "application/x-amz-json-1.0", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who asked has been killed."""

        self._server = Server(("127.0.0.1", 0), Requests)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


class FaultyCloud(Cloud):
    """A cloud whose functions reach DynamoDB through `proxy`; tests and users reach it directly."""

    proxy: DynamoProxy

    def variables(self, caller: str = "") -> dict[str, str]:
        """See `Cloud.variables`."""
        found = super().variables(caller) if caller else super().variables()
        if not caller or caller not in self.model.functions:
            return found
        if not hasattr(self, "proxy"):
            self.proxy = DynamoProxy(int(self._moto_url.rpartition(":")[2]))
            self._ends.callback(self.proxy.stop)
        return found | {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{self.proxy.port}"}


def _forward(port: int, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        kept = {name: value for name, value in headers.items() if name.lower() not in ("connection", "content-length")}
        connection.request("POST", path, body, kept)
        answer = connection.getresponse()
        content = answer.read()
        names = ("content-type", "x-amzn-requestid", "x-amz-crc32")
        return answer.status, {n: v for n, v in answer.getheaders() if n.lower() in names[1:]}, content
    finally:
        connection.close()


def _refusal(code: str) -> bytes:
    return json.dumps({"__type": KIND + code, "message": "as the schedule says"}).encode()
