"""An input that changes while the build runs is used by this build or by the next.

As each task in turn begins its work, something that it reads is changed: a template, the spec, or
a file of the package. After one more build the package must be what it is when the same change
comes before a build.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from metagen import paths

from . import inside
from .lab import Lab
from .tally import Tally
from .witness import Moment

FULL = 50
_SPEC = "source specification"


@dataclass(frozen=True)
class Case:
    """Which task is at work, before or after it has read, and what is changed meanwhile."""

    task: str
    reads: str
    moment: str

    def __str__(self) -> str:
        return f"{self.reads} as {self.task} {self.moment}"


def measure(lab: Lab) -> Tally:
    """Change one input of one task for each case."""
    tally = Tally("toctou")
    tally.must_not("stale")
    spec = lab.specs[-1]
    with lab.folder() as folder:
        plain = lab.begin(folder / "out", spec)
    everything = [
        Case(task, read, moment)
        for task, reads in plain.log.reads.items()
        for read in (*reads, _SPEC)
        if read.startswith(("read ", "source "))
        for moment in ("begins", "ends")
    ]
    chance = lab.chance("toctou")
    cases = chance.sample(everything, min(len(everything), lab.size(FULL)))
    for case in lab.progress("toctou", cases):
        tally.count("changes")
        with lab.folder() as folder:
            _measure(lab, case, spec, folder, tally)
    return tally


def _measure(lab: Lab, case: Case, spec: Path, folder: Path, tally: Tally) -> None:
    slow = mock.patch(
        "metagen.engine.signatures._RACY_NS", 0
    )  # The end of a build then seems slow.
    spec = Path(shutil.copy(spec, folder))
    with inside.shipped(folder), slow:
        during, before = folder / "during", folder / "before"
        name = f"run-{spec.stem}"
        inside.build(during, spec, moment=_change(case, spec, during / name))
        there = inside.build(during, spec)
        settled = inside.build(during, spec)
        _prepare(lab, case, spec, before, before / name)
        expected = inside.build(before, spec)
        wrong = inside.difference(there.tree, expected.tree)
        tally.check(not wrong, "stale", f"{case}: {wrong}")
        tally.check(not settled.log.ran, "not settled", f"{case}: {sorted(settled.log.ran)}")


def _prepare(lab: Lab, case: Case, spec: Path, out: Path, run: Path) -> None:
    """Make the same change before a build; a template has it already."""
    if case.reads.startswith("read "):
        lab.begin(out, spec)
        _edit(run / case.reads.removeprefix("read "))


def _change(case: Case, spec: Path, run: Path) -> Moment:
    """Return what makes the change at its moment, once."""
    kind, _, name = case.reads.partition(" ")
    left = [run / name if kind == "read" else paths.source(name)]
    if case.reads == _SPEC:
        left = [spec]

    def change(moment: str, task: str) -> None:
        if left and (task, moment) == (case.task, case.moment):
            _edit(left.pop())

    return change


def _edit(path: Path) -> None:
    """Change a file so that whatever reads it still can."""
    data = path.read_bytes()
    if b"metagen_version" in data and b"description: " in data:
        path.write_bytes(data.replace(b"description: ", b"description: Edited. ", 1))
    elif path.suffix == ".csv":
        path.write_bytes(data + data.splitlines(keepends=True)[-1])
    elif path.suffix == ".json":
        path.write_bytes(data + b"\n")
    else:
        comments = {".md": b"\nA line more.\n", ".tex": b"\n% more\n", ".bib": b"\n% more\n"}
        path.write_bytes(data + comments.get(path.suffix, b"\n# more\n"))
