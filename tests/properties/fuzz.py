"""Random histories: whatever happened before, the last build ends in the bytes of a clean one.

A history is ten random steps: edits of the spec, of templates and of metagen's code, edited, cut
off and deleted outputs, damaged state, interrupted, killed and concurrent builds. Edits by hand
are discarded at its end.
"""

from __future__ import annotations

import functools
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from metagen import files

from . import inside, mutants, outside, state, values
from .lab import Lab
from .tally import Tally

FULL = 300
STEPS = 10
_SLOW = 0.1  # share of slow steps, with processes of their own, against quick ones


@dataclass
class History:
    """One history: where it plays, what the spec says now, and what happened."""

    spec: Path
    shipped: Path
    out: Path
    chance: random.Random
    values: list[tuple[str, str]]
    overrides: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    @property
    def settings(self) -> list[str]:
        """The overrides as texts."""
        return list(self.overrides.values())

    def output(self) -> Path | None:
        """Return one of the files of the package."""
        found = sorted(p for p in self.out.glob("run-*/**/*") if p.is_file())
        return self.chance.choice(found) if found else None


class Killed(BaseException):
    """Stands for a kill at one moment of a build in this process."""


def _edit(history: History) -> str:
    key, override = history.chance.choice(history.values)
    history.overrides[key] = override
    return override


def _revert(history: History) -> str:
    history.overrides.clear()
    return "revert"


def _undo(history: History) -> str:
    if history.overrides:
        history.overrides.pop(history.chance.choice(sorted(history.overrides)))
    return "undo"


def _seed(history: History) -> str:
    history.overrides["seed"] = f"seed={history.chance.randrange(5)}"
    return history.overrides["seed"]


def _delete(history: History) -> str:
    output = history.output()
    if output:
        output.unlink()
    return f"delete {output and output.name}"


def _truncate(history: History) -> str:
    output = history.output()
    if output:
        output.write_bytes(output.read_bytes()[: output.stat().st_size // 2])
    return f"cut off {output and output.name}"


def _edit_output(history: History) -> str:
    output = history.output()
    if output:
        output.write_bytes(output.read_bytes() + b"\n# by hand\n")
    return f"edit {output and output.name}"


def _damage(history: History) -> str:
    if not any(p.is_file() for p in history.out.glob(".metagen/ledger*")):
        return "nothing to damage"
    return f"damage {', '.join(state.damaged(history.out, 0, history.chance))}"


def _template(history: History) -> str:
    found = sorted((history.shipped / "templates").rglob("*.md"))
    path = history.chance.choice(found)
    path.write_bytes(path.read_bytes() + b"\nAdded.\n")
    return f"template {path.name}"


def _code(history: History) -> str:
    place = history.chance.choice(mutants.definitions(history.shipped / "metagen"))
    mutants.change(history.shipped / "metagen", place)
    return f"code {place}"


def _interrupt(history: History) -> str:
    """Begin a build that ends before or after one of its writes."""
    left, before = history.chance.randrange(30), history.chance.random() < 0.5
    real = files.write_atomic

    def write(*arguments: object, **options: object) -> None:
        nonlocal left
        left -= 1
        if before and left < 0:
            raise Killed
        real(*arguments, **options)  # type: ignore[arg-type]
        if left < 0:
            raise Killed

    try:
        with mock.patch.object(files, "write_atomic", write):
            _build(history)
    except Killed:
        return "interrupt"
    return "interrupt too late"


def _kill(history: History) -> str:
    process = outside.start(*_command(history), SHIPPED=str(history.shipped))
    time.sleep(0.5 + history.chance.random())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return "kill"


def _together(history: History) -> str:
    other = history.chance.choice(history.values)[1]
    commands = (_command(history), _command(history, other))
    started = [outside.start(*one, SHIPPED=str(history.shipped)) for one in commands]
    for process in started:
        process.communicate()
    return f"together with {other}"


QUICK: tuple[Callable[[History], str], ...] = (
    _edit, _edit, _revert, _undo, _seed, _delete, _truncate, _edit_output, _damage, _template,
    _code, _interrupt,
)  # fmt: skip
SLOW = (_kill, _together)


def measure(lab: Lab) -> Tally:
    """Play histories, each with its own draws."""
    tally = Tally("fuzz")
    tally.must_not("stale", "tracebacks")
    return lab.apart(tally, _history, range(lab.size(FULL)))


def _history(lab: Lab, number: int) -> Tally:
    tally, spec = Tally("fuzz"), lab.specs[number % len(lab.specs)]
    chance = lab.chance(f"fuzz {number}")
    with lab.folder() as folder, inside.shipped(folder) as shipped:
        history = History(spec, shipped, folder / "out", chance, _good(lab.seed, spec))
        _play(lab, number, history, tally)
    return tally


@functools.cache
def _good(seed: int, spec: Path) -> list[tuple[str, str]]:
    """Return one or two other values for every key of a spec."""
    chance = random.Random(f"{seed}:fuzz {spec.stem}")
    return [
        (key, values.setting(key, raw))
        for key in values.leaf_keys()
        for raw in values.buildable(spec, key, chance, most=2)
    ]


def _play(lab: Lab, number: int, history: History, tally: Tally) -> None:
    tally.count("histories")
    for _ in range(STEPS):
        steps = SLOW if history.chance.random() < _SLOW else QUICK
        try:
            history.told.append(history.chance.choice(steps)(history))
            if history.chance.random() < 0.6:
                history.told.append(f"build {_build(history).status}")
        except Exception as error:
            tally.violated("tracebacks", f"#{number} {'; '.join(history.told)}: {error!r}")
            return
        tally.count("steps")
    _end(lab, number, history, tally)


def _end(lab: Lab, number: int, history: History, tally: Tally) -> None:
    """Compare; a history whose edits together build nothing goes back to its spec first."""
    clean = _clean(lab, history)
    if clean.status:
        tally.count("histories whose edits build nothing")
        last = _build(history, discard_edits=True)
        same = last.status == clean.status
        tally.check(same, "stale", f"#{number} {'; '.join(history.told)}: builds, and not clean")
        history.told.append(_revert(history))
        clean = _clean(lab, history)
    last = _build(history, discard_edits=True)
    wrong = inside.difference(last.tree, clean.tree)
    wrong += f" status {last.status} {last.said[-300:]}" if last.status else ""
    tally.check(not wrong, "stale", f"#{number} {'; '.join(history.told)}: {wrong}")


def _clean(lab: Lab, history: History) -> inside.Build:
    with lab.folder() as folder:
        return inside.build(folder / "clean", history.spec, history.settings)


def _build(history: History, **rules: bool) -> inside.Build:
    return inside.build(history.out, history.spec, history.settings, **rules)


def _command(history: History, *more: str) -> tuple[str, ...]:
    name = ("--run-id", history.spec.stem, "--out", str(history.out))
    return ("synth", str(history.spec), *name, *history.settings, *more)
