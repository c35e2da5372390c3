"""Keys that do what they say.

For every leaf key and each value that it allows: more than prose changes in the package, or the
table of keys says what alone the key is for, or the door or the search refuses the value, or a
warning names the key. Two different values that make the same package show that one of them does
nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from metagen import entries, families, files
from metagen.errors import SpecError
from metagen.sizing.devices import CLASSES
from metagen.spec import Spec, load
from metagen.spec.schema import keys
from metagen.spec.table import ONLY
from metagen.tasks.augmentation import KEY as AUGMENTATION
from metagen.work import Recipe
from tests.helpers.plain_desk import PlainDesk

from . import inside, values
from .lab import Lab
from .leaf import Case
from .tally import Tally

_ARTIFACTS = {"training_recipe": "pytorch_skeleton", "benchmark_report": "eval_report"}
_BOTH = ("diffusion", "transformer")  # What is built for either is a diffusion Transformer.
_MOST = 12  # values of a key whose kind has no list of words
_PROSE_FILES = ("docs/", "paper/", "manifest.json", "spec_resolved.yaml")
_PROSE_ENTRIES = {"decisions", "formula", "source", "reason", "note", "how"}


def measure(lab: Lab) -> Tally:
    """Measure every key on the first spec of each family, or a sample of those cases."""
    tally = Tally("honest")
    tally.must_not("silent")
    everything = [Case(spec, key) for spec in first_of_each(lab.specs) for key in keys()]
    return lab.apart(tally, _of_case, lab.some(everything, "honest"))


def first_of_each(specs: Any) -> list[Path]:
    first: dict[str, Path] = {}
    for spec in specs:
        first.setdefault(families.route(load(spec).key), spec)
    return list(first.values())


def _of_case(lab: Lab, case: Case) -> Tally:
    """Count what each value of a key does."""
    tally = Tally("honest")
    if only := keys()[case.key].only:
        tally.count(f"keys that are {ONLY[only].lower().rstrip('.')}")
        return tally
    tally.count("keys")
    graphs = dict(_followed(lab, case, tally))
    # An architecture that no other value has sets its value apart; the rest need not be made.
    for alike in _groups(graphs, _architecture):
        for texts in _groups({text: graphs[text] for text in alike}, _package):
            same = len({_meaning(case, json.loads(text)) for text in texts}) == 1
            tally.check(same, "silent", f"{case}: one package for {', '.join(texts)}")
    return tally


def _followed(lab: Lab, case: Case, tally: Tally) -> Iterator[tuple[str, Any]]:
    """Yield each value with its graph that neither a warning names nor the search refuses."""
    for text, graph in _values(lab, case, tally):
        tally.count("values")
        if any(_names(case.key, problem) for problem in graph.warnings):
            tally.count("warned by name")
            continue
        try:
            _architecture(graph)
        except SpecError:
            tally.count("refused by the search")
            continue
        yield text, graph


def _groups(graphs: dict[str, Any], digest: Callable[[Any], str]) -> list[list[str]]:
    """Return the texts of the values that have one digest; a value by itself needs none."""
    if len(graphs) == 1:
        return [list(graphs)]
    groups: dict[str, list[str]] = {}
    for text, graph in graphs.items():
        groups.setdefault(digest(graph), []).append(text)
    return list(groups.values())


def _meaning(case: Case, raw: Any) -> Any:
    """Return what a value means: the spec language gives some meanings several names."""
    if case.key == "constraints.device":
        return CLASSES.get(raw, raw)
    if case.key == "outputs.artifacts":
        return _without_brought(case.spec, frozenset(_ARTIFACTS.get(name, name) for name in raw))
    if case.key == "architecture.family":
        return _BOTH if raw in _BOTH else raw
    if case.key == "architecture.dims":
        own = _dims(case.spec)
        return frozenset(pin for pin in raw.items() if own.get(pin[0]) != pin[1])
    if case.key == AUGMENTATION:
        words = tuple(raw) if isinstance(raw, list) else raw
        known = getattr(
            families.named(families.route(load(case.spec).key)).task, "augmentations", None
        )
        return known.chosen({case.key: words}.get) if known else repr(raw or [])
    return repr(raw)


@functools.cache
def _dims(spec: Path) -> Mapping[str, Any]:
    """Return the dimensions of a spec: to pin one to the size that it has is to change nothing."""
    graph = inside.package(spec, ())
    return dict(_desk(graph, _designing(graph)).entry(families.ARCHITECTURE, "model"))


def _without_brought(spec: Path, names: frozenset[str]) -> frozenset[str]:
    """Return artifacts without those that others of them are made from, which are built anyway."""
    made = {name: _recipes(spec, name) for name in names}
    return frozenset(n for n in names if not any(made[n] < others for others in made.values()))


@functools.cache
def _recipes(spec: Path, artifact: str) -> frozenset[str]:
    """Return the tasks of a package that has one artifact."""
    graph = inside.package(spec, (values.setting("outputs.artifacts", [artifact]),))
    return frozenset(recipe.name for recipe in graph.recipes)


def _names(key: str, problem: Any) -> bool:
    return key in problem.sentence or key in problem.place


def _values(lab: Lab, case: Case, tally: Tally) -> Iterator[tuple[str, Any]]:
    """Yield each value that the door lets in, as text, with its graph."""
    own = load(case.spec)
    for raw in _raws(own, case.key, lab):
        override = values.setting(case.key, raw)
        try:
            graph = inside.package(case.spec, (override,))
        except SpecError:
            tally.count("refused")
            continue
        yield json.dumps(raw), graph


def _raws(spec: Spec, key: str, lab: Lab) -> list[Any]:
    """Return the raw values to try: all words of the key's kind, and some of every other form."""
    raws = values.others(spec, key, lab.chance(key))
    words = list(values.words(keys()[key].kind.json))
    listed = [raw for raw in raws if all(one in words for one in _parts(raw))]
    others = [raw for raw in raws if raw not in listed]
    return [*listed, *others[:_MOST]]


