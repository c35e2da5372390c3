"""Going back is free: A, B, A runs nothing; nor does a second folder with the same cache."""

from __future__ import annotations

from pathlib import Path

from . import inside, outside, values
from .lab import Lab
from .tally import Tally

FULL = 20
_STEPS = 6  # specs that a history visits before it goes back


def measure(lab: Lab) -> Tally:
    """Visit some specs in one folder and go back through them; then share a cache."""
    tally = Tally("revert")
    tally.must_not("ran on the way back", "ran beside a cache", "other bytes")
    for number in lab.progress("revert", range(lab.size(FULL))):
        with lab.folder() as folder:
            _back(lab, number, folder / "out", tally)
    for spec in lab.progress("revert", lab.some(lab.specs, "revert")):
        with lab.folder() as folder:
            _shared(spec, folder, tally)
    return tally


def _back(lab: Lab, number: int, out: Path, tally: Tally) -> None:
    chance, spec = lab.chance(f"revert {number}"), lab.specs[number % len(lab.specs)]
    keys = chance.sample(values.leaf_keys(), _STEPS * 3)
    found = [(key, raw) for key in keys for raw in values.buildable(spec, key, chance, 1)]
    settings = [[], *([values.setting(key, raw)] for key, raw in found[:_STEPS])]
    builds = [inside.build(out, spec, one) for one in settings]
    for setting, there in reversed(list(zip(settings, builds, strict=True))):
        if not there.status:
            back = inside.build(out, spec, setting)
            tally.count("ways back")
            ran = sorted(back.log.ran)
            tally.check(not ran, "ran on the way back", f"{spec.stem} {setting}: {ran}")
            wrong = inside.difference(back.tree, there.tree)
            tally.check(not wrong, "other bytes", f"{spec.stem} {setting}: {wrong}")


def _shared(spec: Path, folder: Path, tally: Tally) -> None:
    """Build in one folder and in a second one, of another name, with one cache."""
    cache = ("--cache", str(folder / "cache"))
    first = outside.metagen("synth", str(spec), "--out", str(folder / "one"), *cache)
    log = folder / "two.log"
    second = outside.metagen(
        "synth", str(spec), "--out", str(folder / "two"), *cache, FAKED_LOG=str(log)
    )
    label = f"{spec.stem}: {first.stderr[-200:]} {second.stderr[-200:]}"
    tally.check(first.returncode == second.returncode == 0, "failed", label)
    tally.count("folders beside a cache")
    ran = sorted(outside.noted(log, "began"))
    tally.check(not ran, "ran beside a cache", f"{spec.stem}: {ran}")
    wrong = inside.difference(inside.tree(folder / "two"), inside.tree(folder / "one"))
    tally.check(not wrong, "other bytes", f"{spec.stem} beside a cache: {wrong}")
