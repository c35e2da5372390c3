"""Values that differ only by type: a task reruns when the value that it reads differs, typed.

The pairs are written into a real spec file, as a dimension that a toy task prints.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

from metagen.engine.digest import Environment
from metagen.engine.engine import Engine
from metagen.engine.graph import Graph
from metagen.engine.ledger import Ledger
from metagen.engine.workspace import StateFolder, Workspace
from metagen.errors import SpecError
from metagen.spec import Spec, load
from metagen.work import Desk, Recipe

from .lab import Lab
from .tally import Tally

ABSENT = "absent"
TEXTS = (
    "1", "1.0", "true", '"1"', '"1.0"', '"true"', "null", '"null"', "~", ABSENT, "0", "0.0", "-0.0",
    "-0", "false", "no", '"no"', "yes", "1e3", "1000", "1000.0", "0x10", "16", "010", "8", "10",
    "1_000", "2020-01-01", '"2020-01-01"', "1:30", "90", ".5", "0.5", "+1", "1.",
    "9007199254740993", "9007199254740992.0", ".inf", ".nan",
    "é", '"e\\u0301"', '"\\xe9"', "a b", "[1]", "{a: 1}",
)  # fmt: skip
RUNS: list[Any] = []


def show(desk: Desk) -> dict[str, bytes]:
    """Print the dimensions with their types."""
    value = desk.key("architecture.dims")
    RUNS.append(value)
    return {"shown.txt": repr(value).encode()}


RECIPE = Recipe("toy:show", show, (), ("shown.txt",), "")


def measure(lab: Lab) -> Tally:
    """Build every ordered pair of texts, one after the other in one folder."""
    tally = Tally("types")
    tally.must_not("stale", "needless", "crashed")
    specs = _specs(lab, tally)
    pairs = lab.some(permutations(specs.items(), 2), "types")
    for (one, first), (two, second) in lab.progress("types", pairs, lambda pair: pair[0][0]):
        tally.count("pairs")
        with lab.folder() as out:
            _measure(f"{one} -> {two}", out, first, second, tally)
    return tally


def _specs(lab: Lab, tally: Tally) -> dict[str, Spec]:
    """Return the specs with each text; what the door refuses is refused without a traceback."""
    specs: dict[str, Spec] = {}
    with lab.folder() as folder:
        for text in TEXTS:
            try:
                specs[text] = load(_written(folder, text))
            except SpecError:
                tally.count("refused at the door")
            except Exception as error:
                tally.violated("crashed", f"{text}: {error!r}")
    return specs


def _written(folder: Path, text: str) -> Path:
    path = folder / "toy.yaml"
    pins = "" if text == ABSENT else f"architecture:\n  dims:\n    x: {text}\n"
    path.write_text(f'metagen_version: "1.0"\nname: toy\n{pins}')
    return path


def _measure(label: str, out: Path, first: Spec, second: Spec, tally: Tally) -> None:
    _build(out, first)
    must = repr(first.key("architecture.dims")) != repr(second.key("architecture.dims"))
    ran = _build(out, second)
    expected = repr(second.key("architecture.dims")).encode()
    right = (out / "run-toy" / "shown.txt").read_bytes() == expected
    tally.check(right and ran >= must, "stale", label)
    tally.check(ran <= must, "needless", label)


def _build(out: Path, spec: Spec) -> bool:
    """Build the toy package; return whether its task ran."""
    RUNS.clear()
    graph, ledger = Graph(spec, "run-toy", (RECIPE,)), Ledger(StateFolder(out).ledger)
    engine = Engine(graph, Workspace.on_disk(out, graph.run, ledger), Environment(ledger))
    try:
        engine.build(RECIPE, lambda *_: None)
    finally:
        engine.close()
        ledger.close()
    return bool(RUNS)
