"""The two doors to doit: the command line's runs, and `dodo.py` for doit's own commands.

doit schedules, selects and lists tasks; the engine decides whether one must run, and records it.
So each task has one action and one `uptodate`, which both ask the engine, and doit's own database
and file checks are replaced by ones that remember nothing.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from doit.action import BaseAction
from doit.cmd_base import TaskLoader2
from doit.cmd_run import Run
from doit.dependency import FileChangedChecker
from doit.exceptions import BaseFail, TaskFailed
from doit.loader import generate_tasks
from doit.reporter import ConsoleReporter
from doit.task import Task

from metagen.engine import graph as graphs
from metagen.engine.binding import Change
from metagen.engine.cache import Shared
from metagen.engine.causes import sentence
from metagen.engine.engine import CURRENT, Decision
from metagen.engine.graph import Graph
from metagen.engine.session import Options, Session
from metagen.engine.terminal import Terminal, exit_on_signals
from metagen.engine.workspace import Shard, fingerprint, spec_files
from metagen.errors import TASK_FAILED, MetagenError, Problem, UsageError, from_system
from metagen.spec import nearest
from metagen.spec.schema import variables
from metagen.work import Recipe

Result = TypeVar("Result")
# Variables of doit's command line besides keys of the spec.
_NOT_KEYS = ("spec", "out", "run_id", "trained", "results", "shard", "cache")
_RELEASE = "release"

STAGES = {
    "spec": "the spec, checked, with its defaults filled in",
    "blueprint": "the architecture that fits, its exact counts and verdicts",
    "code": "PyTorch code that trains, evaluates and infers",
    "measure": "exact parameters, FLOPs and the module graph of the generated model",
    "benchmarks": "the scaled-down model, trained and scored here on real data",
    "docs": "model card, data card, evaluation report, limitations, summary",
    "paper": "the paper: LaTeX, figures, bibliography and the PDF",
    "training": "the full model, trained and scored here (`metagen release --train`)",
    "trained": "the trained model: its checkpoint, log and results, checked",
    "manifest": "each file's sha256 and what it was made from",
}


class Build(BaseAction):  # type: ignore[misc]
    """The one action of a task: ask the engine to bring it up to date."""

    def __init__(self, session: Session, graph: Graph, recipe: Recipe) -> None:
        self.session, self.graph, self.recipe = session, graph, recipe
        self.out = self.err = self.result = None
        self.values: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"make {', '.join(self.recipe.targets)}"

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:
        """Build; an error becomes doit's failure of the task."""
        terminal = self.session.terminal
        try:
            with from_system(), terminal.progress(self.graph, self.recipe) as progress:
                outcome = self.session.engine(self.graph).build(self.recipe, progress)
        except MetagenError as error:
            self.session.failure = error.status
            return TaskFailed(str(error))
        except Exception:
            self.session.failure = TASK_FAILED
            return TaskFailed(f"this is a mistake of MetaGen's own\n{traceback.format_exc()}")
        terminal.task_done(self.graph, outcome, self.recipe)
        return None


class Clean(Build):
    """The action of `doit clean`: remove the outputs of a task, but no edited file."""

    def __str__(self) -> str:
        return f"remove {', '.join(self.recipe.targets)} unless edited"

    def execute(self, out: Any = None, err: Any = None) -> None:
        self.session.begin()
        self.session.engine(self.graph).outputs.clean(self.recipe)


def task_dicts(session: Session) -> Iterator[dict[str, Any]]:
    """Yield every task of a session in the form that a doit task creator yields."""
    for stage, doc in STAGES.items():
        yield {"basename": stage, "name": None, "doc": doc}
    names: list[str] = []
    for graph in session.graphs:
        names += map(graph.task_name, graphs.whole(graph.recipes))
        yield from (_task_dict(session, graph, recipe) for recipe in graph.recipes)
    doc = "the whole package of each spec (the PDF: `paper`)"
    yield {"basename": "synth", "actions": None, "task_dep": names, "doc": doc}
    doc = "the whole package of a spec with its trained model (trained=DIR results=PATH)"
    yield {"basename": _RELEASE, "name": None, "task_dep": list(names), "doc": doc}


