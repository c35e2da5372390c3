"""What everything a task may depend on is right now, as one digest each."""

from __future__ import annotations

import platform
import subprocess
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from metagen import files, paths
from metagen.engine.codedigest import CodeIndex, package_digest
from metagen.engine.installed import installed, normal

if TYPE_CHECKING:
    from metagen.engine.ledger import Ledger


class World:
    """The parts that all packages of an out folder share: sources, versions and metagen's code."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[tuple[str, str], str] = {}
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
        return version(name) if kind == "version" else self._code_digest(name)

    def _code_digest(self, root: str) -> str:
        """Return the digest of a definition with all that it reaches, kept from build to build."""
        package, digests = self._codes
        if root not in digests:
            digests[root] = self._index.digest(root) or ""
            self._ledger.put("", [("code", "", {"package": package, "digests": digests})])
        return digests[root]

    @cached_property
    def _codes(self) -> tuple[str, dict[str, str]]:
        """The digest of all of metagen's files, and of the definitions that were asked for."""
        package = package_digest(paths.PACKAGE)
        kept = self._ledger.rows("", "code").get("", {})
        return package, kept["digests"] if kept.get("package") == package else {}

    @cached_property
    def _index(self) -> CodeIndex:
        return CodeIndex.of_package(paths.PACKAGE)


def version(name: str) -> str:
    """Return the version of a library, of `python` or of `tex`; "" when it is not installed."""
    if name == "python":
        return platform.python_version()
    if name == "tex":
        return _tex_version()
    return installed().get(normal(name), "")


def _tex_version() -> str:
    try:
        told = subprocess.run(
            ["pdflatex", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return told.stdout.partition("\n")[0]
