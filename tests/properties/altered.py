"""Real changes of metagen's code: the package after them equals a clean build by the new code.

A constant in a function that shapes an output becomes another one, in a copy of metagen that
processes import. What then no longer builds, or builds the same, is counted apart.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from metagen import paths

from . import inside, mutants, outside
from .code import coverage
from .lab import Lab
from .tally import Tally

FULL = 60


def measure(lab: Lab) -> Tally:
    """Alter one function after another, each in a copy of what was built before."""
    tally = Tally("altered")
    tally.must_not("stale", "tracebacks")
    at_work = coverage(lab.specs[-1], lab).at_work
    places = [p for p in mutants.definitions(paths.PACKAGE) if p.name in at_work]
    lab.chance("altered").shuffle(places)
    return lab.apart(tally, _of_some, lab.shares(places[: lab.size(FULL)]))


def _of_some(lab: Lab, places: Sequence[mutants.Place]) -> Tally:
    tally, spec = Tally("altered"), lab.specs[-1]
    with lab.folder() as folder, inside.shipped(folder) as shipped:
        before = folder / "before"
        first = _synth(shipped, spec, before)
        assert first.returncode == 0, first.stderr
        for place in lab.progress("altered", places):
            chance = lab.chance(f"altered {place}")
            with mutants.altered(shipped / "metagen", place, chance) as how, lab.folder() as there:
                if how:
                    _measure(f"{place}: {how}", shipped, spec, before, there, tally)
    return tally


def _measure(
    label: str, shipped: Path, spec: Path, before: Path, there: Path, tally: Tally
) -> None:
    clean = _synth(shipped, spec, there / "clean")
    tally.count("alterations")
    if clean.returncode:
        tally.count("alterations that do not build")
        return
    shutil.copytree(before, there / "out")
    result = _synth(shipped, spec, there / "out")
    expected = inside.tree(there / "clean")
    tally.count("alterations that show", expected != inside.tree(before))
    wrong = inside.difference(inside.tree(there / "out"), expected)
    right = not wrong and result.returncode == 0
    tally.check(right, "stale", f"{label}: {wrong} {result.stderr[-300:]}")


def _synth(shipped: Path, spec: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build by the code of the copy, which comes first on the path."""
    path = f"{shipped}:{outside.REPOSITORY}"
    return outside.metagen("synth", str(spec), "--out", str(out), cwd=shipped, PYTHONPATH=path)
