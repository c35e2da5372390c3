"""Questions about packages: a dry run, why and impact, how two packages differ.

Everything here leaves the out folder as it is. A dry run and a diff do the work of the tasks in
memory, since only that tells where the same bytes come out and no further task needs to run; so
they are exact, and take as long as a build.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metagen import entries, families
from metagen.engine import changes
from metagen.engine.cache import Shared
from metagen.engine.engine import CURRENT, Engine, Outcome
from metagen.engine.graph import Graph, of_spec, whole
from metagen.engine.ledger import Dependency
from metagen.engine.session import in_memory
from metagen.engine.terminal import Terminal
from metagen.engine.training import KINDS as BOUND_KINDS
from metagen.spec import Spec, load
from metagen.work import Recipe

_NOWHERE = Path("/nonexistent")  # The out folder of a package that is only built in memory.


def dry_run(
    out: Path,
    graphs: Sequence[Graph],
    stage: str,
    terminal: Terminal,
    shared: Shared | None = None,
) -> Iterator[tuple[Engine, list[tuple[Recipe, Outcome]]]]:
    """Yield each graph's engine, after a build in memory, and the tasks that were not current.

    Args:
        out: The out folder; it need not exist.
        graphs: What to build.
        stage: `synth` for whole packages, `paper` for the paper with its PDF.
        terminal: Where long work reports its progress.
        shared: A cache, from which the build would restore what is in it.
    """
    for graph in graphs:
        graph.binding.check()
    with in_memory(out, graphs, terminal.warn, shared) as engines:
        for engine in engines:
            done = []
            for recipe in _stage(engine.graph, stage):
                with terminal.progress(engine.graph, recipe) as progress:
                    done.append((recipe, engine.build(recipe, progress)))
            yield engine, [pair for pair in done if pair[1].action != CURRENT]


def _stage(graph: Graph, stage: str) -> Iterator[Recipe]:
    if stage == "synth":
        return graph.in_order(whole(graph.recipes))
    return graph.in_order(r for r in graph.recipes if r.name.startswith(f"{stage}:"))


def why(engine: Engine, path: str) -> Iterator[tuple[int, str]]:
    """Yield (depth, line) of the tree from a file back to the keys of its spec.

    A file that several others were made from is expanded once, where it is closest to the root; so
    the lines down to any depth are complete.
    """
    depths, pending = {path: 0}, deque([path])
    while pending:
        above = pending.popleft()
        for file in _files_read(engine, above):
            if file not in depths:
                depths[file] = depths[above] + 1
                pending.append(file)
    yield from _why(engine, path, 0, depths)


def _files_read(engine: Engine, path: str) -> list[str]:
    read = engine.dependencies(engine.graph.maker[path])
    return list(dict.fromkeys(d.file for d in read if d.file))


def _why(
    engine: Engine, path: str, depth: int, unexpanded: dict[str, int]
) -> Iterator[tuple[int, str]]:
    recipe = engine.graph.maker[path]
    expand = unexpanded.get(path) == depth
    yield depth, f"{path}  <- {recipe.name}{'' if expand else ' (details on its other line)'}"
    if not expand:
        return
    del unexpanded[path]
    read = engine.dependencies(recipe)
    for dependency in read:
        if dependency.kind == "key":
            yield depth + 1, f"spec: {dependency.name} = {dependency.shown}"
    for dependency in read:
        if dependency.kind in ("source", "version", *BOUND_KINDS):
            yield depth + 1, f"{dependency.kind}: {dependency.name} {dependency.shown}"
    for file in _files_read(engine, path):
        yield from _why(engine, file, depth + 1, unexpanded)


def impact(engine: Engine, key: str) -> Iterator[tuple[str, str]]:
    """Yield (file, what it was made from) of every file that something reaches.

    Args:
        engine: That of a package.
        key: A key of the spec, a file of the package, or a bound file such as `trained:run.json`.
    """
    reached: set[str] = set()
    pending = deque([key])
    while pending:
        cause = pending.popleft()
        for recipe in engine.graph.recipes:
            if recipe.targets[0] in reached:
                continue
            if any(cause in _names(each) for each in engine.dependencies(recipe)):
                reached.update(recipe.targets)
                pending += recipe.targets
                yield from ((target, cause) for target in recipe.targets)


def _names(dependency: Dependency) -> tuple[str, ...]:
    """Return the texts that `impact` takes for a dependency."""
    kind, name, _, _ = dependency
    return (f"{kind}:{name}",) if kind in BOUND_KINDS else (name, dependency.file)


def diff(first: Path, second: Path) -> Iterator[str]:
    """Yield the differences of the packages of two specs as lines: keys, settings, then files.

    The second package is built over the first, both in memory.

    Raises:
        SpecError: A spec is not right.
        TaskError: A package cannot be built.
    """
    one, other = (of_spec(load(path), "both") for path in (first, second))
    yield from _section("keys", _changed_keys(one.spec, other.spec))
    with in_memory(_NOWHERE, [one]) as engines:
        before = next(engines)
        after = before.rebuilt_as(other)
        settings = [_settings(engine) for engine in (before, after)]
        yield from _section("dimensions and settings", _changed_values(*settings))
    with in_memory(_NOWHERE, [one]) as engines:
        before = next(engines)
        _build(before)
        yield from _section("files", _changed_files(before, before.rebuilt_as(other)))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"{title}:"
    first = next(lines, "no difference")
    yield f"  {first}"
    yield from (f"  {line}" for line in lines)


def _changed_keys(one: Spec, other: Spec) -> Iterator[str]:
    for key in one.keys():  # noqa: SIM118, since a Spec is no dict
        if one.digest(key) != other.digest(key):
            yield f"{key}: {one.shown(key)} -> {other.shown(key)}"


def _settings(engine: Engine) -> dict[str, Any]:
    """Return the entries of architecture.yaml by dotted name, without the reasons."""
    recipe = engine.graph.maker[families.ARCHITECTURE]
    engine.build(recipe, lambda *_: None)
    data = engine.workspace.folder.load(families.ARCHITECTURE)
    return changes.settings(entries.parse(families.ARCHITECTURE, data))


def _changed_values(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name, before, now in changes.differences(one, other):
        yield f"{name}: {before} -> {now}"


def _changed_files(before: Engine, after: Engine) -> Iterator[str]:
    old, new = before.graph.maker, after.graph.maker
    yield from (f"{path}: only in the first" for path in sorted(old.keys() - new.keys()))
    for outcome in _build(after):
        for path in outcome.changed:
            yield f"{path}: {outcome.reason}" if path in old else f"{path}: only in the second"


def _build(engine: Engine) -> list[Outcome]:
    recipes = engine.graph.in_order(whole(engine.graph.recipes))
    return [engine.build(recipe, lambda *_: None) for recipe in recipes]
