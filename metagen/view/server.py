"""The server of `metagen view`: one package, on the loopback address, to read only.

The package may come from a stranger, and so may a page that the user has open beside it. So a
request must name this server as its host, only plain files inside the package are sent, no link is
followed, and no page may run a script but the one that loads it again.
"""

from __future__ import annotations

import os
import shutil
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from metagen import files, paths
from metagen.docs import report
from metagen.errors import Problem, UsageError
from metagen.view import pages

ADDRESS = "127.0.0.1"
STATE = "/-/state"
_LARGEST = 20_000_000  # bytes of a page or a document; a larger file is sent as it is
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
# A file of another kind is sent as text, which no browser runs.
_TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".safetensors": "application/octet-stream",
}


class Server(ThreadingHTTPServer):
    """Serves the package in a run folder.

    Args:
        run: The folder.
        port: The port; 0 for any that is free.

    Raises:
        UsageError: The port is taken, or may not be used.
    """

    daemon_threads = True

    def __init__(self, run: Path, port: int = 0) -> None:
        self.run = run.resolve()
        try:
            super().__init__((ADDRESS, port), _Answers)
        except OSError as error:
            sentence = f"Port {port} cannot be used: {error.strerror}."
            hint = "name another --port, or leave it out"
            raise UsageError(Problem(sentence, "--port", hint)) from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing for a browser that has left; anything else is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """The address of the report."""
        return f"http://{ADDRESS}:{self.server_port}/"


class _Answers(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Server
    timeout = 30  # seconds that a browser may take to say what it requests
    server_version, sys_version = "metagen", ""

    def do_GET(self) -> None:
        """Send a page or a file."""
        if self.headers.get("Host") not in self._names():
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name.")
        path = unquote(urlsplit(self.path).path, errors="surrogateescape")
        if path == STATE:
            return self._send(pages.state(self.server.run), _TEXT)
        if path == pages.RELOAD:
            script = paths.source("templates/page/reload.js").read_bytes()
            return self._send_stream(BytesIO(script), len(script), "text/javascript; charset=utf-8")
        try:
            return self._of_package(path.removeprefix("/"))
        except (OSError, ValueError):
            return self._refuse(HTTPStatus.NOT_FOUND, "The package has no such file.")

    do_HEAD = do_GET

    def _names(self) -> tuple[str, ...]:
        port = self.server.server_port
        return f"{ADDRESS}:{port}", f"localhost:{port}"

    def _of_package(self, name: str) -> None:
        """Send a file, a document or a folder of the package.

        Raises:
            OSError: It is not there, or it is no plain file or folder inside the package.
        """
        run, state = self.server.run, pages.state(self.server.run)
        if name in ("", report.TARGET):
            text = files.read_plain(run / report.TARGET, _LARGEST).decode()
            return self._send(pages.of_report(run, text, state), _HTML)
        if name.endswith("/"):
            listed = _listed(run, name.removesuffix("/"))
            return self._send(pages.of_folder(name, listed, state), _HTML)
        place = _place(run, name)
        if name.endswith(".md"):
            text = files.read_plain(place, _LARGEST).decode()
            return self._send(pages.of_document(name, text, state), _HTML)
        with files.open_plain(place) as stream:
            size = os.fstat(stream.fileno()).st_size
            return self._send_stream(stream, size, _TYPES.get(place.suffix, _TEXT))

    def _send(self, text: str, kind: str) -> None:
        data = text.encode()
        self._send_stream(BytesIO(data), len(data), kind)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        data = f"{sentence}\n".encode()
        self._send_stream(BytesIO(data), len(data), _TEXT, status)

    def _send_stream(
        self, stream: BinaryIO, size: int, kind: str, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        own = kind == _HTML
        policy = pages.policy(self.server.server_port)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", policy if own else _alone(kind))
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command == "GET":
            shutil.copyfileobj(stream, self.wfile)

    def log_message(self, *_: object) -> None:
        """Print nothing: the terminal belongs to the user."""


def _alone(kind: str) -> str:
    """Return the policy of a file that is shown alone; a browser's reader of PDFs needs scripts."""
    inert = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return inert if kind == "application/pdf" else f"{inert}; sandbox"


def _place(run: Path, name: str) -> Path:
    """Return where a file of the package lies.

    Raises:
        OSError: The name leads elsewhere, to something hidden, or over a link.
    """
    hidden = any(part.startswith(".") for part in name.split("/"))
    if hidden or not files.is_inside(name) or files.obstacle(run, name):
        raise FileNotFoundError(name)
    return run / name


def _listed(run: Path, name: str) -> list[str]:
    """Return the names in a folder of the package, folders with a slash; links are left out.

    Raises:
        OSError: It is no folder inside the package.
    """
    if name:
        _place(run, f"{name}/any")
    with os.scandir(run / name) as found:
        plain = [each for each in found if not each.name.startswith(".") and not each.is_symlink()]
        return sorted(f"{each.name}/" if each.is_dir() else each.name for each in plain)
