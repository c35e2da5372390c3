"""How the packages of two specs differ: in keys, in dimensions and settings, and in files.

The second package is built over the first, both in memory; so this takes as long as a build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metagen import entries, families
from metagen.engine import graph
from metagen.engine.causes import sentence
from metagen.engine.engine import Engine, Outcome
from metagen.engine.session import imagined
from metagen.spec import Spec, load

_NOWHERE = Path("/nonexistent")  # a package in memory has no out folder


def lines(first: Path, second: Path) -> Iterator[str]:
    """Yield what differs, a line each, as it becomes known.

    Raises:
        SpecError: One of them is not right.
        TaskError: One of the packages cannot be built.
    """
    one, other = (graph.package(load(path), "both") for path in (first, second))
    yield from _headed("keys", _keys(one.spec, other.spec))
    with imagined(_NOWHERE, [one]) as engines:
        before, after = engines[0], engines[0].over(other)
        settings = [_settings(engine) for engine in (before, after)]
        yield from _headed("dimensions and settings", _values(*settings))
    with imagined(_NOWHERE, [one]) as engines:
        _build(engines[0])
        yield from _headed("files", _files(engines[0], engines[0].over(other)))


def _headed(title: str, found: Iterator[str]) -> Iterator[str]:
    yield f"{title}:"
    nothing = True
    for line in found:
        nothing = False
        yield f"  {line}"
    if nothing:
        yield "  no difference"


def _keys(one: Spec, other: Spec) -> Iterator[str]:
    for key in one.keys():  # noqa: SIM118, which takes a Spec for a dict
        if one.digest(key) != other.digest(key):
            yield f"{key}: {one.shown(key)} -> {other.shown(key)}"


def _settings(engine: Engine) -> dict[str, Any]:
    """Return each entry of architecture.yaml but the reasons, by its dotted name."""
    recipe = engine.package.maker[families.ARCHITECTURE]
    engine.build(recipe, lambda *_: None)
    data = engine.place.folder.load(families.ARCHITECTURE)
    sections = entries.parse(families.ARCHITECTURE, data)
    return dict(_flat({n: s for n, s in sections.items() if n not in ("proxy", "decisions")}))


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _values(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*one, *other]):
        before, after = one.get(name, "none"), other.get(name, "none")
        if before != after:
            yield f"{name}: {_number(before)} -> {_number(after)}"


def _number(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def _files(before: Engine, after: Engine) -> Iterator[str]:
    for path in sorted(before.package.maker.keys() - after.package.maker.keys()):
        yield f"{path}: only in the first"
    made = before.package.maker
    for outcome in _build(after):
        why = sentence(outcome.causes)
        for path in outcome.changed:
            yield f"{path}: {why}" if path in made else f"{path}: only in the second"


def _build(engine: Engine) -> list[Outcome]:
    ordered = engine.package.in_order(graph.whole(engine.package.recipes))
    return [engine.build(recipe, lambda *_: None) for recipe in ordered]
