"""Changes of metagen's own code rebuild exactly what the code makes.

Every top-level definition of metagen is changed, in a copy, so that its syntax tree differs:
the tasks that then run must be those whose code reaches it. What really ran inside each task's
work, seen by the interpreter's profiler, shows that nothing was left out. Comments, docstrings
and formatting must rebuild nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

from metagen import paths
from metagen.engine import desk as desk_module
from metagen.engine.desk import code_root
from metagen.engine.digest import CodeIndex
from metagen.work import Desk
from tests.helpers import building, remembered

from . import inside, mutants
from .inside import Build
from .lab import Lab
from .tally import Tally

# Below these, code does not shape an output: it hands values to the work, and each value handed
# out is in the trace. The harness itself stands between them, and in the place of measurements.
_DESK = {desk_module.__file__, str(Path(__file__).with_name("witness.py")), building.__file__}


@dataclass(frozen=True)
class Coverage:
    """What the work of a spec's tasks ran.

    Attributes:
        seen: By task: the definitions of metagen whose code ran inside its work.
        roots: By task: the definitions and modules that its digest is of, with all they reach.
    """

    seen: dict[str, set[str]]
    roots: dict[str, set[str]]

    @property
    def at_work(self) -> set[str]:
        """The definitions that ran inside any task."""
        return set().union(*self.seen.values())


def measure(lab: Lab) -> Tally:
    """See what runs inside each task of every spec; then change one definition after another."""
    tally = Tally("code")
    tally.must_not("stale", "needless", "other bytes", "reformatting ran")
    covered = {spec: coverage(spec, lab) for spec in lab.specs}
    at_work = set().union(*(each.at_work for each in covered.values()))
    tally.count("definitions seen at work", len(at_work))
    _reached(covered, tally)
    places = lab.shares(lab.some(mutants.definitions(paths.PACKAGE), "code"))
    lab.apart(tally, _of_some, [(share, covered) for share in places])
    return lab.apart(tally, _reformatted, [lab.specs])


def _reached(covered: dict[Path, Coverage], tally: Tally) -> None:
    """What ran inside a task must be among what its digest is of."""
    index = CodeIndex.of_package(paths.PACKAGE)
    for spec, cover in covered.items():
        for task, names in cover.seen.items():
            lost = names - _reach(index, cover.roots[task])
            tally.check(not lost, "stale", f"{spec.stem} {task}: {sorted(lost)} ran unseen")


def _of_some(lab: Lab, given: tuple[Sequence[mutants.Place], dict[Path, Coverage]]) -> Tally:
    tally, (places, covered) = Tally("code"), given
    with _copied(lab) as (copy, out, begun):
        for place in lab.progress("code", places, str):
            tally.count("definitions")
            users = (s for s, cover in covered.items() if place.name in cover.at_work)
            spec = next(users, lab.specs[0])
            with mutants.changed(copy, place):
                roots = covered[spec].roots
                _measure(place.name, out / spec.stem, spec, begun[spec], roots, tally)
    return tally


def _reformatted(lab: Lab, specs: Sequence[Path]) -> Tally:
    tally = Tally("code")
    with _copied(lab) as (copy, out, _):
        mutants.reformat(copy)
        for spec in specs:
            after = inside.build(out / spec.stem, spec)
            tally.check(not after.log.ran, "reformatting ran", f"{sorted(after.log.ran)}")
    return tally


@contextmanager
def _copied(lab: Lab) -> Iterator[tuple[Path, Path, dict[Path, Build]]]:
    """Yield a copy of metagen, and a folder with a package of each spec, built by it."""
    with lab.folder() as folder, inside.shipped(folder) as shipped:
        out = folder / "out"
        yield shipped / "metagen", out, {s: lab.begin(out / s.stem, s) for s in lab.specs}


def _measure(
    name: str, out: Path, spec: Path, before: Build, roots: dict[str, set[str]], tally: Tally
) -> None:
    index = CodeIndex.of_package(paths.PACKAGE)
    reaching = {task for task, names in roots.items() if name in _reach(index, names)}
    after = inside.build(out, spec)
    tally.count("runs", len(after.log.ran))
    tally.check(reaching <= after.log.ran, "stale", f"{name}: {reaching - after.log.ran}")
    extra = after.log.ran - reaching
    tally.check(not extra, "needless", f"{name}: {sorted(extra)}")
    wrong = inside.difference(after.tree, before.tree)
    tally.check(not wrong, "other bytes", f"{name}: {wrong}")
    again = inside.build(out, spec)
    tally.check(not again.log.ran, "not settled", f"{name}: {sorted(again.log.ran)}")


def _reach(index: CodeIndex, roots: set[str]) -> set[str]:
    """Follow references from some roots, independently of the engine's digests."""
    pending, seen = [n for root in roots for n in _expanded(index, root)], set()
    while pending:
        one = pending.pop()
        if one not in seen:
            seen.add(one)
            pending += [n for r in index.references[one] for n in _expanded(index, r)]
    return seen


def _expanded(index: CodeIndex, reference: str) -> list[str]:
    if ":" in reference:
        return [reference] if reference in index.own else []
    return [name for name in index.own if name.startswith(f"{reference}:")]


def coverage(spec: Path, lab: Lab) -> Coverage:
    """Build a spec, and see what runs inside the work of each task."""
    calls: dict[str, set[str]] = {}
    remembered.drawings.clear()  # A figure from memory would hide the code that draws it.
    with lab.folder() as out, _profiled(calls, mutants.spans(paths.PACKAGE)):
        codes = inside.build(out, spec).log.codes
    works = {recipe.name: code_root(recipe) for recipe in inside.package(spec).recipes}
    ran = {task: names for task, names in calls.items() if task in codes}
    return Coverage(ran, {task: {works[task], *codes[task]} for task in ran})


@contextmanager
def _profiled(calls: dict[str, set[str]], places: mutants.Spans) -> Iterator[None]:
    """Note what runs inside the work of every recipe."""
    from . import witness

    real = witness._watched

    def watched(recipe: Any, log: Any, moment: Any) -> Any:
        inner = real(recipe, log, moment)
        seen = calls.setdefault(recipe.name, set())

        def work(desk: Desk) -> dict[str, bytes]:
            profile = _Profile(seen, places)
            sys.setprofile(profile)
            try:
                return inner(desk)
            finally:
                sys.setprofile(None)

        work.__module__, work.__qualname__ = inner.__module__, inner.__qualname__
        return work

    with mock.patch.object(witness, "_watched", watched):
        yield


class _Profile:
    """A profiler that notes the definitions of metagen that are called, outside the desk."""

    def __init__(self, seen: set[str], places: mutants.Spans) -> None:
        self._seen, self._places = seen, places
        self._depth = 0  # of calls below the desk
        self._noted: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take a call or a return."""
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code.co_filename in _DESK and code.co_name != "work":
            self._depth += 1 if event == "call" else -1
        elif event == "call" and not self._depth and code not in self._noted:
            self._noted.add(code)
            self._seen.update(mutants.at(self._places, code))
