"""What everything a task may depend on is right now, as one digest each."""

from __future__ import annotations

import platform
import subprocess
import threading
from importlib import metadata
from typing import TYPE_CHECKING

from metagen import files, paths
from metagen.build.codedigest import CodeIndex, package_digest

if TYPE_CHECKING:
    from metagen.build.ledger import Ledger


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
