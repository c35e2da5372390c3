"""The shelf of a cache on a server that speaks the HTTP protocol of bazel-remote.

`/cas/<sha256>` has the bytes of an output, and `/ac/<sha256>` an `ActionResult` as JSON, the form
that bazel-remote checks (build/bazel/remote/execution/v2/remote_execution.proto): its `outputFiles`
are the outputs of a run, so that the server keeps them together, and its `stdoutRaw` is our entry.
HTTP lists no folder, so one more `ActionResult` holds all lists of a task. If two builds write it
at once, one list may be lost, until a run with these reads is added again; runs that only it leads
to are made again.

No fault of a server fails a build, or makes it wait for long. A server that cannot be reached or is
silent is asked no more by this build, and so is one that has failed in other ways a few times.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from metagen import __version__
from metagen.engine.cache import Address
from metagen.errors import Problem, UsageError
from metagen.files import canonical, sha256

SILENCE = 5.0  # seconds without a byte after which a server counts as dead
WHOLE = 30.0  # seconds for one request
FAULTS = 4  # A server that failed so often is asked no more.
_ENTRY = 16 << 20  # bytes of an entry
_OUTPUT = 128 << 20  # bytes of an output
_REST = 64 << 10  # bytes of the text of an error, read so that the connection can be used again
_LISTS = 64  # lists of one task
_REMEMBERED, _SMALL = 64, 1 << 20  # answers that are kept, and the bytes that one may have
_GET, _PUT = "GET", "PUT"
_CUT = "ended in the middle of an answer"
_HUGE = "sent more bytes than an entry may have"
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Server:
    """The shelf on a server.

    Args:
        url: Where it is, such as `http://cache.example:8080/name`; may have `USER:PASSWORD@`.
        writes: Whether runs are added; otherwise nothing is sent but questions.
        warn: Called once, at the first fault.

    Raises:
        UsageError: The URL is malformed.
    """

    def __init__(
        self, url: str, *, writes: bool, warn: Callable[[Iterable[Problem]], None]
    ) -> None:
        self.writes = writes
        self._place = _Place(url)
        self._warn = warn
        self._own = threading.local()  # A connection for each thread.
        self._lock = threading.Lock()
        self._faults = 0
        self._there: set[str] = set()  # Outputs that the server has.
        self._answers: OrderedDict[str, bytes | None] = OrderedDict()

    def lists(self, task: str) -> list[str]:
        return _texts(self._entry(self._ask(f"ac/{_key([task])}", _ENTRY)))

    def add_list(self, task: str, reads: str, entry: str) -> None:
        path = f"ac/{_key([task])}"
        # Another build may have added one since this build asked.
        known = _texts(self._entry(self._fetch(path, _ENTRY)))
        if entry not in known:
            self._send(path, _result(canonical([entry, *known][:_LISTS]), {}))

    def run(self, address: Address) -> str | None:
        return self._entry(self._ask(f"ac/{_key(address)}", _ENTRY))

    def add_run(self, address: Address, entry: str, outputs: Mapping[str, bytes]) -> None:
        self._send(f"ac/{_key(address)}", _result(entry, outputs))

    def get(self, digest: str) -> bytes | None:
        data = self._ask(f"cas/{digest}", _OUTPUT)
        if data is None:
            return None
        if sha256(data) != digest:
            self._fault("sent other bytes than were asked for")
            return None
        self._there.add(digest)
        return data

    def put(self, data: bytes) -> None:
        digest = sha256(data)
        if digest not in self._there:
            if len(data) > _OUTPUT:
                raise OSError("This output is too large for a cache.")
            self._send(f"cas/{digest}", data)
            self._there.add(digest)

    def _entry(self, data: bytes | None) -> str | None:
        """Return our entry in an `ActionResult`; None if there is none, or it is malformed."""
        if data is None:
            return None
        try:
            return base64.b64decode(json.loads(data)["stdoutRaw"]).decode()
        except (ValueError, TypeError, KeyError, RecursionError):
            self._fault("sent an entry that is none of MetaGen's")
            return None

    def _ask(self, path: str, limit: int) -> bytes | None:
        """Return the content of a path; None for none, after a fault, or from a dead server."""
        with self._lock:  # doit asks for each task twice
            if path in self._answers:
                return self._answers[path]
        try:
            return self._fetch(path, limit)
        except OSError:
            return None

    def _fetch(self, path: str, limit: int) -> bytes | None:
        """Return what the server has at a path now; None for nothing.

        Raises:
            OSError: A fault.
        """
        data = self._request(_GET, path, None, limit)
        if data is None or len(data) <= _SMALL:
            self._remember(path, data)
        return data

    def _send(self, path: str, data: bytes) -> None:
        """Store the content of a path.

        Raises:
            OSError: The server did not take it.
        """
        with self._lock:
            self._answers.pop(path, None)
        self._request(_PUT, path, data, _REST)

    def _remember(self, path: str, data: bytes | None) -> None:
        with self._lock:
            self._answers[path] = data
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)

    def _request(self, method: str, path: str, body: bytes | None, limit: int) -> bytes | None:
        """Return what the server answers; None if it has nothing there.

        Raises:
            OSError: A fault, which was reported, or the server is asked no more.
        """
        if self._faults >= FAULTS:
            raise ConnectionError("This build asks the cache no more.")
        try:
            status, data = self._exchange(method, path, body, limit)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            dead = isinstance(error, TimeoutError | _Unreachable)
            self._fault(_said(error), FAULTS if dead else 1)
            raise ConnectionError(str(error)) from error
        if status == http.client.NOT_FOUND and method == _GET:
            return None
        if not 200 <= status < 300:
            self._fault(f"answered with status {status}")
            raise ConnectionError(f"status {status}")
        return data

    def _exchange(
        self, method: str, path: str, body: bytes | None, limit: int
    ) -> tuple[int, bytes]:
        fresh = getattr(self._own, "connection", None) is None
        try:
            return self._once(method, path, body, limit)
        except _STALE:
            if fresh:
                raise
        # A server closes a connection that was idle for a while, which is no fault.
        self._drop()
        return self._once(method, path, body, limit)

    def _once(self, method: str, path: str, body: bytes | None, limit: int) -> tuple[int, bytes]:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._place.connect()
        connection.sock.settimeout(WHOLE if body else SILENCE)
        connection.request(method, f"{self._place.path}/{path}", body, self._place.headers(path))
        response = connection.getresponse()
        if response.status != http.client.OK:
            limit = _REST
        elif (response.length or 0) > limit:
            raise http.client.HTTPException(_HUGE)
        data = response.read(limit + 1)
        if len(data) > limit:
            raise http.client.HTTPException(_HUGE)
        if response.length:  # bytes that were announced and did not come
            raise http.client.HTTPException(_CUT)
        if not response.isclosed() or response.will_close:
            self._drop()
        return response.status, data

    def _drop(self) -> None:
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            self._own.connection = None

    def _fault(self, what: str, number: int = 1) -> None:
        """Count a fault, and report the first."""
        with self._lock:
            first, self._faults = self._faults == 0, self._faults + number
        if first:
            rest = f"after {FAULTS} such faults this build asks it no more"
            more = "this build asks it no more" if number >= FAULTS else rest
            sentence = f"The cache {what}; what it does not give is made here, and {more}."
            self._warn([Problem(sentence, self._place.shown)])


class _Place:
    """Where a server is.

    Attributes:
        shown: The URL without what is secret in it.
        path: What stands before `/cas` and `/ac`.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError:
            parts = SplitResult("", "", "", "", "")
        host = parts.hostname or ""
        plain = all("!" <= c <= "~" for c in f"{host}{parts.path}")
        if not host or not plain or parts.query or parts.fragment:
            hint = "Write http://HOST:PORT or https://HOST/PATH."
            raise UsageError(Problem("This is no URL of a cache.", "--cache", hint))
        self._host, self._secure = host, parts.scheme.lower() == "https"
        self.path = parts.path.rstrip("/")
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self.path}"
        self._headers = {"User-Agent": f"metagen/{__version__}"}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"

    def headers(self, path: str) -> dict[str, str]:
        """Return what a request for a path says beside it."""
        form = "application/json" if path.startswith("ac/") else "application/octet-stream"
        return self._headers | {"Accept": form, "Content-Type": form}

    def connect(self) -> http.client.HTTPConnection:
        """Return an open connection.

        Raises:
            OSError: The server cannot be reached.
        """
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=SILENCE)
        connection.response_class = _Response
        try:
            connection.connect()
        except OSError as error:
            raise _Unreachable(f"cannot be reached ({error.strerror or error})") from error
        return connection


