"""Packages that are as they were left: one look at a package instead of a question to each task.

A build of a whole package ends with a seal. It holds while the text of the spec, the settings
beside it, metagen's own files and the installed libraries are what they were, and no file of the
package was written since; so the answer is the same as that of all tasks, and neither the spec is
read nor the graph made.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metagen import files, paths
from metagen.engine.folder import signature_of
from metagen.engine.installed import installed
from metagen.engine.ledger import Ledger
from metagen.engine.standing import Standing
from metagen.errors import Problem


def surroundings(settings: Sequence[str | None]) -> str:
    """Return the digest of all that a build depends on beside its specs and its out folder.

    It is taken before a build looks at anything, so that a seal never holds for what changed
    while the build ran.

    Args:
        settings: Overrides and the name of the run folder.
    """
    all_of_it = [*settings, platform.python_version(), sorted(installed().items()), _shipped()]
    return files.sha256(files.canonical(all_of_it).encode())


class Seals:
    """The seals of the packages of one out folder.

    Args:
        out: The out folder.
        ledger: Where the seals are kept.
        around: The `surroundings` of the build.
    """

    def __init__(self, out: Path, ledger: Ledger, around: str) -> None:
        self._out = out
        self._ledger = ledger
        self._around = around

    def standing(self, spec: Path) -> tuple[str, Standing] | None:
        """Return the run folder of a spec and how it stands, if its seal holds."""
        try:
            asked = self._asked(spec, files.sha256(spec.read_bytes()))
        except OSError:
            return None
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

    def set(
        self, spec: Path, sha256: str, run: str, known: Mapping[str, Any], standing: Standing
    ) -> None:
        """Seal a package.

        Args:
            spec: The spec's file.
            sha256: What it held when it was read.
            run: The run folder.
            known: The stat signature of each file of the package when its digest was taken.
            standing: How the package stands when nothing is done to it.
        """
        asked = self._asked(spec, sha256)
        before = self._ledger.rows(run, "seal").get("", {}).get("asked")
        body = {"asked": asked, "files": known, "standing": asdict(standing)}
        self._ledger.put(run, [("seal", "", body)])
        outdated = [("asked", before, None)] if before and before != asked else []
        self._ledger.put("", [("asked", asked, run), *outdated])

    def _asked(self, spec: Path, sha256: str) -> str:
        return files.sha256(f"{self._around} {spec} {sha256}".encode())


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
