"""Edited results: none makes a false statement, and each is kept or refused in a sentence.

`benchmarks/results.json`, `report.json` and `curve.csv` get members that are out of range, of
another type, repeated, swapped, hostile or cut off, and entries that are right. Then the package is
built. A refusal names the file and leaves every document as it was. After a build, each entry that
the build did not write is typed, possible, in the block of its size, and marked in the documents.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from typing import Any

from . import inside
from .inside import Build, Tree
from .lab import Lab
from .tally import Tally

FULL = 400
RESULTS, REPORT, CURVE = (
    f"benchmarks/{name}" for name in ("results.json", "report.json", "curve.csv")
)
MARK = "typed by a person"
HOSTILE = (
    "<img src=x onerror=alert(1)>", "[x](http://evil.example)", "| a | b |", "**bold** `code`",
    "\\input{/etc/passwd}", "$x$ % & # _ ^ ~", "{{ 7 * 7 }}", "a\nb", "\x00", "\u202eabc",
    "\ud800", "x" * 100_000, "", "  ", "é" * 150, "---\nlicense: mit", "=cmd()",
)  # fmt: skip
NUMBERS = (7.5, -3, 0, 1, 0.5, math.nan, math.inf, 1e308, 10**40, "0.5", None, True, [0.5], {})
FIELDS: dict[str, tuple[Any, ...]] = {
    "value": NUMBERS,
    "n": (*NUMBERS, 12),
    "steps": (*NUMBERS, 10**9),
    "seed": NUMBERS,
    "spread": NUMBERS,
    "sha256": ("zz", "AB" * 32, "ab" * 31, "ab" * 32, None, 7),
    "size": ("full", "Full", "huge", None, 1),
    "status": ("done", "not run", "not measured", "no score", "measured ", None),
    "origin": ("measured", "imported", "typed", None, "Measured"),
    "interval": ([0.9, 0.1], [0.1], [math.nan, 1], "0.1 to 0.2", [0, 9]),
    "outcomes": ({"unigram": "wins"}, {"unigram": "loses"}, {"nobody": "beats"}, [], {}),
    "seeds": ({"42": 0.1}, {"x": 1}, [], {}),
    "baselines": ({}, {"unigram": -1}, {"unigram": None}, [], {"<b>": 1.0}, {HOSTILE[1]: 1.0}),
    "higher_is_better": (True, None, "yes", 1),
    **dict.fromkeys(("benchmark", "metric", "title", "unit", "dataset", "split"), HOSTILE),
    "command": (*HOSTILE, "python eval.py --size full", None),
    "unknown": (1,),
}
ADDED = {
    "benchmark": "MMLU", "dataset": "cais/mmlu", "sha256": "ab" * 32, "split": "test", "n": 14042,
    "metric": "accuracy", "title": "accuracy", "unit": "share", "higher_is_better": True,
    "value": 0.6512, "steps": 100, "size": "full", "status": "measured", "origin": "typed",
}  # fmt: skip
_EMPTY = {"baselines": {}, "differences": {}, "outcomes": {}, "seeds": {}}
_UNTRAINED = re.compile(r"full model[^.]*(has|was) not (been )?trained")

Edit = Callable[[str, random.Random], str]


def _added(rows: list[Any]) -> dict[str, Any]:
    return dict.fromkeys(rows[0]) | _EMPTY | ADDED


def _field(text: str, chance: random.Random) -> str:
    """Give one field of an entry another value; half of the edits say that they are typed."""
    rows = json.loads(text)
    row, name = chance.choice(rows), chance.choice(list(FIELDS))
    row[name] = chance.choice(FIELDS[name])
    if chance.random() < 0.5 and name != "origin":
        row["origin"] = "typed"
    return json.dumps(rows, indent=2)


def _full(text: str, chance: random.Random) -> str:
    """Add a result of the full model with one field changed, or none."""
    rows = json.loads(text)
    new = _added(rows)
    if chance.random() < 0.5:
        name = chance.choice(list(FIELDS))
        new[name] = chance.choice(FIELDS[name])
    rows.insert(chance.randrange(len(rows) + 1), new)
    return json.dumps(rows, indent=2)


def _score(text: str, chance: random.Random) -> str:
    """Correct a score of the proxy, as a person may."""
    rows = json.loads(text)
    row = chance.choice(rows)
    outcomes = dict.fromkeys(row["baselines"], "cannot tell") if chance.random() < 0.7 else {}
    free = {"seeds": {}, "spread": None, "interval": None, "differences": {}}
    row.update(free, outcomes=outcomes, value=round(chance.random(), 4), origin="typed")
    return json.dumps(rows, indent=2)


def _rows(text: str, chance: random.Random) -> str:
    """Repeat, drop or mix entries."""
    rows = json.loads(text)
    other = {**chance.choice(rows), "origin": "typed"}
    changes: tuple[Callable[[], object], ...] = (
        lambda: rows.append(other), lambda: rows.pop(), lambda: rows.append(None), rows.clear,
        lambda: rows.append({**other, "benchmark": str(other["benchmark"]).upper()}),
        lambda: rows.append({}), lambda: rows.extend([_added(rows)] * 2),
    )  # fmt: skip
    chance.choice(changes)()
    return json.dumps(rows, indent=2)


def _broken(text: str, chance: random.Random) -> str:
    """Break the syntax of a file."""
    forms = (
        text[: chance.randrange(len(text))], "", "null", "[]", "{}", "[" * 50_000, f"\ufeff{text}",
        text.replace(":", ": NaN,", 1), '[{"n": 1, "n": 2}]', "\x00", f"[{'9' * 6000}]",
    )  # fmt: skip
    return chance.choice(forms)


def _line(text: str, chance: random.Random) -> str:
    """Change a line of the training's record."""
    head, *rows = text.splitlines()
    cells = chance.choice(rows or [",,,"]).split(",")
    cells[chance.randrange(len(cells))] = chance.choice(
        ("nan", "inf", "-1", "", "x", "1e999", "1,2", '"', "=cmd()", "3", "1.5", "2,000")
    )
    changed = ",".join(cells)
    return chance.choice(
        (f"{head}\n{changed}\n", f"{text}{changed}\n", f"{text}{rows[-1]}\n", f"{head},x\n",
         f"x{text}", f"{text}999999,1.5,,0.0\n")
    )  # fmt: skip


