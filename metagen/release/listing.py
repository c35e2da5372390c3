"""`release/manifest.json`: each file of the release with its digest, and the files to copy into it.

A release holds what its card names: the code, the documents, and the files that their numbers come
from, under the same paths as in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metagen.docs import citation, latex, licenses, report
from metagen.docs.sources import SPEC
from metagen.files import json_bytes
from metagen.filing import crate
from metagen.filing import statement as signing
from metagen.release.weights import FOLDER
from metagen.work import Desk, Output, Recipe, Work

PATH = f"{FOLDER}/manifest.json"
PAPER, CRATE = f"{FOLDER}/paper.pdf", f"{FOLDER}/{crate.PATH}"
STATEMENT = f"{FOLDER}/{signing.PATH}"
_BESIDE = (licenses.PATH, citation.PATH)
_COPIED = (
    *("blueprint/", "benchmarks/", "code/", "docs/", "trained/"),
    *(SPEC, report.TARGET, *_BESIDE),
)
# A release has the paper's PDF, not its sources.
_SOURCES, _PDF = b'<a href="paper/main.tex">paper</a>', b'<a href="paper.pdf">paper</a>'
_LEFT_OUT = ("docs/release_check.json", "docs/provenance/")
"""The check of a release comes later; its facts are joined in one file."""


def to_copy(targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files of a package that its release holds too.

    Args:
        targets: The files that the tasks of the package make.
    """
    return tuple(
        path for path in targets if path.startswith(_COPIED) and not path.startswith(_LEFT_OUT)
    )


def paper(desk: Desk) -> dict[str, Output]:
    """Return the PDF of the paper."""
    return {PAPER: desk.read(latex.TARGET)}


def copies(paths: tuple[str, ...]) -> Work:
    """Return the work that copies files of the package into the release."""

    def work(desk: Desk) -> dict[str, Output]:
        return {f"{FOLDER}/{path}": desk.read(path) for path in paths}

    return work


def page(*, paper: bool) -> Work:
    """Return the work that copies the page, whose link to the paper leads to the PDF if any."""

    def work(desk: Desk) -> dict[str, Output]:
        shown = _PDF if paper else b"paper"
        return {f"{FOLDER}/{report.TARGET}": desk.read(report.TARGET).replace(_SOURCES, shown)}

    return work


def manifest(paths: tuple[str, ...]) -> Work:
    """Return the work that lists the files of the release with their digests and sizes."""

    def work(desk: Desk) -> dict[str, Output]:
        return {PATH: json_bytes([_row(desk, path) for path in sorted(paths)])}

    return work


def signable(paths: tuple[str, ...]) -> Work:
    """Return the work that states the digests of the release, for the holder of a key to sign."""

    def work(desk: Desk) -> dict[str, Output]:
        digests = {path.removeprefix(f"{FOLDER}/"): desk.digest(path) for path in paths}
        return {STATEMENT: json_bytes(signing.content(desk.key("name"), digests))}

    return work


def _row(desk: Desk, path: str) -> dict[str, Any]:
    return {
        "path": path.removeprefix(f"{FOLDER}/"),
        "sha256": desk.digest(path),
        "bytes": desk.place(path).stat().st_size,
    }


def recipes(made: Sequence[Recipe], *, paper: bool) -> tuple[Recipe, ...]:
    """Return the recipes that copy what the other tasks of a package make, one for each of them.

    Args:
        made: The other tasks.
        paper: Whether the release has the paper's PDF.
    """
    kept = ((recipe, to_copy(recipe.targets)) for recipe in made)
    return tuple(_copy(recipe, paths, paper) for recipe, paths in kept if paths)


def _copy(maker: Recipe, paths: tuple[str, ...], paper: bool) -> Recipe:
    work = page(paper=paper) if paths == (report.TARGET,) else copies(paths)
    targets = tuple(f"{FOLDER}/{path}" for path in paths)
    name = f"release:copy_{maker.name.replace(':', '_')}"
    return Recipe(name, work, paths, targets, f"copy {paths[0]} into the release")


def closing(paths: tuple[str, ...]) -> tuple[Recipe, ...]:
    """Return the recipes of what is about the whole release, which has these other files."""
    listed = (*paths, CRATE)
    signed = (*listed, PATH)
    return (
        crate.recipe(paths, (PATH, STATEMENT), f"{FOLDER}/"),
        Recipe("release:manifest", manifest(listed), listed, (PATH,), "list the files"),
        Recipe("release:statement", signable(signed), signed, (STATEMENT,), "list what to sign"),
    )
