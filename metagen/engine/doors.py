"""The graph as doit sees it. doit schedules, selects and lists; our engine decides and records."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from doit.action import BaseAction
from doit.cmd_base import TaskLoader2
from doit.cmd_run import Run
from doit.dependency import FileChangedChecker
from doit.exceptions import BaseFail, TaskFailed
from doit.loader import generate_tasks
from doit.reporter import ConsoleReporter
from doit.task import Task

from metagen.engine.causes import sentence
from metagen.engine.engine import CURRENT, Decision
from metagen.engine.graph import whole
from metagen.engine.package import Package
from metagen.engine.session import Session
from metagen.errors import TASK_FAILED, MetagenError, from_system
from metagen.work import Recipe

Result = TypeVar("Result")

STAGES = {
    "spec": "the spec, checked, with its defaults filled in",
    "blueprint": "the architecture that fits, its exact counts and verdicts",
    "code": "PyTorch code that trains, evaluates and infers",
    "measure": "exact parameters, FLOPs and the module graph of the generated model",
    "benchmarks": "the scaled-down model, trained and scored here on real data",
    "docs": "model card, data card, evaluation report, limitations, summary",
    "paper": "the paper: LaTeX, figures, bibliography and the PDF",
    "manifest": "each file's sha256 and what it was made from",
}


class Build(BaseAction):  # type: ignore[misc]
    """The one action of a task: ask the engine to bring it up to date."""

    def __init__(self, session: Session, package: Package, recipe: Recipe) -> None:
        self.session, self.package, self.recipe = session, package, recipe
        self.out = self.err = self.result = None
        self.values: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"make {', '.join(self.recipe.targets)}"

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:
        """Build; an error becomes doit's failure of the task."""
        terminal = self.session.terminal
        try:
            with from_system(), terminal.working(self.package, self.recipe) as progress:
                outcome = self.session.engine(self.package).build(self.recipe, progress)
        except MetagenError as error:
            self.session.failure = error.status
            return TaskFailed(str(error))
        except Exception:
            self.session.failure = TASK_FAILED
            return TaskFailed(f"this is a mistake of MetaGen's own\n{traceback.format_exc()}")
        terminal.done(self.package, outcome, self.recipe)
        return None


class Clean(Build):
    """What `doit clean` does for a task: remove its outputs, but no edited file."""

    def __str__(self) -> str:
        return f"remove {', '.join(self.recipe.targets)} unless edited"

    def execute(self, out: Any = None, err: Any = None) -> None:
        """Remove, under the lock."""
        self.session.begin()
        self.session.engine(self.package).outputs.clean(self.recipe)


def task_dicts(session: Session) -> Iterator[dict[str, Any]]:
    """Yield every task of a session in the form of a doit task creator."""
    for stage, doc in STAGES.items():
        yield {"basename": stage, "name": None, "doc": doc}
    wanted: list[str] = []
    for package in session.packages:
        wanted += map(package.task_name, whole(package.recipes))
        yield from (_task_dict(session, package, recipe) for recipe in package.recipes)
    doc = "the whole package of each spec (the PDF: `paper`)"
    yield {"basename": "synth", "actions": None, "task_dep": wanted, "doc": doc}


def _task_dict(session: Session, package: Package, recipe: Recipe) -> dict[str, Any]:
    folder = session.out / package.run
    stage, _, name = package.task_name(recipe).partition(":")
    return {
        "basename": stage,
        "name": name,
        "doc": recipe.doc,
        "actions": [Build(session, package, recipe)],
        "clean": [Clean(session, package, recipe)],
        "file_dep": [str(folder / path) for path in recipe.inputs],
        "targets": [str(folder / path) for path in recipe.targets],
        "uptodate": [_Current(session, package, recipe)],
    }


class _Current:
    """Whether a task is current; `doit info` shows it as the reason why it is not."""

    def __init__(self, session: Session, package: Package, recipe: Recipe) -> None:
        self._session, self._package, self._recipe = session, package, recipe

    def __call__(self) -> bool:
        try:
            with from_system():
                return self._decide().action == CURRENT
        except MetagenError:
            return False  # the action then says what is wrong

    def __repr__(self) -> str:
        return sentence(self._decide().causes)

    def _decide(self) -> Decision:
        return self._session.engine(self._package).decide(self._recipe)


