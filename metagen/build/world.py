"""What everything a task may depend on is right now, as one digest each."""

from __future__ import annotations

import platform
import subprocess
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from metagen import files, paths
from metagen.build.codedigest import CodeIndex, package_digest

if TYPE_CHECKING:
    from metagen.build.ledger import Ledger

_RACY_NS = 50_000_000  # a file changed this recently may change again within one clock tick
_Signature = list[int]


class World:
    """The parts that all packages of an out folder share: sources, versions and metagen's code."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[tuple[str, str], str] = {}
        self._code: CodeIndex | None = None
        self._lock = threading.RLock()

    def digest(self, kind: str, name: str) -> str:
        """Return the digest of a `source`, `version` or `code` dependency; "" when it is gone."""
        with self._lock:
            if (kind, name) not in self._known:
                self._known[kind, name] = self._look(kind, name)
            return self._known[kind, name]

    def _look(self, kind: str, name: str) -> str:
        if kind == "source":
            path = paths.source(name)
            return files.sha256(path.read_bytes()) if path.is_file() else ""
        return version(name) if kind == "version" else self.code().digest(name) or ""

    def code(self) -> CodeIndex:
        """Return the index of metagen's own definitions, kept from build to build."""
        if self._code is None:
            package = package_digest(paths.PACKAGE)
            kept = self._ledger.rows("", "code").get(package)
            self._code = CodeIndex(*kept) if kept else CodeIndex.of_package(paths.PACKAGE)
            if not kept:
                self._ledger.put("", [("code", package, [self._code.own, self._code.references])])
        return self._code


def version(name: str) -> str:
    """Return the version of a library, of `python` or of `tex`; "" when it is not installed."""
    if name == "python":
        return platform.python_version()
    if name == "tex":
        return _tex_version()
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _tex_version() -> str:
    try:
        told = subprocess.run(
            ["pdflatex", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return told.stdout.partition("\n")[0]


class FileDigests:
    """The sha256 of files below one folder, sparing those whose stat signature did not change.

    The signature has mtime, ctime, size and inode: ctime moves with every write, so an edit that
    keeps size and mtime is seen all the same.
    """

    def __init__(self, root: Path, known: dict[str, tuple[_Signature, str]]) -> None:
        self.root = root
        self.known = known
        self.changed = False

    def of(self, path: str) -> str:
        """Return the sha256 of a file; "" when there is none."""
        try:
            stat = (self.root / path).stat()
            signature = [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]
            if path in self.known and list(self.known[path][0]) == signature:
                return self.known[path][1]
            digest = files.sha256((self.root / path).read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""
        if time.time_ns() - max(signature[:2]) > _RACY_NS:
            self.known[path] = (signature, digest)
            self.changed = True
        return digest
