"""As much of S3 and Lambda as a handler in a container needs, on loopback. Standard library only: it runs in there.

S3 serves the files of a folder and keeps what is put; Lambda takes every asynchronous invocation. All calls are noted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

BLOCK = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def serve(bucket: Path) -> list[dict[str, Any]]:
    """Serve from now on, point boto3 here, and return the list of calls, which grows."""
    calls: list[dict[str, Any]] = []
    kept: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            self._send_object(unquote(path).split("/", 2)[2] if path.count("/") > 1 else "")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            key = unquote(urlsplit(self.path).path).split("/", 2)[2]
            kept[key] = self._body()
            calls.append({"service": "s3", "put": key, "bytes": len(kept[key])})
            self._answer(200, b"", {"ETag": f'"{hashlib.md5(kept[key], usedforsecurity=False).hexdigest()}"'})

        def do_POST(self) -> None:
            name = unquote(urlsplit(self.path).path).split("/")[3]  # /2015-03-31/functions/NAME/invocations
            calls.append({"service": "lambda", "function": name, "event": json.loads(self._body())})
            self._answer(202, b"", {})

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                return b"".join(iter(self._chunk, b""))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
                return body
            content = b""  # SIZE[;…]\r\n BYTES \r\n … 0\r\n
            while body:
                size, _, rest = body.partition(b"\r\n")
                length = int(size.partition(b";")[0], 16)
                if not length:
                    break
                content, body = content + rest[:length], rest[length + 2 :]
            return content

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            return chunk

        def _send_object(self, key: str) -> None:
            path = bucket / key
            if not key or not path.is_file() or bucket not in path.resolve().parents:
                calls.append({"service": "s3", "missing": key})
                self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", {})
                return
            whole = path.stat().st_size
            wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
            first = int(wanted[1]) if wanted else 0
            last = min(int(wanted[2]) if wanted and wanted[2] else whole - 1, whole - 1)
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("ETag", f'"{whole:x}-{path.stat().st_mtime_ns:x}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.send_header("Accept-Ranges", "bytes")
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
            self.end_headers()
            if self.command == "HEAD":
                return
            calls.append({"service": "s3", "get": key, "bytes": last - first + 1})
            with path.open("rb") as file:
                file.seek(first)
                left = last - first + 1
                while left and (block := file.read(min(BLOCK, left))):
                    self.wfile.write(block)
                    left -= len(block)

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the function's own log matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    os.environ["AWS_ENDPOINT_URL_S3"] = os.environ["AWS_ENDPOINT_URL_LAMBDA"] = address
    return calls