class Unchanged(FileChangedChecker):  # type: ignore[misc]
    """Leaves the question whether a file changed to the engine."""

    def check_modified(self, file_path: str, file_stat: Any, state: Any) -> bool:
        """Return False: the engine was asked before."""
        return False

    def get_state(self, dep: str, current_state: Any) -> bool:
        """Return a constant."""
        return True


class NoMemory:
    """A database for doit that keeps nothing: the ledger is the only record."""

    desc = "keeps nothing; metagen's ledger is the record"
    session: Session | None = None  # doit makes the database itself, so it cannot be handed over

    def __init__(self, name: str, codec: Any = None, module_name: str | None = None) -> None:
        self.name = name

    def get(self, task_id: str, dependency: str) -> bool | None:
        """Return doit's own notes (their names end in a colon) as absent, files as known."""
        return None if dependency.endswith(":") else True

    def in_(self, task_id: str) -> bool:
        """Return False: nothing is kept."""
        return False

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Keep nothing."""

    def dump(self) -> None:
        """Write nothing."""

    def remove(self, task_id: str) -> None:
        """Forget a task at `doit forget`; doit also calls this when a task fails."""
        if self.session and not self.session.building:
            self.session.forget(task_id)

    def remove_all(self) -> None:
        """Forget every task."""
        self.remove("")


class Reporter(ConsoleReporter):  # type: ignore[misc]
    """Begins and ends a session around doit's run, and shows its failures."""

    def __init__(self, session: Session) -> None:
        super().__init__(sys.stdout, {})
        self.session = session

    def initialize(self, tasks: dict[str, Task], selected_tasks: list[str]) -> None:
        """Take the lock before the first task is looked at."""
        self.whole = "synth" in selected_tasks
        self._or_leave(self.session.begin)

    def execute_task(self, task: Task) -> None:
        """Say nothing: the engine says what it did."""

    def skip_uptodate(self, task: Task) -> None:
        """Say nothing of what is current."""

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        """Show why a task failed; one that was never tried only follows another."""
        self.session.failure = self.session.failure or TASK_FAILED
        if fail.report:
            self.session.terminal.failed(task.name, fail.get_msg())

    def complete_run(self) -> None:
        """Show the summary, let go of the folder, and end with our exit status, not doit's."""
        if self.session.building:
            status = self._or_leave(lambda: self.session.finish(whole=self.whole))
            if status:
                raise SystemExit(status)

    def _or_leave(self, step: Callable[[], Result]) -> Result:
        """Take a step of the session, or end with its error, which doit knows nothing of."""
        try:
            with from_system():
                return step()
        except MetagenError as error:
            self.session.terminal.error(error)
            raise SystemExit(error.status) from None


class Loader(TaskLoader2):  # type: ignore[misc]
    """Hands the tasks of a session to doit."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def load_doit_config(self) -> dict[str, Any]:
        """Return the settings that both doors use."""
        return settings(self.session)

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> Sequence[Task]:
        """Return the tasks."""
        return generate_tasks("metagen", task_dicts(self.session))  # type: ignore[no-any-return]


def settings(session: Session) -> dict[str, Any]:
    """Return doit's configuration: our reporter, and no memory of its own."""
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


class OurRun(Run):  # type: ignore[misc]
    """Runs tasks, whatever configuration and plug-ins of doit lie around."""

    name = "run"

    def get_backends(self) -> dict[str, type[NoMemory]]:
        """Return ours alone: a look at all installed libraries for others takes long."""
        return {"metagen": NoMemory}

    def get_reporters(self) -> dict[str, type[ConsoleReporter]]:
        """Return none: ours comes with the settings."""
        return {}


def run(session: Session, stage: str, jobs: int = 1) -> int:
    """Build a stage of the graph for all packages of a session."""
    parallel = ["-n", str(jobs)] if jobs > 1 else []
    command = OurRun(task_loader=Loader(session), config={}, bin_name="metagen")
    return int(command.parse_execute([*parallel, stage]) or 0)
