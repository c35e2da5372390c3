"""What the ledger knows, told to a person: where a file comes from, what a key leads to."""

from __future__ import annotations

from collections.abc import Iterator

from metagen.engine.engine import Engine
from metagen.engine.graph import RESOLVED

_READ_BY_THE_GRAPH = {"metagen_version", "name", "outputs.artifacts"}


def why(engine: Engine, path: str) -> Iterator[tuple[int, str]]:
    """Yield (depth, line) of the chain from a file back to the keys of the spec.

    A file that several others were made from is followed once.
    """
    yield from _why(engine, path, 0, set())


def _why(engine: Engine, path: str, depth: int, seen: set[str]) -> Iterator[tuple[int, str]]:
    recipe = engine.package.maker[path]
    yield depth, f"{path}  <- {recipe.name}{', told above' if path in seen else ''}"
    if path in seen:
        return
    seen.add(path)
    read = engine.dependencies(recipe)
    for dependency in read:
        if dependency.kind == "key":
            yield depth + 1, f"spec: {dependency.name} = {dependency.shown}"
    for dependency in read:
        if dependency.kind in ("source", "version"):
            yield depth + 1, f"{dependency.kind}: {dependency.name} {dependency.shown}"
    for inner in dict.fromkeys(d.file for d in read if d.file):
        yield from _why(engine, inner, depth + 1, seen)


def impact(engine: Engine, key: str) -> Iterator[tuple[str, str]]:
    """Yield (file, what it was made from) of every file that a key of the spec reaches."""
    reached: set[str] = set()
    pending = [key]
    while pending:
        cause = pending.pop(0)
        for recipe in engine.package.recipes:
            if recipe.targets[0] in reached:
                continue
            if any(cause in (d.name, d.file) for d in engine.dependencies(recipe)):
                reached.update(recipe.targets)
                pending += recipe.targets
                yield from ((target, cause) for target in recipe.targets)


def unused(engine: Engine) -> list[str]:
    """Return the keys that somebody declared and that nothing in the package was made from."""
    others = [r for r in engine.package.recipes if r.targets != (RESOLVED,)]
    used = {d.name for r in others for d in engine.dependencies(r) if d.kind == "key"}
    spec = engine.package.spec
    declared = [key for key in spec.keys() if spec.source(key) != "default"]  # noqa: SIM118
    return [key for key in declared if key not in used | _READ_BY_THE_GRAPH]
