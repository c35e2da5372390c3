"""A study from a spec to its results, and a worker that joins one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from metagen import families, files, trials
from metagen.engine import doors
from metagen.engine.cache import Cache
from metagen.engine.graph import Graph
from metagen.engine.session import Options, Session
from metagen.engine.terminal import Terminal
from metagen.errors import Problem, TaskError, UsageError
from metagen.measure import warm
from metagen.search import objectives, results
from metagen.search import plan as plans
from metagen.search.front import Row
from metagen.search.plan import Plan, Settings
from metagen.search.study import Study, storage_of
from metagen.search.worker import Say, Worker
from metagen.sizing import explain

CACHE = "cache"
PREFIX = "search-"


def folder_of(out: Path, run: str) -> Path:
    """Return the folder of a package's studies, beside its run folder."""
    return out / f"{PREFIX}{run.removeprefix('run-')}"


def planned(graph: Graph, out: Path, settings: Settings, terminal: Terminal) -> Plan:
    """Make the code of a package, and the plan of a study of it.

    Raises:
        UsageError: An objective cannot be computed for the spec.
        TaskError: The code cannot be made.
        SpecError: The spec leaves nothing open.
    """
    # Making the code takes seconds, and what is asked for is known before.
    family = families.named(families.route(graph.spec.key))
    objectives.figures(explain.desk_over(graph.spec), family, settings.objectives)
    session = Session(out, [graph], terminal, Options(""))
    if doors.run(session, "code"):
        raise TaskError("The code of the package could not be made.")
    package = trials.package_of(out / graph.run)
    plan = Plan(folder_of(out, graph.run), settings, graph.spec, package)
    plan.space  # noqa: B018
    plan.save()
    return plan


def usual_steps(graph: Graph) -> int:
    """Return the steps of the quick training of a package's benchmark."""
    family = families.named(families.route(graph.spec.key))
    return family.task.benchmark.steps["quick"]


def cache_of(plan: Plan, shared: str | None) -> Cache:
    """Return the cache of a study's trials: the shared one, or one in its folder."""
    folder = shared or plan.folder / CACHE
    if shared is None and (blocked := files.obstacle(plan.folder, f"{CACHE}/-")):
        raise UsageError(Problem("A link or a file is in the way.", blocked, "remove it"))
    return trials.cache_in(folder)


def work(plan: Plan, cache: Cache, url: str | None, grace: float, say: Say, jobs: int = 1) -> Study:
    """Run trials of a study until all have ended, some at a time; return the study.

    Raises:
        TaskError: The code cannot be trained, or no point of the space can start.
    """
    study = Study(plan, storage_of(plan.folder, url), grace)
    study.begin()
    errors: list[BaseException] = []

    def more() -> None:
        try:
            own = Study(plan, storage_of(plan.folder, url), grace)
            _run(plan, own, cache, say)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=more, daemon=True) for _ in range(jobs - 1)]
    for thread in threads:
        thread.start()
    _run(plan, study, cache, say)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return study


def _run(plan: Plan, study: Study, cache: Cache, say: Say) -> None:
    with warm.python(plan.package) as python:
        Worker(plan, study, cache, say, python).run()


def searched(plan: Plan, cache: Cache, say: Say, **how: Any) -> list[Row]:
    """Run a study to its end and write its results; return its trials."""
    study = work(plan, cache, how.get("url"), how["grace"], say, how.get("jobs", 1))
    with warm.python(plan.package) as python:
        return results.write(plan, study, cache, say, python)


def joined(folder: Path, shared: str | None, url: str | None, grace: float, say: Say) -> Plan:
    """Run trials of the study in a folder until all have ended.

    Raises:
        UsageError: The folder holds no study of this version.
    """
    plan = plans.read(folder)
    work(plan, cache_of(plan, shared), url, grace, say)
    return plan
