"""Lambda's HTTP API, and the HTTP API of the stack: what boto3 and browsers talk to."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from rehearsal.functions import FunctionService, Refused
from rehearsal.recording import Recorder, signed_by
from rehearsal.stack_model import FunctionModel, MappingModel

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 10 * 2**20
FUNCTIONS_PREFIX = "/2015-03-31/functions/"


class LambdaEndpoint:
    """Serves on loopback, at a port that the system picks.

    Args:
        mappings: told by `ListEventSourceMappings`.
        api_arn: of that API, for permissions.
        concurrency: the account's, told by `GetAccountSettings`.
        api: the stack's HTTP API: method and path → the function that serves it, the route and its parameters.
    """

    def __init__(
        self,
        recorder: Recorder,
        mappings: Callable[[], list[tuple[MappingModel, bool]]],
        api: Callable[[str, str], tuple[FunctionModel, str, dict[str, str]] | None],
        api_arn: str,
        *,
        concurrency: int = 1_000,
    ) -> None:
        self.functions: FunctionService
        self._recorder, self._mappings = recorder, mappings
        self._api, self._api_arn, self._concurrency = api, api_arn, concurrency
        endpoint = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

            def _serve(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_BODY_BYTES))
                status, headers, answer = endpoint.answer(self.command, self.path, dict(self.headers.items()), body)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

        self._server = Server(("127.0.0.1", 0), Requests)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="lambda-api", daemon=True)

    def start(self, functions: FunctionService) -> None:
        """Serve these functions."""
        self.functions = functions
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        if self._thread.ident:
            self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        given = {name.lower(): value for name, value in headers.items()}
        caller, _region, service = signed_by(given.get("authorization", ""))
        try:
            if service == "execute-api" or not path.startswith("/20"):
                return self._call_api(method, path, given, body, caller)
            if not caller:
                raise Refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
            return self._lambda(method, unquote(urlsplit(path).path), given, body, caller)
        except Refused as error:
            return _refusal(error)
        except Exception as error:
            LOG.exception("%s %s", method, path)
            return _refusal(Refused(500, "ServiceException", str(error)))

    def _lambda(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, caller: str
    ) -> tuple[int, dict[str, str], bytes]:
        if path.startswith(FUNCTIONS_PREFIX) and path.endswith("/invocations") and method == "POST":
            name = path.removeprefix(FUNCTIONS_PREFIX).removesuffix("/invocations")
            return self._invoke(name, headers.get("x-amz-invocation-type", "RequestResponse"), body, caller)
        parts = path.strip("/").split("/")
        self._recorder.note(caller, [_needed(method, parts, self.functions)], 200)
        if parts[1].startswith("account-settings"):
            limit = {"ConcurrentExecutions": self._concurrency, "UnreservedConcurrentExecutions": self._concurrency}
            return _json({"AccountLimit": limit, "AccountUsage": {"FunctionCount": len(self.functions.functions)}})
        if parts[1].startswith("event-source-mappings"):
            return _json({"EventSourceMappings": [_mapping(model, on) for model, on in self._mappings()]})
        if parts[1] == "functions" and len(parts) > 2:
            function = self.functions.known(parts[2])
            reserved = self.functions.reserved(function.name)
            if parts[-1] == "concurrency" and method == "PUT":
                self.functions.reserve(function.name, json.loads(body)["ReservedConcurrentExecutions"])
                reserved = self.functions.reserved(function.name)
            elif parts[-1] == "concurrency" and method == "DELETE":
                self.functions.reserve(function.name, None)
                return 204, {}, b""
            told = {} if reserved is None else {"ReservedConcurrentExecutions": reserved}
            if parts[-1] == "concurrency":
                return _json(told)
            configuration = self._configuration(function)
            return _json(
                configuration
                if parts[-1] == "configuration"
                else {"Configuration": configuration, "Concurrency": told, "Code": {}}
            )
        if parts[1] == "functions":
            return _json({"Functions": [self._configuration(one) for one in self.functions.functions.values()]})
        raise Refused(501, "NotImplemented", f"the stand-in does not serve {method} {path}")

    def _invoke(self, name: str, kind: str, body: bytes, caller: str) -> tuple[int, dict[str, str], bytes]:
        try:
            function = self.functions.known(name)
            arn = self.functions.function_arn(function.name)
            if kind == "Event":
                request_id, answer, failed, status = self.functions.send(name, body), b"", False, 202
            elif kind == "DryRun":
                request_id, answer, failed, status = "dry", b"", False, 204
            else:
                answer, failed = self.functions.invoke(name, body)
                request_id, status = "synchronous", 200
        except Refused as error:
            self._recorder.note(caller, [("lambda:InvokeFunction", self.functions.function_arn(name))], error.status)
            raise
        self._recorder.note(caller, [("lambda:InvokeFunction", arn)], status)
        headers = {"x-amzn-RequestId": request_id, "X-Amz-Executed-Version": "$LATEST"}
        if failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        return status, headers, answer

    def _configuration(self, function: FunctionModel) -> dict[str, Any]:
        return {
            "FunctionName": function.name,
            "FunctionArn": self.functions.function_arn(function.name),
            "Handler": function.handler,
            "Runtime": "python3.13",
            "MemorySize": function.memory_mb,
            "Timeout": int(function.time_limit_s),
            "Environment": {"Variables": dict(function.variables)},
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Version": "$LATEST",
        }

    def _call_api(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, caller: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The stack's HTTP API, with IAM authorization and payload format 2.0."""
        if not caller:
            raise Refused(403, "Forbidden", "Forbidden")
        split = urlsplit(path)
        found = self._api(method, unquote(split.path))
        if found is None:
            raise Refused(404, "NotFound", "Not Found")
        function, route, parameters = found
        event = {
            "version": "2.0",
            "routeKey": route,
            "rawPath": split.path,
            "rawQueryString": split.query,
            "headers": dict(headers),
            "queryStringParameters": dict(parse_qsl(split.query)),
            "pathParameters": parameters,
            "requestContext": {
                "http": {"method": method, "path": split.path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
                "authorizer": {"iam": {"accessKey": caller}},
                "routeKey": route,
                "stage": "$default",
                "timeEpoch": int(time.time() * 1000),
                "requestId": "rehearsal",
            },
            "body": body.decode() if body else None,
            "isBase64Encoded": False,
        }
        self._recorder.note(caller, [("execute-api:Invoke", f"{self._api_arn}/$default/{method}{split.path}")], 200)
        answer, failed = self.functions.invoke(function.name, json.dumps(event).encode())
        if failed:
            raise Refused(500, "InternalServerError", "Internal Server Error")
        told = json.loads(answer)
        if not isinstance(told, dict) or "statusCode" not in told:
            return 200, {}, answer
        return int(told["statusCode"]), dict(told.get("headers", {})), str(told.get("body", "")).encode()


def _needed(method: str, parts: list[str], functions: FunctionService) -> tuple[str, str]:
    """IAM action and resource of a request that reads or changes settings."""
    if parts[1].startswith("account-settings"):
        return "lambda:GetAccountSettings", "*"
    if parts[1].startswith("event-source-mappings"):
        return "lambda:ListEventSourceMappings", "*"
    if len(parts) < 3:
        return "lambda:ListFunctions", "*"
    arn = functions.function_arn(parts[2].rpartition(":")[2])
    verb = {"PUT": "Put", "DELETE": "Delete"}.get(method, "Get")
    what = {"concurrency": "FunctionConcurrency", "configuration": "FunctionConfiguration"}.get(parts[-1], "Function")
    return f"lambda:{verb}{what}", arn


def _mapping(model: MappingModel, enabled: bool) -> dict[str, Any]:
    return {
        "UUID": model.logical_id,
        "EventSourceArn": model.source,
        "FunctionArn": model.function,
        "BatchSize": model.batch_size,
        "State": "Enabled" if enabled else "Disabled",
    }


def _json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(value).encode()


def _refusal(error: Refused) -> tuple[int, dict[str, str], bytes]:
    body = {"Type": "User", "Message": error.message, "message": error.message}
    if error.code == "TooManyRequestsException":
        body["Reason"] = "ReservedFunctionConcurrentInvocationLimitExceeded"
    return error.status, {"x-amzn-ErrorType": error.code}, json.dumps(body).encode()
