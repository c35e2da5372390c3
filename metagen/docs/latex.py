"""The paper's PDF: one latexmk run in a scratch folder, cut off from the user's TeX set-up.

The package's Makefile runs the same command in the same environment, so it gives the same bytes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from metagen.docs import paper
from metagen.errors import Problem, TaskError
from metagen.work import Desk, Recipe

TARGET = "paper/main.pdf"
_TIMEOUT = 300  # seconds; the paper takes about three
_MOST_OVERFULL = 5.0  # points; less does not show

_ERROR = re.compile(
    r"^(?:(?:\./)?(?P<file>\S+?):(?P<line>\d+): (?P<what>.+)|! (?:LaTeX Error: )?(?P<fatal>.+))$",
    re.MULTILINE,
)
_NOT_FOUND = re.compile(r"File `\S+\.(?:sty|cls|def|fd)' not found|Font \S+ not loadable")
_UNDEFINED = re.compile(r"^.*Warning: (?:Citation|Reference) .*undefined.*$", re.MULTILINE)
_OVERFULL = re.compile(r"^Overfull \\[hv]box \(([\d.]+)pt too (?:wide|high)\).*$", re.MULTILINE)


@dataclass(frozen=True)
class Compiled:
    """A PDF and what LaTeX said while it made it."""

    pdf: bytes
    log: str


def pdf(desk: Desk) -> dict[str, bytes]:
    """Return `paper/main.pdf`.

    Raises:
        TaskError: TeX is not installed, or the paper does not compile.
    """
    return {TARGET: compiled(desk).pdf}


def compiled(desk: Desk) -> Compiled:
    """Compile the paper; see `pdf`."""
    require_tex()
    desk.version("tex")
    with tempfile.TemporaryDirectory(prefix="metagen-paper-") as folder:
        for path in INPUTS:
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(desk.read(path))
        return _run(Path(folder) / "paper")


def require_tex() -> None:
    """Raise a TaskError when a TeX program is missing."""
    if not all(map(shutil.which, paper.PROGRAMS)):
        raise TaskError(Problem(paper.MISSING_TEX))


def flaws(log: str) -> list[str]:
    """Return undefined references and citations, and boxes that stick out visibly."""
    overfull = (m[0] for m in _OVERFULL.finditer(log) if float(m[1]) > _MOST_OVERFULL)
    return [*_UNDEFINED.findall(log), *overfull]


def _run(folder: Path) -> Compiled:
    (folder / paper.BUILD / "sections").mkdir(parents=True)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    try:
        process = subprocess.run(
            paper.COMMAND,
            cwd=folder,
            env=environment | paper.ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TaskError(f"LaTeX did not finish within {_TIMEOUT} seconds.") from None
    log = _text(folder / paper.BUILD / "main.log")
    if process.returncode:
        raise TaskError(_first_error(log, process.stdout.decode(errors="replace")))
    return Compiled((folder / paper.BUILD / "main.pdf").read_bytes(), log)


def _first_error(log: str, output: str) -> Problem:
    hint = paper.PACKAGES_HINT if _NOT_FOUND.search(log) else ""
    found = _ERROR.search(log)
    if found is None:
        last = output.strip().splitlines()[-1:] or ["no output"]
        return Problem(f"LaTeX: {last[0]}", "paper/main.tex", hint)
    place = f"paper/{found['file']}:{found['line']}" if found["file"] else "paper/main.tex"
    return Problem(f"LaTeX: {found['what'] or found['fatal']}", place, hint)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


INPUTS = tuple(target for recipe in paper.RECIPES for target in recipe.targets)
RECIPES = (Recipe("paper:pdf", pdf, INPUTS, (TARGET,), "compile the paper with LaTeX"),)
