"""A small server of the protocol of bazel-remote, with faults: what a shared cache over HTTP meets.

Like bazel-remote it takes an `ActionResult` as JSON in a form that protobuf reads, gives it back in
another order, and only while all its outputs are there.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = (
    "404", "500", "302", "401", "silent", "drip", "cut", "dropped", "halved", "flipped", "huge",
    "endless", "not HTTP", "not JSON", "foreign", "empty",
)  # fmt: skip
PUT_FAULTS = ("500", "302", "401", "507", "silent", "dropped", "not HTTP", "lost")
_NAME = re.compile(r"/(?:pool/)?(ac|cas)/([0-9a-f]{64})")
Plan = Callable[[int, str, str], str]  # From number, method and path of a request to its fault.


class CacheServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        content: What it holds, by path.
        asked: The method and the path of each request.
        plan: Chooses the fault of a request; "" for none.
        password: What a request must say, if anything: USER:PASSWORD.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.plan: Plan = lambda number, method, path: ""
        self.password = ""
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pool"

    def fault(self, method: str, path: str) -> str:
        with self._lock:
            self.asked.append((method, path))
            return self.plan(len(self.asked), method, path)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: clients leave as they like."""


class _Handler(BaseHTTPRequestHandler):
    server: CacheServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        fault = self.server.fault("GET", self.path)
        data = self._found()
        if self._refuses() or self._fails(fault, data or b"{}"):
            return
        self._answer(404 if data is None else 200, data or b"")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.server.fault("PUT", self.path)
        if self._refuses() or self._fails(fault, b""):
            return
        if not self._is_right(body):
            self._answer(400, b"malformed")
            return
        if fault != "lost":
            self.server.content[self.path] = body
        self._answer(200, b"")

    def _found(self) -> bytes | None:
        data = self.server.content.get(self.path)
        if data is None or "/ac/" not in self.path:
            return data
        content = json.loads(data)
        there = self.path.partition("/ac/")[0] + "/cas/"
        digests = [each["digest"]["hash"] for each in content["outputFiles"]]
        if any(there + digest not in self.server.content for digest in digests):
            return None
        more = {"executionMetadata": {"worker": "127.0.0.1"}}
        return json.dumps(more | dict(reversed(content.items())), indent=1).encode()

    def _is_right(self, body: bytes) -> bool:
        match = _NAME.fullmatch(self.path)
        if match is None or match[1] == "cas":
            return match is not None
        content = json.loads(body)
        base64.b64decode(content["stdoutRaw"], validate=True)
        return self.headers["Content-Type"] == "application/json" and all(
            len(each["digest"]["hash"]) == 64 and int(each["digest"]["sizeBytes"]) >= 0
            for each in content["outputFiles"]
        )

    def _refuses(self) -> bool:
        right = f"Basic {base64.b64encode(self.server.password.encode()).decode()}"
        if not self.server.password or self.headers["Authorization"] == right:
            return False
        self._answer(401, b"who are you?")
        return True

    def _fails(self, fault: str, data: bytes) -> bool:
        """Answer with a fault; return whether that was the answer."""
        changed = {
            "halved": data[: len(data) // 2],
            "flipped": data[:-2] + bytes(byte ^ 1 for byte in data[-2:]),
            "not JSON": b"<html>",
            "foreign": b'{"outputFiles": [], "stdoutRaw": "AAAA"}',
            "empty": b"",
        }
        if fault.isdigit():
            self._answer(int(fault), b"no", Location="http://127.0.0.1:9/elsewhere")
        elif fault in changed:
            self._answer(200, changed[fault])
        elif fault in ("", "lost"):
            return False
        else:
            self.close_connection = True
            with suppress(OSError):
                getattr(self, f"_{fault.replace(' ', '_')}")(data)
        return True

    def _answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _silent(self, data: bytes) -> None:
        time.sleep(2)

    def _drip(self, data: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(40):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def _cut(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])

    def _dropped(self, data: bytes) -> None:
        """Answer nothing."""

    def _huge(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 50))
        self.end_headers()

    def _endless(self, data: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            self.wfile.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")

    def _not_HTTP(self, data: bytes) -> None:
        self.wfile.write(b"220 mail.example ESMTP\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving() -> Iterator[CacheServer]:
    """Yield a server of this process, which ends afterwards."""
    with CacheServer() as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
