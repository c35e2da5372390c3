"""What a build would do, found by doing it in memory.

The work of a task is a pure function, so a plan does the work of every task that would run, writes
nothing, and knows where the same bytes come out and the wave stops. Hence it names exactly the
tasks that a build will then run, and it takes as long as their work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from metagen.engine.engine import CURRENT, Engine, Outcome
from metagen.engine.graph import whole
from metagen.engine.package import Package
from metagen.engine.session import imagined
from metagen.engine.terminal import Terminal
from metagen.work import Recipe


def plan(
    out: Path, packages: Sequence[Package], stage: str, terminal: Terminal
) -> Iterator[tuple[Engine, list[tuple[Recipe, Outcome]]]]:
    """Yield each package's engine, after the build, with the tasks that were not current.

    Args:
        out: The out folder; it need not exist.
        packages: What would be built.
        stage: `synth` for whole packages, `paper` for the paper with its PDF.
        terminal: Who is told how far long work is.
    """
    with imagined(out, packages) as engines:
        for engine in engines:
            wanted = _wanted(engine.package, stage)
            done = [(recipe, _built(engine, recipe, terminal)) for recipe in wanted]
            yield engine, [pair for pair in done if pair[1].action != CURRENT]


def _wanted(package: Package, stage: str) -> Iterator[Recipe]:
    if stage == "synth":
        return package.in_order(whole(package.recipes))
    return package.in_order(r for r in package.recipes if r.name.startswith(f"{stage}:"))


def _built(engine: Engine, recipe: Recipe, terminal: Terminal) -> Outcome:
    with terminal.working(engine.package, recipe) as progress:
        return engine.build(recipe, progress)
