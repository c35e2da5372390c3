"""`docs/provenance.json`: where each number of each document comes from.

The task of a document writes the facts with a digit that it printed beside the document, to a file
below `docs/provenance/`. One task joins them, so nothing is rendered a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from metagen import entries, files
from metagen.docs.fact import Printed
from metagen.docs.sources import FILES, SPEC
from metagen.measure.evidence import EVIDENCE
from metagen.measure.results import IMPORTED, MEASURED, PROXY, RESULTS, TYPED
from metagen.spec.schema import keys
from metagen.work import Desk, Recipe, Work

TARGET = "docs/provenance.json"
FOLDER = "docs/provenance/"
FIELDS = (
    *("document", "printed", "fact", "value", "unit", "source", "pointer"),
    *("entries", "formula", "task", "how"),
)
DECLARED, COMPUTED, NAME = "declared in the spec", "computed", "part of a name"
DEFAULT = "default of a key of the spec"
ORIGINS = {
    MEASURED: "measured here",
    IMPORTED: "imported, not measured here",
    TYPED: "typed by a person",
}
# How the formula of a derived fact reads; others are named by the entries that they come from.
FORMULAS = {
    **{
        name.replace(" ", "_"): f"number of constraints with the verdict '{name}'"
        for name in ("met", "violated", "open", "bounded", "not declared")
    },
    "sentence": "the figure and the limit of a constraint, in one unit and rounded",
    "limit": "the limit of a constraint, rounded",
    "computed": "the figure of a constraint, rounded, with the range of an estimate",
    "limited": "number of constraints that the spec declares",
    "step": "a step of a constraint, rounded",
    "changes": "what a step of a constraint changes of the design",
    "sources": "the sources of the verdicts and of the published models, each once",
    "context": "context window of the family at these dimensions",
    "trained": "length of a training sequence where it is shorter than the context window",
    "final_validation_loss": "last validation loss of the curve",
    "judgement": "baselines that the proxy beats, and those it loses to, by metric",
    "not_run": "names of the benchmarks without a result",
    "unused": "declared keys that the package does not follow, with the reasons",
}
# Where an entry repeats what the spec declares; elsewhere the task of the file says how it came.
_REPEATED = ("blueprint/constraints.json#/*/required", "code/launch/plan.json#/declared")
# Counts of the family, in a file of measurements.
_COUNTED = tuple(f"{FILES['ablations']}#/*{name}" for name in ("parameters", "share", "resized"))
_BY_STAGE = {"spec": DECLARED, "measure": ORIGINS[MEASURED], "benchmarks": ORIGINS[MEASURED]}
_TRAINED = "trained/"
_POSITION = re.compile(r"/\d+(?=/|$)")
_BY_FILE = {FILES["lock"]: "read from the libraries installed here", FILES["launch"]: COMPUTED}


def part(document: str) -> str:
    """Return the path of the facts that a document printed."""
    return f"{FOLDER}{document}.json"


def targets(document: str) -> tuple[str, str]:
    """Return the targets of a task that writes a document: it, and the facts that it printed."""
    return document, part(document)


def written(document: str, data: bytes, printed: Iterable[Printed]) -> dict[str, bytes]:
    """Return the files of `targets`."""
    return {document: data, part(document): files.json_bytes(_rows(printed))}


def _rows(printed: Iterable[Printed]) -> list[dict[str, Any]]:
    """Return each fact once that was printed with a digit, in the order of their names."""
    rows = {
        (str(item.fact.name), item.text): {
            "printed": item.text,
            "fact": item.fact.name,
            "value": item.fact.value,
            "unit": item.fact.unit,
            "entries": list(item.fact.entries),
        }
        for item in printed
        if any(map(str.isdigit, item.text))
    }
    return [rows[key] for key in sorted(rows)]


def recipe(recipes: Sequence[Recipe]) -> Recipe:
    """Return the task that joins what the documents of a package printed.

    Args:
        recipes: The tasks of the package, which make the documents and the sources of their facts.
    """
    makers = {target: each.name for each in recipes for target in each.targets}
    parts = tuple(path for path in makers if path.startswith(FOLDER))
    sources = tuple(path for path in (SPEC, *FILES.values(), EVIDENCE) if path in makers)
    doc = "join where the numbers of all documents come from"
    return Recipe("docs:provenance", joined(parts, makers), (*parts, *sources), (TARGET,), doc)


def joined(parts: Sequence[str], makers: Mapping[str, str]) -> Work:
    """Return the work that writes `docs/provenance.json`.

    Args:
        parts: The files below `docs/provenance/`.
        makers: The name of the task that makes each path.
    """

    def work(desk: Desk) -> dict[str, bytes]:
        rows = [
            _traced(desk, path.removeprefix(FOLDER).removesuffix(".json"), row, makers)
            for path in sorted(parts)
            for row in json.loads(desk.read(path))
        ]
        return {TARGET: files.json_bytes(rows)}

    return work


def _traced(
    desk: Desk, document: str, row: Mapping[str, Any], makers: Mapping[str, str]
) -> dict[str, Any]:
    """Return a row of a document with its source, the task that made it, and how it came."""
    addresses = row["entries"]
    source, way = common(addresses)
    formula = _formula(row["fact"], addresses)
    made = {
        **row,
        "document": document,
        "source": source or None,
        "pointer": entries.pointer("", way).removeprefix("#") if source else None,
        "entries": _folded(addresses) if formula else [],
        "formula": formula,
        "task": makers.get(source),
        "how": f"{COMPUTED}: {formula}" if formula else _how(desk, source, way, row, makers),
    }
    return {field: made[field] for field in FIELDS}


def common(addresses: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the file of some entries, and the keys of the entry there that holds them all.

    Entries of several files belong to the file with the most of them, or to the first.
    """
    if not addresses:
        return "", ()
    split = [entries.split(each) for each in addresses]
    names = [path for path, _ in split]
    file = max(dict.fromkeys(names), key=names.count)
    ways = [keys for path, keys in split if path == file]
    shared = []
    for level in zip(*ways, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return file, tuple(shared)


def _folded(addresses: Sequence[str]) -> list[str]:
    """Return addresses; those that differ in positions of lists alone are one, with stars."""
    shapes: dict[str, list[str]] = {}
    for address in addresses:
        shapes.setdefault(_POSITION.sub("/*", address), []).append(address)
    return [shape if each[1:] else each[0] for shape, each in shapes.items()]


def _formula(fact: str, addresses: Sequence[str]) -> str | None:
    """Return how a derived fact follows from its entries; None for a fact that is an entry."""
    room, _, rest = fact.partition(".")
    if room != "derived" or _is_entry(rest, addresses):
        return None
    name = rest.partition(".")[0]
    return FORMULAS.get(name, "follows from these entries")


def _is_entry(name: str, addresses: Sequence[str]) -> bool:
    """Return whether a figure of the family is an entry of the file that lists them."""
    return list(addresses) == [entries.pointer(FILES["shape"], (name, "value"))]


def _how(
    desk: Desk,
    source: str,
    way: tuple[str, ...],
    row: Mapping[str, Any],
    makers: Mapping[str, str],
) -> str:
    if not source:
        return NAME
    if source == SPEC:
        return DEFAULT if _is_default(way, row["value"]) else DECLARED
    if source == RESULTS:
        return _of_a_result(desk, way)
    if source.startswith(_TRAINED):
        return _of_the_training(desk, source, way)
    if _is_typed(desk, source, way):
        return ORIGINS[TYPED]
    address = entries.pointer(source, way)
    if any(fnmatchcase(address, pattern) for pattern in _REPEATED):
        return DECLARED
    if any(fnmatchcase(address, pattern) for pattern in _COUNTED):
        return COMPUTED
    if source in _BY_FILE:
        return _BY_FILE[source]
    return _BY_STAGE.get(makers.get(source, "").partition(":")[0], COMPUTED)


def _is_default(way: tuple[str, ...], value: Any) -> bool:
    """Return whether a value of the resolved spec is the one that its key has by default."""
    key = keys().get(".".join(way))
    return bool(key and key.default is not None and key.kind.parse(key.default) == value)


def _of_a_result(desk: Desk, way: tuple[str, ...]) -> str:
    """Return how the row of a result came; a row without a result names what the spec declares."""
    origin, size = (desk.entry(RESULTS, way[0], name) for name in ("origin", "size"))
    if not origin or size == PROXY:
        return ORIGINS[origin] if origin else DECLARED
    of = (
        _checkpoint(desk) if _entry(desk, RESULTS, way[0], "bound") else "not bound to a checkpoint"
    )
    if origin == TYPED:
        return f"{ORIGINS[TYPED]}; {of}"
    return f"imported ({_program(desk, way[0])}; {of})"


def _program(desk: Desk, row: str) -> str:
    """Return what measured a result of the full model, with the name of its file."""
    names = [_entry(desk, RESULTS, row, "harness", name) for name in ("name", "version", "file")]
    named = " ".join(str(name) for name in names if name)
    return named or "code/eval.py"


def _of_the_training(desk: Desk, source: str, way: tuple[str, ...]) -> str:
    """Return how a number about the trained model came; a planned one names its own source."""
    if source == FILES["plan"] and way[1:] == ("planned",):
        return f"{COMPUTED}: {desk.entry(source, way[0], 'planned_source')}"
    return f"imported (training run; {_checkpoint(desk)})"


def _checkpoint(desk: Desk) -> str:
    digest = _entry(desk, FILES["trained"], "checkpoint", "sha256")
    return f"checkpoint {digest}" if digest else "no checkpoint"


def _entry(desk: Desk, path: str, *way: str) -> Any:
    """Return an entry of a file; None if there is none."""
    try:
        return desk.entry(path, *way)
    except LookupError:
        return None


def _is_typed(desk: Desk, source: str, way: tuple[str, ...]) -> bool:
    """Return whether a person edited an entry of a file."""
    if not desk.edited(source):
        return False
    own = desk.generated(source)
    if own is None:
        return True
    try:
        return bool(entries.at(entries.parse(source, own), way) != desk.entry(source, *way))
    except (LookupError, ValueError):
        return True
