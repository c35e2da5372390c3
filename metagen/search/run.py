"""A study from a spec to its results, and a worker that joins one."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from metagen import families, files, trials
from metagen.engine import doors
from metagen.engine.cache import Cache
from metagen.engine.engine import Warn
from metagen.engine.graph import Graph
from metagen.engine.session import Options, Session
from metagen.engine.terminal import Progress, Terminal
from metagen.errors import Problem, TaskError, UsageError
from metagen.search import objectives, results, storage
from metagen.search import plan as plans
from metagen.search.front import Row
from metagen.search.plan import Plan, Settings
from metagen.search.study import Study
from metagen.search.worker import Say, Worker, still
from metagen.sizing import explain

CACHE = "cache"
PREFIX = "search-"


def folder_of(out: Path, run: str) -> Path:
    """Return the folder of a package's studies, beside its run folder."""
    return out / f"{PREFIX}{run.removeprefix('run-')}"


def planned(
    graph: Graph, out: Path, settings: Settings, terminal: Terminal, url: str | None = None
) -> Plan:
    """Make the code of a package, and the plan of a study of it.

    Raises:
        UsageError: An objective cannot be computed for the spec, or the database at `url` cannot be
            opened.
        TaskError: The code cannot be made.
        SpecError: The spec leaves nothing open.
    """
    # Making the code takes seconds, and what is asked for is known before.
    family = families.named(families.route(graph.spec.key))
    objectives.figures(explain.desk_over(graph.spec), family, settings.objectives)
    if url is not None:
        storage.opened(out, url)
    session = Session(out, [graph], terminal, Options(""))
    if doors.run(session, "code"):
        raise TaskError("The code of the package could not be made.")
    package = trials.package_of(out / graph.run)
    plan = Plan(folder_of(out, graph.run), settings, graph.spec, package, url is not None)
    plan.space  # noqa: B018
    plan.save()
    return plan


def usual_steps(graph: Graph) -> int:
    """Return the steps of the quick training of a package's benchmark."""
    family = families.named(families.route(graph.spec.key))
    return family.task.benchmark.steps["quick"]


def cache_of(plan: Plan, shared: str | None, warn: Warn) -> Cache:
    """Return the cache of a study's trials: the shared one, or one in its folder."""
    folder = shared or plan.folder / CACHE
    if shared is None and (blocked := files.obstacle(plan.folder, f"{CACHE}/-")):
        raise UsageError(Problem("A link or a file is in the way.", blocked, "remove it"))
    return trials.cache_in(folder, warn)


def work(
    plan: Plan,
    cache: Cache,
    url: str | None,
    grace: float,
    say: Say,
    jobs: int = 1,
    move: Progress = still,
) -> Study:
    """Run trials of a study until all have ended, some at a time; return the study.

    Raises:
        UsageError: The storage cannot be opened.
        TaskError: The code cannot be trained, no point of the space can start, or the storage
            failed.
    """
    with storage.faults(url):
        study = Study(plan, storage.opened(plan.folder, url), grace)
        study.begin()
        if done := len(study.finished()):
            say(f"{done:,} of {plan.settings.trials:,} trials were run before")
        _run(Worker(plan, study, cache, say, move), url, jobs)
        return study


def _run(worker: Worker, url: str | None, jobs: int) -> None:
    """Run trials in this thread, and in others with a storage of their own."""
    errors: list[BaseException] = []

    def more() -> None:
        try:
            plan, grace = worker.plan, worker.study.grace
            own = Study(plan, storage.opened(plan.folder, url), grace)
            replace(worker, study=own).run()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=more, daemon=True) for _ in range(jobs - 1)]
    for thread in threads:
        thread.start()
    worker.run()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def searched(plan: Plan, cache: Cache, url: str | None, say: Say, **how: Any) -> list[Row]:
    """Run a study to its end and write its results; return its trials.

    `how` has the other arguments of `work`.
    """
    study = work(plan, cache, url, say=say, **how)
    with storage.faults(url):
        return results.write(plan, study, cache, say)


def joined(
    folder: Path, shared: str | None, url: str | None, grace: float, terminal: Terminal, say: Say
) -> None:
    """Run trials of the study in a folder until all have ended.

    Raises:
        UsageError: The folder holds no study of this version, or its trials lie elsewhere.
    """
    plan = plans.read(folder)
    plans.check_place(folder, begun=plan.database, asked=url is not None)
    cache = cache_of(plan, shared, terminal.warn)
    with terminal.bar(folder.name) as move:
        work(plan, cache, url, grace, say, move=move)