class _Unreachable(OSError):
    """There is no connection to the server."""


class _Response(http.client.HTTPResponse):
    """A response that must arrive within `WHOLE` seconds, however slowly its bytes drip."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock))


class _Timed(io.RawIOBase):
    """The bytes that a socket receives within a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._end = time.monotonic() + WHOLE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(min(left, SILENCE))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _said(error: BaseException) -> str:
    """Return what an error of a connection means, as the predicate of a sentence."""
    if isinstance(error, TimeoutError):
        return "was silent, or too slow"
    if isinstance(error, _Unreachable):
        return str(error)
    if isinstance(error, ConnectionError | http.client.IncompleteRead):
        return _CUT
    if isinstance(error, OSError):
        return f"cannot be reached ({error.strerror or error})"
    return str(error) if str(error) in (_CUT, _HUGE) else "sent what is no answer of HTTP"


def _key(address: Iterable[str]) -> str:
    """Return the name of the `ActionResult` at an address."""
    return sha256(canonical(["metagen", *address]).encode())


def _result(entry: str, outputs: Mapping[str, bytes]) -> bytes:
    """Return an `ActionResult` in protobuf's JSON, where a number of 64 bits is a text."""
    made = [
        {"path": path, "digest": {"hash": sha256(data), "sizeBytes": str(len(data))}}
        for path, data in sorted(outputs.items())
    ]
    content = {"outputFiles": made, "stdoutRaw": base64.b64encode(entry.encode()).decode()}
    return canonical(content).encode()


def _texts(entry: str | None) -> list[str]:
    """Return the texts in an entry of a task; [] for a damaged one."""
    try:
        content = json.loads(entry) if entry else []
    except (ValueError, RecursionError):
        return []
    texts = content if isinstance(content, list) else []
    return [text for text in texts if isinstance(text, str)][:_LISTS]
