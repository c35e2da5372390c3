"""Is a package what its manifest says, and what a clean build of its spec makes elsewhere?"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from metagen import files, paths, programs
from metagen.docs import latex
from metagen.engine import graph
from metagen.engine.manifest import MANIFEST
from metagen.engine.session import built
from metagen.errors import Problem, TaskError

_LEFTOVERS = ("paper/build/", "/__pycache__/")  # what `make pdf` and the scripts leave
_SHOWN_LINES = 20
# Another machine, as far as one can be another: five years on, on an island fourteen hours ahead.
_VARIED = {"PYTHONHASHSEED": "271828", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C"}
_CLOCK = "import time; now = time.time; time.time = lambda: now() + 5 * 365 * 86400; "
_MAIN = "import sys; from metagen.cli import main; main(sys.argv[1:])"


def findings(run: Path, *, vary: bool) -> Iterator[str]:
    """Yield a line for each file that is not what it should be; the first with its difference.

    Args:
        run: A run folder.
        vary: Rebuild under other circumstances than these.

    Raises:
        TaskError: The package cannot be built again.
        UsageError: The folder is no run folder.
    """
    rows = _manifest(run)
    yield from (f"{p}: not as {MANIFEST} says" for p, row in rows.items() if not _holds(run, row))
    built(run)
    with programs.scratch() as folder:
        elsewhere = folder / ("über there" if vary else "out")
        clean = _rebuilt(run, elsewhere, vary=vary)
        yield from _differences(run, clean, {p for p, row in rows.items() if row["edited"]})


def _manifest(run: Path) -> dict[str, Mapping[str, object]]:
    try:
        return {row["path"]: row for row in json.loads((run / MANIFEST).read_bytes())}
    except (OSError, ValueError, LookupError, TypeError):
        place, hint = str(run / MANIFEST), "build the package to its end"
        raise TaskError(Problem("The manifest cannot be read.", place, hint)) from None


def _holds(run: Path, row: Mapping[str, object]) -> bool:
    path = run / str(row["path"])
    return path.is_file() and files.sha256(path.read_bytes()) == row["sha256"]


def _rebuilt(run: Path, elsewhere: Path, *, vary: bool) -> Path:
    """Build the package of a run folder from its spec, in a process of its own."""
    elsewhere.mkdir(parents=True)
    spec = elsewhere / "spec.yaml"
    shutil.copyfile(run / graph.RESOLVED, spec)
    name = run.resolve().name.removeprefix("run-")
    stages = ["synth", "paper"] if (run / latex.TARGET).is_file() else ["synth"]
    for stage in stages:
        jobs = ["-n", "2"] if vary else []
        _metagen([stage, spec.name, "--out", ".", "--run-id", name, "-q", *jobs], elsewhere, vary)
    return elsewhere / f"run-{name}"


def _metagen(arguments: list[str], folder: Path, vary: bool) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "METAGEN_CACHE"}
    environment["PYTHONPATH"] = str(paths.PACKAGE.parent)
    told = subprocess.run(
        [sys.executable, "-c", (_CLOCK if vary else "") + _MAIN, *arguments],
        cwd=folder,
        env=environment | (_VARIED if vary else {}),
        umask=0o077 if vary else -1,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise TaskError(Problem("The clean build failed.", hint=told.stderr.strip()))


def _differences(run: Path, clean: Path, edited: set[str]) -> Iterator[str]:
    here, there = _tree(run), _tree(clean)
    shown = False
    for path in sorted(here.keys() | there.keys()):
        if path not in there:
            yield f"{path}: a clean build does not make it"
        elif path not in here:
            yield f"{path}: missing"
        elif here[path] != there[path]:
            by_hand = ", which was edited by hand" if path in edited else ""
            yield f"{path}: differs from a clean build{by_hand}"
            if not shown:
                yield from _difference(path, there[path], here[path])
            shown = True


def _tree(run: Path) -> dict[str, bytes]:
    found = {p.relative_to(run).as_posix(): p for p in run.rglob("*") if p.is_file()}
    kept = (name for name in found if not any(part in name for part in _LEFTOVERS))
    return {name: found[name].read_bytes() for name in kept}


def _difference(path: str, clean: bytes, here: bytes) -> Iterator[str]:
    """Yield the first lines of the difference of two texts, or where two binaries part."""
    try:
        old, new = (data.decode().splitlines() for data in (clean, here))
    except UnicodeDecodeError:
        pairs = enumerate(zip(clean, here, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(clean), len(here)))
        yield f"  the first of the bytes that differ is number {place:,}"
        return
    names = (f"clean/{path}", f"here/{path}")
    diff = difflib.unified_diff(old, new, *names, lineterm="", n=1)
    yield from (f"  {line}" for line in islice(diff, _SHOWN_LINES))
