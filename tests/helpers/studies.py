"""Studies of a package whose trainings take milliseconds, and workers of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.quick_code import quick_code
from metagen import paths
from metagen.search import storage
from metagen.search.plan import Plan, Settings
from metagen.search.shapes import Shapes
from metagen.search.space import Space
from metagen.search.study import Study
from metagen.sizing import explain
from metagen.sizing import search as sizing
from metagen.spec import load
from metagen.trials import Outcome, Point, Trial, Watch

SPEC = paths.specs() / "tabular" / "tabular_regressor.yaml"
NAMES = ("held_out", "parameters")


def space_of(path: Path, *overrides: str, sized: bool = True) -> Space:
    """Return the choices of a spec."""
    desk = explain.desk_over(load(path, overrides))
    solution = sizing.solution(desk)
    base = solution.family.proxy(solution.design.dims)
    proxy = {"model": base, **solution.family.sections(base, desk.key, reduced=True)}
    return Space(desk, Shapes(solution, base), proxy, sized)


def plan_of(
    folder: Path,
    *,
    count: int = 12,
    sampler: str = "tpe",
    objectives: tuple[str, ...] = NAMES,
    seeds: int = 0,
    seconds: float = 0.0,
    seed: int = 3,
    database: bool = False,
) -> Plan:
    """Return the plan of a study of `SPEC`; each of the 8 steps of a trial takes some seconds."""
    package = quick_code(space_of(SPEC).proxy, folder / "starts", seconds)
    settings = Settings(count, 8, seed, sampler, objectives, seeds)
    return Plan(folder, settings, load(SPEC), package, database)


def pretended(seen: list[tuple[float, int]] | None = None) -> Callable[..., Outcome]:
    """Return what stands in for `trials.run`: a loss that is a formula of the settings.

    Args:
        seen: Takes the learning rate and the step of each validation.
    """

    def pretend(
        package: Any,
        trial: Trial,
        cache: Any,
        watch: Watch = lambda *each: None,
        python: Any = None,
    ) -> Outcome:
        train, model = trial.settings["train"], trial.settings["model"]
        loss = abs(train["learning_rate"] - 0.002) * 100 + model["d_model"] / 100
        loss += 0.001 * (trial.seed % 7)
        curve = [Point(step, loss * (1 + 1 / step)) for step in range(1, 9)]
        for point in curve:
            if seen is not None:
                seen.append((train["learning_rate"], point.step))
            watch(point.step, 8, float(f"{point.val_loss:.3f}"))
        numbers = {"step": 8, "val_loss": curve[-1].val_loss}
        return Outcome(curve[-1].val_loss, tuple(curve), numbers, 3, 5, 7, 7, "rows", {}, 0.1, 9)

    return pretend


def begun(plan: Plan, url: str | None = None) -> Study:
    """Return a study whose folder is written, and whose first trial waits for a worker."""
    plan.save()
    study = Study(plan, storage.opened(plan.folder, url))
    study.begin()
    return study


def joined(folder: Path, *options: str, grace: float = 2.0) -> subprocess.Popen[str]:
    """Start a worker of a study as a process of its own."""
    start = "import sys; from metagen.cli import main; main(sys.argv[1:])"
    words = ["search", "join", str(folder), "--grace", str(grace), *options]
    command = [sys.executable, "-c", start, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