def _metric(text: str, chance: random.Random) -> str:
    """Change a metric, the run or the figure of the report."""
    report = json.loads(text)
    part = chance.choice(
        [report["report"], report["run"], *report["report"]["metrics"]] * 2 + [report]
    )
    names = [*part, "figure"] if part is report["report"] else list(part)
    name = chance.choice(names)
    part[name] = chance.choice((*FIELDS.get(name, NUMBERS), 0.25, {}))
    return json.dumps(report, indent=2)


EDITS: tuple[tuple[str, Edit], ...] = (
    (RESULTS, _field), (RESULTS, _full), (RESULTS, _score), (REPORT, _metric), (CURVE, _line),
    (RESULTS, _field), (RESULTS, _full), (RESULTS, _rows), (RESULTS, _broken), (CURVE, _broken),
    (RESULTS, _score), (RESULTS, _full),
)  # fmt: skip


def measure(lab: Lab) -> Tally:
    """Edit the files of benchmarks/, of one spec after another."""
    tally = Tally("evidence")
    tally.must_not("false statements", "unnamed", "own mistakes", "rewritten documents", "lost")
    return lab.apart(tally, _edit, range(lab.size(FULL)))


def _edit(lab: Lab, number: int) -> Tally:
    tally, spec = Tally("evidence"), lab.specs[number % len(lab.specs)]
    chance, (name, edit) = lab.chance(f"evidence {number}"), EDITS[number % len(EDITS)]
    with lab.folder() as folder:
        clean = lab.begin(folder / "out", spec)
        path = f"run-{spec.stem}/{name}"
        mine = edit(clean.tree[path].decode(), chance).encode(errors="surrogatepass")
        (folder / "out" / path).write_bytes(mine)
        built = inside.build(folder / "out", spec)
        _judge(f"#{number} {name} {edit.__name__}", path, mine, built, clean.tree, tally)
    return tally


def _judge(label: str, path: str, mine: bytes, built: Build, clean: Tree, tally: Tally) -> None:
    tally.count("edits")
    case = f"{label}: {built.status} {built.output[-400:]}"
    tally.check("MetaGen's own" not in built.output, "own mistakes", case)
    tally.check(built.tree[path] == mine, "lost", case)
    if built.status:
        tally.count("refused")
        tally.check("benchmarks/" in built.output, "unnamed", case)
        documents = [p for p in clean if "/docs/" in p or "/paper/" in p]
        same = all(built.tree.get(p) == clean[p] for p in documents)
        tally.check(same, "rewritten documents", case)
        return
    for wrong in _false(path.partition("/")[0], built.tree, clean):
        tally.violated("false statements", f"{label}: {wrong}")


def _false(run: str, tree: Tree, clean: Tree) -> list[str]:
    """Return what the files of a package say that is not so."""
    rows, own = (json.loads(each[f"{run}/{RESULTS}"]) for each in (tree, clean))
    new = [row for row in rows if row not in own]
    wrong = [f"impossible: {row}" for row in new if not _possible(row)]
    pages = {p: tree[p].decode() for p in tree if p.endswith((".md", ".tex")) and "/code/" not in p}
    marked = [p for p, text in pages.items() if MARK in re.sub(r"\\allowbreak\{\}", "", text)]
    for name in ("README.md", "docs/limitations.md", "paper/sections/evaluation.tex"):
        if bool(new) != (f"{run}/{name}" in marked):
            wrong.append(f"{name} does not tell typed from measured: {new}")
    full = any(row["size"] == "full" for row in rows)
    if full and any(_UNTRAINED.search(text) for text in pages.values()):
        wrong.append("the full model is said to be untrained")
    if full != ("Results of the full model" in pages[f"{run}/README.md"]):
        wrong.append("results of the full model have no block of their own")
    return wrong + [f"{p} holds markup" for p, text in pages.items() if _acts(p, text)]


def _possible(row: dict[str, Any]) -> bool:
    value, n = row["value"], row["n"]
    finite = type(value) in (int, float) and math.isfinite(value)
    share = row["unit"] != "share" or (finite and 0 <= value <= 1)
    counted = n is None or (type(n) is int and n > 0)
    digest = row["sha256"] is None or re.fullmatch("[0-9a-f]{64}", row["sha256"])
    return bool(row["origin"] == "typed" and finite and share and counted and digest)


def _acts(path: str, text: str) -> bool:
    """Return whether a hostile text is markup in a document."""
    body = text.split("\n---\n", 1)[-1]  # the header is YAML, which quotes
    if path.endswith(".tex"):
        return "\\input{/etc" in body
    return "<img" in re.sub(r"\\<|`[^`]*`", "", body) or "[x](http" in re.sub(r"`[^`]*`", "", body)
