"""Packages that are as they were left: one look at a package instead of a question to each task.

A build of a whole package ends with a seal. It holds while the text of the spec, the settings
beside it, metagen's own files and the installed libraries are what they were, and no file of the
package was written since; so the answer is the same as that of all tasks, and neither the spec is
read nor the graph made.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from metagen import files, paths
from metagen.build.folder import RACY_NS, signature_of
from metagen.build.installed import installed
from metagen.build.ledger import Ledger
from metagen.build.standing import Standing
from metagen.errors import Problem


class Seals:
    """The seals of the packages of one out folder.

    Args:
        out: The out folder.
        ledger: Where the seals are kept.
        settings: What is asked for beside the spec: overrides and the name of the run folder.
    """

    def __init__(self, out: Path, ledger: Ledger, settings: Sequence[str | None]) -> None:
        self._out = out
        self._ledger = ledger
        shared = [*settings, platform.python_version(), sorted(installed().items()), _shipped()]
        self._shared = files.sha256(files.canonical(shared).encode())

    def standing(self, spec: Path) -> tuple[str, Standing] | None:
        """Return the run folder of a spec and how it stands, if its seal holds."""
        asked = self._asked(spec)
        run = str(self._ledger.rows("", "asked", asked).get(asked, ""))
        seal = self._ledger.rows(run, "seal").get("") if run else None
        if not seal or seal["asked"] != asked:
            return None
        folder = str(self._out / run)
        if any(_signature(f"{folder}/{path}") != known for path, known in seal["files"].items()):
            return None
        kept = seal["standing"]
        warnings = tuple(Problem(**problem) for problem in kept.pop("warnings"))
        return run, Standing(**kept, warnings=warnings)

    def set(self, spec: Path, run: str, targets: Sequence[str], standing: Standing) -> None:
        """Seal a package that is current, unless a file was written only just now."""
        folder = str(self._out / run)
        found = {path: _signature(f"{folder}/{path}") for path in targets}
        newest = max((max(each[:2]) for each in found.values()), default=0)
        if not all(found.values()) or time.time_ns() - newest < RACY_NS:
            return
        asked = self._asked(spec)
        before = self._ledger.rows(run, "seal").get("", {}).get("asked")
        body = {"asked": asked, "files": found, "standing": asdict(standing)}
        self._ledger.put(run, [("seal", "", body)])
        outdated = [("asked", before, None)] if before and before != asked else []
        self._ledger.put("", [("asked", asked, run), *outdated])

    def _asked(self, spec: Path) -> str:
        try:
            text = files.sha256(spec.read_bytes())
        except OSError:
            return ""
        return files.sha256(f"{self._shared} {spec} {text}".encode())


def _shipped() -> list[tuple[str, list[int]]]:
    """Return the stat signature of every file that metagen ships."""
    roots = dict.fromkeys((str(paths.PACKAGE), str(paths.templates())))
    return sorted((path, _signature(path)) for root in roots for path in _below(root))


def _below(root: str) -> Iterator[str]:
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name != "__pycache__"]
        yield from (f"{folder}/{name}" for name in names)


def _signature(path: str) -> list[int]:
    try:
        return signature_of(os.stat(path))  # noqa: PTH116, which would take longer than the look
    except OSError:
        return []