def _task_dict(session: Session, graph: Graph, recipe: Recipe) -> dict[str, Any]:
    folder = session.out / graph.run
    stage, _, name = graph.task_name(recipe).partition(":")
    return {
        "basename": stage,
        "name": name,
        "doc": recipe.doc,
        "actions": [Build(session, graph, recipe)],
        "clean": [Clean(session, graph, recipe)],
        "file_dep": [str(folder / path) for path in recipe.inputs],
        "targets": [str(folder / path) for path in recipe.targets],
        "uptodate": [_Current(session, graph, recipe)],
    }


class _Current:
    """Tells doit whether a task is current; `doit info` prints its repr as the reason if not."""

    def __init__(self, session: Session, graph: Graph, recipe: Recipe) -> None:
        self._session, self._graph, self._recipe = session, graph, recipe

    def __call__(self) -> bool:
        try:
            with from_system():
                return self._decide().action == CURRENT
        except MetagenError:
            return False  # The action then meets the same error and reports it.

    def __repr__(self) -> str:
        try:
            with from_system():
                return sentence(self._decide().causes)
        except MetagenError as error:
            return str(error)

    def _decide(self) -> Decision:
        return self._session.engine(self._graph).decide(self._recipe)


class Unchanged(FileChangedChecker):  # type: ignore[misc]
    """Tells doit that no file changed: the engine compares files itself, in `_Current`."""

    def check_modified(self, file_path: str, file_stat: Any, state: Any) -> bool:
        return False

    def get_state(self, dep: str, current_state: Any) -> bool:
        return True


class NoMemory:
    """A database for doit that stores nothing: the ledger is the only record."""

    desc = "stores nothing; metagen's ledger is the record"
    session: Session | None = None  # doit makes the database itself, without a session to pass.

    def __init__(self, name: str, codec: Any = None, module_name: str | None = None) -> None:
        self.name = name

    def get(self, task_id: str, dependency: str) -> bool | None:
        """Return doit's own notes, whose names end in a colon, as absent, and files as known."""
        return None if dependency.endswith(":") else True

    def in_(self, task_id: str) -> bool:
        return False

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Store nothing."""

    def dump(self) -> None:
        """Write nothing."""

    def remove(self, task_id: str) -> None:
        """Forget a task at `doit forget`; doit also calls this when a task fails."""
        if self.session and not self.session.building:
            self.session.forget(task_id)

    def remove_all(self) -> None:
        self.remove("")


class Reporter(ConsoleReporter):  # type: ignore[misc]
    """Begins and ends a session with doit's run, and reports failures."""

    def __init__(self, session: Session) -> None:
        super().__init__(sys.stdout, {})
        self.session = session

    def initialize(self, tasks: dict[str, Task], selected_tasks: list[str]) -> None:
        """Take the lock before doit asks whether the first task is current."""
        self.complete = bool({"synth", _RELEASE} & set(selected_tasks))
        self._or_exit(self.session.begin)

    def execute_task(self, task: Task) -> None:
        """Print nothing: `Build` reports what the engine did."""

    def skip_uptodate(self, task: Task) -> None:
        """Print nothing."""

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        """Report a failure, but not those of tasks that doit skipped because of it."""
        self.session.failure = self.session.failure or TASK_FAILED
        if fail.report:
            self.session.terminal.task_failed(task.name, fail.get_msg())

    def complete_run(self) -> None:
        """Finish the session, and exit with its status in place of doit's."""
        if self.session.building:
            status = self._or_exit(lambda: self.session.finish(complete=self.complete))
            if status:
                raise SystemExit(status)

    def _or_exit(self, step: Callable[[], Result]) -> Result:
        """Take a step of the session; doit would print a traceback of its errors."""
        try:
            with from_system():
                return step()
        except MetagenError as error:
            self.session.terminal.error(error)
            raise SystemExit(error.status) from None


