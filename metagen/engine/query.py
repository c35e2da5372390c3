"""Questions about packages: a dry run, why and impact, how two packages differ, verification.

Everything here leaves the out folder as it is. A dry run and a diff do the work of the tasks in
memory, since only that tells where the same bytes come out and no further task needs to run; so
they are exact, and take as long as a build.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from metagen import entries, families, files, paths, programs
from metagen.docs import latex
from metagen.engine.desk import OBSERVED
from metagen.engine.engine import CURRENT, Engine, Outcome
from metagen.engine.graph import MANIFEST, RESOLVED, Graph, of_run, of_spec, whole
from metagen.engine.session import in_memory
from metagen.engine.statements import resting_on_edits
from metagen.engine.terminal import Terminal
from metagen.errors import Problem, TaskError
from metagen.spec import Spec, load
from metagen.work import Recipe

_NOWHERE = Path("/nonexistent")  # The out folder of a package that is only built in memory.
_LEFTOVERS = ("paper/build/", "/__pycache__/")  # Written by `make pdf` and by running the scripts.
_DIFF_LINES = 20
# Another machine, as far as one can be another: five years on, on an island fourteen hours ahead.
_VARIED = {"PYTHONHASHSEED": "271828", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C"}
_CLOCK = "import time; now = time.time; time.time = lambda: now() + 5 * 365 * 86400; "
_MAIN = "import sys; from metagen.cli import main; main(sys.argv[1:])"


def dry_run(
    out: Path, graphs: Sequence[Graph], stage: str, terminal: Terminal
) -> Iterator[tuple[Engine, list[tuple[Recipe, Outcome]]]]:
    """Yield each graph's engine, after a build in memory, and the tasks that were not current.

    Args:
        out: The out folder; it need not exist.
        graphs: What to build.
        stage: `synth` for whole packages, `paper` for the paper with its PDF.
        terminal: Where long work reports its progress.
    """
    with in_memory(out, graphs) as engines:
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
        if dependency.kind in ("source", "version"):
            yield depth + 1, f"{dependency.kind}: {dependency.name} {dependency.shown}"
    for file in _files_read(engine, path):
        yield from _why(engine, file, depth + 1, unexpanded)


def impact(engine: Engine, key: str) -> Iterator[tuple[str, str]]:
    """Yield (file, what it was made from) of every file that a key of the spec reaches."""
    reached: set[str] = set()
    pending = deque([key])
    while pending:
        cause = pending.popleft()
        for recipe in engine.graph.recipes:
            if recipe.targets[0] in reached:
                continue
            if any(cause in (d.name, d.file) for d in engine.dependencies(recipe)):
                reached.update(recipe.targets)
                pending += recipe.targets
                yield from ((target, cause) for target in recipe.targets)


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
        before, after = engines[0], engines[0].rebuilt_as(other)
        settings = [_settings(engine) for engine in (before, after)]
        yield from _section("dimensions and settings", _changed_values(*settings))
    with in_memory(_NOWHERE, [one]) as engines:
        _build(engines[0])
        yield from _section("files", _changed_files(engines[0], engines[0].rebuilt_as(other)))


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
    sections = entries.parse(families.ARCHITECTURE, data)
    return dict(_flat({n: s for n, s in sections.items() if n not in ("proxy", "decisions")}))


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _changed_values(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*one, *other]):
        before, after = one.get(name, "none"), other.get(name, "none")
        if before != after:
            yield f"{name}: {_number(before)} -> {_number(after)}"


def _number(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def _changed_files(before: Engine, after: Engine) -> Iterator[str]:
    old, new = before.graph.maker, after.graph.maker
    yield from (f"{path}: only in the first" for path in sorted(old.keys() - new.keys()))
    for outcome in _build(after):
        for path in outcome.changed:
            yield f"{path}: {outcome.reason}" if path in old else f"{path}: only in the second"


def _build(engine: Engine) -> list[Outcome]:
    recipes = engine.graph.in_order(whole(engine.graph.recipes))
    return [engine.build(recipe, lambda *_: None) for recipe in recipes]


def verify(run: Path, *, vary: bool) -> Iterator[str]:
    """Yield a line for each file that its manifest, or a clean build elsewhere, contradicts.

    The first difference from the clean build is shown. After an edit of results, the typed numbers
    and the statements that rest on the edit come before it.

    Args:
        run: A run folder.
        vary: Rebuild under another hash seed, time zone, locale, folder, umask and clock.

    Raises:
        TaskError: The package cannot be built again.
        UsageError: The folder is not a run folder.
    """
    rows = _manifest(run)
    for path, row in rows.items():
        if not _matches(run, row):
            yield f"{path}: not as {MANIFEST} says"
    of_run(run)  # Refuses a folder that is not a run folder.
    with programs.scratch() as folder:
        elsewhere = folder / ("über there" if vary else "out")
        clean = _rebuild(run, elsewhere, vary=vary)
        yield from _differences(run, clean, {p for p, row in rows.items() if row["edited"]})


def _manifest(run: Path) -> dict[str, Mapping[str, object]]:
    try:
        return {row["path"]: row for row in json.loads((run / MANIFEST).read_bytes())}
    except (OSError, ValueError, LookupError, TypeError):
        place, hint = str(run / MANIFEST), "build the whole package again"
        raise TaskError(Problem("The manifest cannot be read.", place, hint)) from None


def _matches(run: Path, row: Mapping[str, object]) -> bool:
    path = run / str(row["path"])
    return path.is_file() and files.sha256(path.read_bytes()) == row["sha256"]


def _rebuild(run: Path, elsewhere: Path, *, vary: bool) -> Path:
    """Build the package of a run folder again from its resolved spec, in another process."""
    elsewhere.mkdir(parents=True)
    spec = elsewhere / "spec.yaml"
    shutil.copyfile(run / RESOLVED, spec)
    name = run.resolve().name.removeprefix("run-")
    stages = ["synth", "paper"] if (run / latex.TARGET).is_file() else ["synth"]
    for stage in stages:
        jobs = ["-n", "2"] if vary else []
        line = [stage, spec.name, "--out", ".", "--run-id", name, "-q", *jobs]
        _metagen(line, elsewhere, vary, run)
    return elsewhere / f"run-{name}"


def _metagen(arguments: list[str], folder: Path, vary: bool, run: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "METAGEN_CACHE"}
    environment["PYTHONPATH"] = str(paths.PACKAGE.parent)
    # Another machine, or another hour, trains at another speed; the package says at which.
    environment[OBSERVED] = str(run.resolve())
    done = subprocess.run(
        [sys.executable, "-c", (_CLOCK if vary else "") + _MAIN, *arguments],
        cwd=folder,
        env=environment | (_VARIED if vary else {}),
        umask=0o077 if vary else -1,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TaskError(Problem("The clean build failed.", hint=done.stderr.strip()))


def _differences(run: Path, clean: Path, edited: set[str]) -> Iterator[str]:
    here, there = _contents(run), _contents(clean)
    yield from resting_on_edits(here, there, edited)
    shown = False
    for path in sorted(here.keys() | there.keys()):
        if path not in there:
            yield f"{path}: a clean build does not make it"
        elif path not in here:
            yield f"{path}: missing"
        elif here[path] != there[path]:
            by_hand = ", which was edited by hand" if path in edited else ""
            yield f"{path}: differs from a clean build{by_hand}"
            if not shown:
                yield from _difference(path, there[path], here[path])
            shown = True


def _contents(run: Path) -> dict[str, bytes]:
    every = {p.relative_to(run).as_posix(): p for p in run.rglob("*") if p.is_file()}
    names = (name for name in every if not any(part in name for part in _LEFTOVERS))
    return {name: every[name].read_bytes() for name in names}


def _difference(path: str, clean: bytes, here: bytes) -> Iterator[str]:
    """Yield the first lines of a text difference, or the position of the first other byte."""
    try:
        old, new = (data.decode().splitlines() for data in (clean, here))
    except UnicodeDecodeError:
        pairs = enumerate(zip(clean, here, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(clean), len(here)))
        yield f"  the first different byte is number {place:,}"
        return
    names = (f"clean/{path}", f"here/{path}")
    lines = difflib.unified_diff(old, new, *names, lineterm="", n=1)
    yield from (f"  {line}" for line in islice(lines, _DIFF_LINES))
