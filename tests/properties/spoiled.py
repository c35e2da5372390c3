"""A generated file that a user spoils: the build reports it in a sentence, and loses nothing.

Every structured file of a package is emptied, cut off, given another form, or other values in its
form. Then the package is built, or a sentence names the edit; a failure is never reported as a
mistake of MetaGen's own, and when the edit is discarded the package is clean.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from . import inside
from .inside import Build
from .lab import Lab
from .tally import Tally

FULL = 300
_KINDS = {".json", ".yaml", ".csv", ".bib", ".py"}
_NUMBER = re.compile(r"(?<=[:,\s])-?\d[\d.e+-]*\b")
_VALUE = re.compile(r"(?<=: )[^\s{\[|>][^\n,]*")


def _some_lines(text: str, chance: random.Random) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if chance.random() < 0.8)


FORMS: dict[str, Callable[[str, random.Random], str]] = {
    "nothing": lambda text, chance: "",
    "an empty object": lambda text, chance: "{}",
    "an empty list": lambda text, chance: "[]",
    "null": lambda text, chance: "null\n",
    "a number": lambda text, chance: "3\n",
    "open quotes": lambda text, chance: '"(\n',
    "a part": lambda text, chance: text[: chance.randrange(len(text))],
    "lines left out": _some_lines,
    "nulls for values": lambda text, chance: _VALUE.sub("null", text),
    "texts for numbers": lambda text, chance: _NUMBER.sub('"x"', text),
    "zeros": lambda text, chance: _NUMBER.sub("0", text),
    "negative numbers": lambda text, chance: _NUMBER.sub("-7", text),
    "one number negative": lambda text, chance: _one(text, chance),
}


def _one(text: str, chance: random.Random) -> str:
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return ""
    one = chance.choice(numbers)
    return f"{text[: one.start()]}-7{text[one.end() :]}"


def measure(lab: Lab) -> Tally:
    """Spoil files drawn by chance, of one spec after another."""
    tally = Tally("spoiled")
    tally.must_not("own mistakes", "unnamed", "wrong status", "lost", "not clean after discarding")
    return lab.apart(tally, _spoil, range(lab.size(FULL)))


def _spoil(lab: Lab, number: int) -> Tally:
    tally, spec = Tally("spoiled"), lab.specs[number % len(lab.specs)]
    chance = lab.chance(f"spoiled {number}")
    with lab.folder() as folder:
        out = folder / "out"
        clean = lab.begin(out, spec)
        path = chance.choice(sorted(p for p in clean.tree if Path(p).suffix in _KINDS))
        form = list(FORMS)[number % len(FORMS)]
        mine = FORMS[form](clean.tree[path].decode(), chance).encode()
        (out / path).write_bytes(mine)
        _judge(f"#{number} {path}: {form}", path, mine, inside.build(out, spec), tally)
        back = inside.build(out, spec, discard_edits=True)
        wrong = inside.difference(back.tree, clean.tree)
        tally.check(not wrong, "not clean after discarding", f"#{number} {path}: {form}: {wrong}")
    return tally


def _judge(label: str, path: str, mine: bytes, built: Build, tally: Tally) -> None:
    """A spoiled file stays; what fails because of it names the file."""
    tally.count("spoiled files")
    case = f"{label}: {built.status} {built.output[-600:]}"
    tally.check("MetaGen's own" not in built.output, "own mistakes", case)
    tally.check(built.tree.get(path) == mine, "lost", label)
    tally.check(built.status in (0, 1), "wrong status", case)
    if built.status:
        tally.count("builds that fail")
        named = path.partition("/")[2] in built.output
        tally.check(named, "unnamed", case)
