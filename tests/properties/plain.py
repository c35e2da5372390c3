"""Plain doit cannot get past the engine: whatever its commands did, the next build is clean."""

from __future__ import annotations

import random
from pathlib import Path

from . import inside, outside
from .lab import Lab
from .tally import Tally

FULL = 12
_STEPS = 5  # commands of a history
_LOOKS = (("list", "--all", "--status"), ("info", "docs:{run}/model_card"), ("list", "docs"))
_ACTS = (
    ("synth",),
    ("-n", "2", "synth"),
    ("run", "--always", "docs"),
    ("run", "--single", "docs:{run}/model_card"),
    ("code:{run}/model",),
    ("{out}/run-{run}/code/model.py",),
    ("clean",),
    ("clean", "docs"),
    ("forget",),
    ("forget", "blueprint"),
    ("ignore", "code"),
    ("reset-dep",),
)


def measure(lab: Lab) -> Tally:
    """Run random commands of doit on a package; then build it with doit and with metagen."""
    tally = Tally("plain")
    tally.must_not("tracebacks", "wrote", "stale", "not settled", "unknown variables taken")
    for number in lab.progress("plain", range(lab.size(FULL))):
        spec = lab.specs[number % len(lab.specs)]
        with lab.folder() as folder:
            _history(lab.chance(f"plain {number}"), spec, folder, lab, tally)
    with lab.folder() as folder:
        result = outside.doit("synth", f"spce={lab.specs[0]}", f"out={folder / 'out'}")
        right = result.returncode == 2 and not (folder / "out").exists()
        tally.check(right, "unknown variables taken", f"{result.returncode} {result.stderr}")
    return tally


def _history(chance: random.Random, spec: Path, folder: Path, lab: Lab, tally: Tally) -> None:
    out = folder / "out"
    if chance.random() < 0.7:
        lab.begin(out, spec)
    clean = inside.build(folder / "clean", spec).tree
    commands = [_step(chance, spec, out, tally) for _ in range(_STEPS)]
    result = outside.doit("synth", *_variables(spec, out))
    wrong = inside.difference(inside.tree(out), clean)
    right = not wrong and result.returncode == 0
    tally.check(right, "stale", f"{spec.stem} {commands}: {result.returncode} {wrong}")
    again = inside.build(out, spec)
    ran = sorted(again.log.ran)
    tally.check(not ran, "not settled", f"{spec.stem} {commands}: {ran}")


def _step(chance: random.Random, spec: Path, out: Path, tally: Tally) -> str:
    """Run one command; what only looks must change nothing."""
    looks = chance.random() < 0.3
    words = [w.format(run=spec.stem, out=out) for w in chance.choice(_LOOKS if looks else _ACTS)]
    edit = [f"seed={chance.randrange(9)}"] if chance.random() < 0.5 else []
    before = inside.tree(out)
    result = outside.doit(*words, *_variables(spec, out), *edit)
    label = " ".join([*words, *edit])
    tally.count("commands")
    fine = result.returncode in (0, 1) and "Traceback" not in result.stderr
    tally.check(fine, "tracebacks", f"{label}: {result.returncode} {result.stderr[-600:]}")
    if looks:
        tally.check(inside.tree(out) == before, "wrote", label)
    return label


def _variables(spec: Path, out: Path) -> tuple[str, ...]:
    return (f"spec={spec}", f"out={out}", f"run_id={spec.stem}")
