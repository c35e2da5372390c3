"""Going back is free: A, B, A runs nothing, however many specs lie between."""

from __future__ import annotations

from pathlib import Path

from . import inside, values
from .lab import Lab
from .tally import Tally

FULL = 20
_STEPS = 6  # specs that a history visits before it goes back


def measure(lab: Lab) -> Tally:
    """Visit some specs in one folder and go back through them."""
    tally = Tally("revert")
    tally.must_not("ran on the way back", "other bytes")
    for number in lab.progress("revert", range(lab.size(FULL))):
        with lab.folder() as folder:
            _back(lab, number, folder / "out", tally)
    return tally


def _back(lab: Lab, number: int, out: Path, tally: Tally) -> None:
    chance, spec = lab.chance(f"revert {number}"), lab.specs[number % len(lab.specs)]
    keys = chance.sample(values.leaf_keys(), _STEPS * 3)
    found = [(key, raw) for key in keys for raw in values.buildable(spec, key, chance, 1)]
    settings = [[], *([values.setting(key, raw)] for key, raw in found[:_STEPS])]
    builds = [lab.begin(out, spec), *(inside.build(out, spec, one) for one in settings[1:])]
    for setting, there in reversed(list(zip(settings, builds, strict=True))):
        if not there.status:
            back = inside.build(out, spec, setting)
            tally.count("ways back")
            ran = sorted(back.log.ran)
            tally.check(not ran, "ran on the way back", f"{spec.stem} {setting}: {ran}")
            wrong = inside.difference(back.tree, there.tree)
            tally.check(not wrong, "other bytes", f"{spec.stem} {setting}: {wrong}")
