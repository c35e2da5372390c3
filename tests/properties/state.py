"""Damaged state: whatever happens to the engine's files or outputs, the next build heals.

Any byte range of any file below `.metagen` is overwritten, cut off or removed, alone or together
with deleted outputs, before a build of the same or of an edited spec. That build must end without
a traceback and without a flag, in the bytes of a clean one; the build after it must run nothing.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from . import inside
from .inside import Tree
from .lab import Lab
from .tally import Tally

FULL = 300
_EDITS = ((), ("description=edited after the damage",), ("constraints.parameter_budget.max=9M",))


def _removed(path: Path, chance: random.Random) -> None:
    path.unlink()


def _emptied(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def _cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) + 1)])


def _grown(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(100))


def _overwritten(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        start = chance.randrange(len(data))
        length = min(len(data) - start, chance.choice((1, 8, 100, 5000)))
        data[start : start + length] = chance.randbytes(length)
    path.write_bytes(data)


def _zeroed(path: Path, chance: random.Random) -> None:
    """Zero what a power cut may leave unwritten: a page."""
    data = bytearray(path.read_bytes())
    page = chance.randrange(len(data) // 4096 + 1) * 4096
    end = min(len(data), page + 4096)
    data[page:end] = bytes(end - page)
    path.write_bytes(data)


def _replaced_by_folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    _removed, _emptied, _cut, _grown, _overwritten, _zeroed, _replaced_by_folder,
)  # fmt: skip


def measure(lab: Lab) -> Tally:
    """Damage, build, compare, build again."""
    tally = Tally("state")
    tally.must_not("tracebacks", "stale", "not settled")
    spec = lab.specs[-1]
    with lab.folder() as folder:
        lab.begin(folder / "out", spec)
        for number, edit in enumerate(_EDITS):
            inside.build(folder / f"clean{number}", spec, edit)
        clean = [inside.tree(folder / f"clean{number}") for number in range(len(_EDITS))]
        for number in lab.progress("state", range(lab.size(FULL))):
            with lab.folder() as place:
                out = Path(shutil.copytree(folder / "out", place / "out"))
                _measure(lab, number, spec, out, clean, tally)
    return tally


def _measure(lab: Lab, number: int, spec: Path, out: Path, clean: list[Tree], tally: Tally) -> None:
    chance = lab.chance(f"state {number}")
    told = ", ".join(damaged(out, number, chance))
    edit = chance.randrange(len(_EDITS))
    tally.count("damages")
    try:
        built = inside.build(out, spec, _EDITS[edit])
        again = inside.build(out, spec, _EDITS[edit])
    except Exception as error:
        tally.violated("tracebacks", f"#{number} {told}: {error!r}")
        return
    wrong = inside.difference(built.tree, clean[edit])
    right = not wrong and built.status == 0
    tally.check(right, "stale", f"#{number} {told}: {built.status} {wrong} {built.said[-200:]}")
    tally.check(not again.log.ran, "not settled", f"#{number} {told}: {sorted(again.log.ran)}")


def damaged(out: Path, number: int, chance: random.Random) -> list[str]:
    """Damage one or two files of the state, the ledger every other time; say how."""
    state = out / ".metagen"
    if number % 25 == 24:
        shutil.rmtree(state)
        return ["all of .metagen removed"]
    files = sorted(p for p in state.rglob("*") if p.is_file())
    ledger = [p for p in files if p.name.startswith("ledger")]
    chosen = [chance.choice(ledger if number % 2 else files)]
    told = []
    for path in [*chosen, *(chance.sample(files, 1) if chance.random() < 0.3 else [])]:
        damage = chance.choice(DAMAGES)
        if path.is_file():
            damage(path, chance)
            told.append(f"{path.relative_to(state)}{damage.__name__}")
    if chance.random() < 0.3:
        output = chance.choice(sorted(p for p in out.glob("run-*/**/*") if p.is_file()))
        output.unlink()
        told.append(f"{output.relative_to(out)} deleted")
    return told
