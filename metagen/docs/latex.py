"""The paper's PDF: one latexmk run in a scratch folder, isolated from the user's TeX set-up.

The package's Makefile runs the same command in the same environment, so it gives the same bytes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from metagen import programs
from metagen.docs import paper
from metagen.errors import Problem, TaskError
from metagen.work import Desk, Recipe

TARGET = "paper/main.pdf"
_TIMEOUT = 300  # seconds; the paper takes about three
_MOST_OVERFULL = 2.0  # points; a smaller overfull box is not visible

_ERROR = re.compile(
    r"^(?:(?:\./)?(?P<file>\S+?):(?P<line>\d+): (?P<what>.+)|! (?:LaTeX Error: )?(?P<fatal>.+))$",
    re.MULTILINE,
)
_NOT_FOUND = re.compile(r"File `\S+\.(?:sty|cls|def|fd)' not found|Font \S+ not loadable")
_UNDEFINED = re.compile(r"^.*Warning: (?:Citation|Reference) .*undefined.*$", re.MULTILINE)
_OVERFULL = re.compile(r"^Overfull \\[hv]box \(([\d.]+)pt too (?:wide|high)\).*$", re.MULTILINE)


@dataclass(frozen=True)
class Compiled:
    """A PDF and the log of the LaTeX run."""

    pdf: bytes
    log: str


def compiled(desk: Desk, paths: tuple[str, ...]) -> Compiled:
    """Compile the paper from its files.

    Raises:
        TaskError: TeX is not installed, or the paper does not compile.
    """
    require_tex()
    desk.version("tex")
    (log, made) = (f"paper/{paper.BUILD}/main.{kind}" for kind in ("log", "pdf"))
    ended = programs.run(
        lambda scratch: paper.COMMAND,
        _environment,
        {path: desk.read(path) for path in paths} | {f"paper/{paper.BUILD}/sections/.keep": b""},
        (log, made, programs.STDOUT),
        timeout=_TIMEOUT,
        folder="paper",
    )
    if ended.late:
        raise TaskError(f"LaTeX did not finish within {_TIMEOUT} seconds.")
    texts = {name: data.decode(errors="replace") for name, data in ended.left.items()}
    if ended.status or made not in ended.left:
        raise TaskError(_first_error(texts.get(log, ""), texts[programs.STDOUT]))
    return Compiled(ended.left[made], texts[log])


def _environment(scratch: Path) -> dict[str, str]:
    """Return an environment with the user's PATH, for TeX, and no other variable of the user."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(scratch / "paper")} | paper.ENVIRONMENT


def require_tex() -> None:
    """Raise a TaskError if a TeX program is missing."""
    if not all(map(shutil.which, paper.PROGRAMS)):
        raise TaskError(Problem(paper.MISSING_TEX))


def flaws(log: str) -> list[str]:
    """Return undefined references and citations, and visibly overfull boxes."""
    overfull = (m[0] for m in _OVERFULL.finditer(log) if float(m[1]) > _MOST_OVERFULL)
    return [*_UNDEFINED.findall(log), *overfull]


def _first_error(log: str, output: str) -> Problem:
    hint = paper.PACKAGES_HINT if _NOT_FOUND.search(log) else ""
    error = _ERROR.search(log)
    if error is None:
        last = output.strip().splitlines()[-1:] or ["no output"]
        return Problem(f"LaTeX: {last[0]}", "paper/main.tex", hint)
    place = f"paper/{error['file']}:{error['line']}" if error["file"] else "paper/main.tex"
    return Problem(f"LaTeX: {error['what'] or error['fatal']}", place, hint)


def recipe(figures: Iterable[Recipe] = ()) -> Recipe:
    """Return the task of `paper/main.pdf`; it fails if TeX is missing or cannot compile the paper.

    Args:
        figures: Tasks of figures that only some packages have.
    """
    inputs = (*INPUTS, *_of_the_paper(figures))

    def pdf(desk: Desk) -> dict[str, bytes]:
        return {TARGET: compiled(desk, inputs).pdf}

    return Recipe("paper:pdf", pdf, inputs, (TARGET,), "compile the paper with LaTeX")


def _of_the_paper(recipes: Iterable[Recipe]) -> tuple[str, ...]:
    targets = (target for recipe in recipes for target in recipe.targets)
    return tuple(target for target in targets if target.startswith("paper/"))


INPUTS = _of_the_paper(paper.RECIPES)
