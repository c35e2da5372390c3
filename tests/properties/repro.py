"""The same bytes anywhere: hash seed, time zone, locale, folder, umask, clock and jobs vary.

The command runs with real measurements once, to compare all that a package holds, the PDF
included; with faked ones it varies one thing after another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from . import inside, outside
from .inside import Tree
from .lab import Lab
from .tally import Tally

_DOOR = (sys.executable, "-m", "tests.properties.faked")
_REAL = (str(Path(sys.executable).parent / "metagen"),)

# What varies, as environment variables and as words before the command.
VARIATIONS: Mapping[str, Mapping[str, str]] = {
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 4711": {"PYTHONHASHSEED": "4711"},
    "time zone": {"TZ": "Pacific/Kiritimati"},
    "locale": {"LANG": "tr_TR.UTF-8", "LC_ALL": "C", "LANGUAGE": "de"},
    "no UTF-8": {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    "home": {"HOME": "/nonexistent", "USER": "someone", "LOGNAME": "someone"},
    "date of sources": {"SOURCE_DATE_EPOCH": "86400"},
    "threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "width of the terminal": {"COLUMNS": "40", "NO_COLOR": "1"},
    "matplotlib's settings": {"MPLBACKEND": "svg", "MATPLOTLIBRC": "/nonexistent"},
}
_UMASKS = (0o000, 0o077)


def measure(lab: Lab) -> Tally:
    """Build every spec plainly and with each variation."""
    tally = Tally("repro")
    tally.must_not("differs", "failed")
    for spec in lab.specs:
        with lab.folder() as folder:
            plain = _built(_DOOR, spec, folder / "plain", {}, tally)
            for name in lab.progress("repro", lab.some(VARIATIONS, f"repro {spec.stem}")):
                tree = _built(_DOOR, spec, folder / "there", VARIATIONS[name], tally)
                _compare(f"{spec.stem} {name}", tree, plain, tally)
            _elsewhere(spec, folder, plain, tally)
    if lab.number is None:
        with lab.folder() as folder:
            _real(lab.specs[-1], folder, tally)
    return tally


def _elsewhere(spec: Path, folder: Path, plain: Tree, tally: Tally) -> None:
    """Build with another current folder, umask, number of jobs, and five years from now."""
    deep = folder / "a long way" / "dówn" / "there"
    _compare(f"{spec.stem} folder", _built(_DOOR, spec, deep, {}, tally), plain, tally)
    for umask in _UMASKS:
        there = _built(_DOOR, spec, folder / "umask", {}, tally, umask=umask)
        _compare(f"{spec.stem} umask {umask:03o}", there, plain, tally)
    there = _built(_DOOR, spec, folder / "jobs", {}, tally, more=("-n", "4"))
    _compare(f"{spec.stem} four jobs", there, plain, tally)
    there = _built(_DOOR, spec, folder / "later", {"FAKED_CLOCK": str(5 * 365 * 86400)}, tally)
    _compare(f"{spec.stem} five years later", there, plain, tally)


def _real(spec: Path, folder: Path, tally: Tally) -> None:
    """Build twice with all that there is, measurements and PDF, as differently as can be."""
    every = {k: v for variation in VARIATIONS.values() for k, v in variation.items()}
    every |= {"PATH": os.environ["PATH"], "HOME": str(folder)}
    one = _built(_REAL, spec, folder / "one", {}, tally, pdf=True)
    # The record of the machine is the one thing that a build elsewhere repeats.
    (run,) = (folder / "one").glob("out*/run-*")
    every |= {"METAGEN_OBSERVED": str(run)}
    two = _built(_REAL, spec, folder / "dówn there", every, tally, more=("-n", "2"), pdf=True)
    _compare(f"{spec.stem} with real measurements", two, one, tally)
    tally.check(any(path.endswith("main.pdf") for path in one), "failed", "there is no PDF")


def _built(
    door: tuple[str, ...],
    spec: Path,
    folder: Path,
    varied: Mapping[str, str],
    tally: Tally,
    *,
    umask: int = 0o022,
    more: tuple[str, ...] = (),
    pdf: bool = False,
) -> Tree:
    """Build in an empty folder below the given one, which is the current one."""
    folder.mkdir(parents=True, exist_ok=True)
    out = f"out{len(list(folder.iterdir()))}"
    for target in ("synth", "paper") if pdf else ("synth",):
        result = subprocess.run(
            [*door, target, str(spec), "--out", out, *more], cwd=folder, umask=umask,
            env=outside.environment(**varied), capture_output=True, text=True, check=False,
        )  # fmt: skip
        label = f"{spec.stem} {varied} {more}: {result.stderr[-300:]}"
        tally.check(result.returncode == 0, "failed", label)
    return inside.tree(folder / out)


def _compare(label: str, there: Tree, plain: Tree, tally: Tally) -> None:
    tally.count("builds")
    wrong = inside.difference(there, plain)
    tally.check(not wrong, "differs", f"{label}: {wrong}")