class Loader(TaskLoader2):  # type: ignore[misc]
    """Gives doit the tasks of a session."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def load_doit_config(self) -> dict[str, Any]:
        return settings(self.session)

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> Sequence[Task]:
        return generate_tasks("metagen", task_dicts(self.session))  # type: ignore[no-any-return]


def settings(session: Session) -> dict[str, Any]:
    """Return doit's configuration: our reporter, and a database that stores nothing."""
    NoMemory.session = session
    return {
        "backend": "metagen",
        "dep_file": "",
        "check_file_uptodate": Unchanged,
        "reporter": Reporter(session),
        "default_tasks": ["synth"],
        "par_type": "thread",
        "verbosity": 0,
    }


class RunCommand(Run):  # type: ignore[misc]
    """doit's `run`, unaffected by the plug-ins and configuration files of the user."""

    name = "run"

    def get_backends(self) -> dict[str, type[NoMemory]]:
        """Return ours alone; a search of all installed libraries for others is slow."""
        return {"metagen": NoMemory}

    def get_reporters(self) -> dict[str, type[ConsoleReporter]]:
        """Return none, since `settings` names ours."""
        return {}


def run(session: Session, stage: str, jobs: int = 1) -> int:
    """Build a stage of the graph for all packages of a session."""
    parallel = ["-n", str(jobs)] if jobs > 1 else []
    command = RunCommand(task_loader=Loader(session), config={}, bin_name="metagen")
    return int(command.parse_execute([*parallel, stage]) or 0)


def open_graph(
    arguments: Sequence[str] | None = None,
) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return DOIT_CONFIG and the tasks for `dodo.py`; an error exits with its status.

    Args:
        arguments: The command line of doit, whose NAME=VALUE arguments choose specs and settings.
    """
    terminal = Terminal()
    try:
        given = sys.argv[1:] if arguments is None else arguments
        session = _session(_variables(given), given, terminal)
    except MetagenError as error:
        terminal.error(error)
        raise SystemExit(error.status) from None
    exit_on_signals()
    return settings(session), task_dicts(session)


def _variables(arguments: Sequence[str]) -> dict[str, str]:
    """Return the NAME=VALUE arguments, by doit's own rule for them.

    Raises:
        UsageError: A name is unknown; doit would ignore it and build something else.
    """
    pairs = [a.partition("=") for a in arguments if a[:1] != "-" and "=" in a]
    values: dict[str, str] = {}
    for name, _, value in pairs:
        # Results lie in several files; every other variable has the last of its values.
        joined = name == "results" and name in values
        values[name] = f"{values[name]},{value}" if joined else value
    known = [*_NOT_KEYS, *variables()]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UsageError(
            Problem(
                f"There is no variable {name!r}.",
                f"{name}={values[name]}",
                f"Did you mean {nearest(name, known)!r}?" if nearest(name, known) else "",
            )
            for name in unknown
        )
    return values


def _session(values: dict[str, str], given: Sequence[str], terminal: Terminal) -> Session:
    place = Path(values.pop("spec", "specs"))
    places = sorted(Path().glob(str(place))) if "*" in str(place) else [place]
    out, run_id = Path(values.pop("out", "build")), values.pop("run_id", None)
    trained, results = values.pop("trained", None), values.pop("results", "")
    shard, cache = values.pop("shard", None), values.pop("cache", None)
    overrides = [f"{name}={value}" for name, value in values.items()]
    specs, rebind = spec_files(places), _RELEASE in given or bool(trained or results)
    if shard:
        part, total = Shard.of(shard), len(specs)
        specs = part.take(specs, overrides, run_id)
        terminal.shard_taken(part, specs, total)
    bound = graphs.known_in(out)
    if rebind:
        paths = tuple(Path(path) for path in results.split(",") if path)
        bound = Change(Path(trained) if trained else None, paths).over(out, specs)
    shared = Shared.of_environment(cache)
    options = Options(fingerprint((*overrides, run_id)), cache=shared, rebind=rebind)
    packages = graphs.of_files(specs, overrides, run_id, bound)
    for graph in packages:
        terminal.warn(graph.warnings)
    return Session(out, packages, terminal, options)