def _parts(raw: Any) -> list[Any]:
    """Return the first value of a list, which stands for the others, or the only value."""
    return raw[:1] if isinstance(raw, list) else [raw]


def _architecture(graph: Any) -> str:
    """Return a digest of what architecture.yaml says other than in prose."""
    return _made(graph, _designing(graph))


def _designing(graph: Any) -> list[Recipe]:
    """Return the recipe of architecture.yaml."""
    return [r for r in graph.recipes if r.name == "blueprint:architecture"]


def _package(graph: Any) -> str:
    """Return a digest of everything that a package says other than in prose."""
    prose = ("docs:", "paper:", "manifest:")
    return _made(graph, [r for r in graph.recipes if not r.name.startswith(prose)])


def _made(graph: Any, recipes: list[Recipe]) -> str:
    made = _desk(graph, recipes).package
    plain = {path: _plain(path, data) for path, data in made.items() if _is_data(path)}
    return files.sha256(
        files.canonical(plain | {"recipes": [r.name for r in graph.recipes]}).encode()
    )


def _desk(graph: Any, recipes: list[Recipe]) -> PlainDesk:
    """Return a desk on which recipes, and what they need, have run."""
    desk = PlainDesk.of_spec(graph.spec)
    for recipe in graph.in_order(recipes):
        desk.package |= recipe.work(desk)
    return desk


def _is_data(path: str) -> bool:
    return not path.startswith(_PROSE_FILES) and not path.endswith(".md")


def _plain(path: str, data: bytes) -> Any:
    if not path.endswith((".json", ".yaml")):
        return files.sha256(data)
    return _without_prose(entries.parse(path, data))


def _without_prose(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _without_prose(v) for k, v in content.items() if k not in _PROSE_ENTRIES}
    return [_without_prose(part) for part in content] if isinstance(content, list) else content
