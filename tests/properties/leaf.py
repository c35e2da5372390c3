"""Soundness and minimality by leaf key.

For every leaf key of every spec: another value, built into the folder of the first; the folder
must equal a clean build, and what ran must be what an oracle calls needed. Then back again, which
must run nothing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen.spec import load

from . import inside, outside, values
from .inside import Build
from .lab import Lab
from .tally import Tally
from .witness import needed


@dataclass(frozen=True)
class Case:
    """One leaf key of one spec."""

    spec: Path
    key: str

    def __str__(self) -> str:
        return f"{self.spec.stem} {self.key}"


def cases(lab: Lab) -> list[Case]:
    """Return every leaf key of every spec, or a sample."""
    everything = [Case(spec, key) for spec in lab.specs for key in values.leaf_keys()]
    return sorted(lab.some(everything, "leaf"), key=lambda case: case.spec)


def by_spec(lab: Lab) -> list[list[Case]]:
    """Return the same, those of each spec together."""
    return [list(group) for _, group in itertools.groupby(cases(lab), lambda case: case.spec)]


def measure(lab: Lab) -> Tally:
    """Measure every case; the cases of a spec share an out folder, so that history adds up."""
    tally = Tally("leaf")
    tally.must_not("stale", "orphans", "missed", "needless", "not free to go back")
    return lab.apart(tally, _of_one_spec, by_spec(lab))


def _of_one_spec(lab: Lab, cases: list[Case]) -> Tally:
    tally, spec = Tally("leaf"), cases[0].spec
    with lab.folder() as folder:
        before = lab.begin(folder / "out", spec)
        for case in lab.progress("leaf", cases):
            tally.count("keys")
            _measure(lab, case, folder / "out", before, tally)
    return tally


def _measure(lab: Lab, case: Case, out: Path, before: Build, tally: Tally) -> None:
    edits = list(_edits(lab, case))
    if not any(built for _, built in edits):
        tally.count("keys without another value that builds")
        _refused(case, out, before, tally)
    for override, clean in edits:
        if clean:
            tally.count("edits")
            _compare(f"{case.spec.stem} {override}", case, out, override, before, clean, tally)


def _edits(lab: Lab, case: Case) -> Iterator[tuple[str, Build | None]]:
    """Yield another value and no value at all, each as an override with its clean build."""
    chance = lab.chance(str(case))
    raws = values.buildable(case.spec, case.key, chance)
    for raw in raws:
        built = _clean(lab, case, values.setting(case.key, raw))
        yield values.setting(case.key, raw), built
        if built:
            break
    if load(case.spec).source(case.key) != "default":
        override = f"{case.key}=null"
        if not values.refusal(case.spec, override):
            yield override, _clean(lab, case, override)


def _clean(lab: Lab, case: Case, override: str) -> Build | None:
    with lab.folder() as folder:
        built = inside.build(folder / "clean", case.spec, [override])
    return None if built.status else built


def _compare(
    label: str, case: Case, out: Path, override: str, before: Build, clean: Build, tally: Tally
) -> None:
    there = inside.build(out, case.spec, [override])
    judge(label, before, there, clean, tally)
    again = inside.build(out, case.spec, [override])
    tally.check(not again.log.ran, "not settled", f"{label}: {sorted(again.log.ran)}")
    back = inside.build(out, case.spec)
    free = not back.log.ran and back.tree == before.tree
    tally.check(free, "not free to go back", f"{label}: {sorted(back.log.ran)}")


def judge(label: str, before: Build, there: Build, clean: Build, tally: Tally) -> None:
    """Hold an incremental build against a clean one: its files, and what ran."""
    extra = sorted(there.tree.keys() - clean.tree.keys())
    tally.check(not extra, "orphans", f"{label}: {', '.join(extra)}")
    wrong = inside.difference({p: d for p, d in there.tree.items() if p not in extra}, clean.tree)
    tally.check(not wrong and not there.status, "stale", f"{label}: {wrong}{there.status or ''}")
    must = needed(before.log, clean.log)
    unseen = must - there.log.ran - {t for t, o in there.outcomes.items() if o.action == "restore"}
    tally.check(not unseen, "missed", f"{label}: {sorted(unseen)}")
    tally.count("restored from an earlier build", len(must - there.log.ran))
    tally.check(there.log.ran <= must, "needless", f"{label}: {sorted(there.log.ran - must)}")
    tally.count("runs", len(there.log.ran))
    same = [t for t, made in there.log.made.items() if before.log.made.get(t) == made]
    tally.count("same bytes", len(same))


def _refused(case: Case, out: Path, before: Build, tally: Tally) -> None:
    """A key whose every other value no family builds: exit status 2, and nothing changes."""
    raw: Any = values.others(load(case.spec), case.key, random.Random(0))[0]
    result = outside.metagen(
        "synth", str(case.spec), "--out", str(out), values.setting(case.key, raw)
    )
    right = result.returncode == 2 and inside.tree(out) == before.tree
    label = f"{case}: status {result.returncode}, {result.stderr[-200:]}"
    tally.check(right, "refused wrongly", label)
