"""A study in Optuna's storage: what was run, what is running, and what to run next.

Each trial is drawn by a sampler of its own, whose seed follows from that of the study and from the
number of trials before it. So a study that was stopped goes on as one that was not, without the
state of a sampler on disk.

A worker writes a counter beside its trial while it works. A trial whose counter stands still for
`grace` seconds, or whose process is gone from this machine, is run again by whoever notices.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metagen.errors import Problem, UsageError
from metagen.search.plan import Plan
from metagen.search.space import Choice

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
POINT, BEAT, REFUSED, RESULT, ENDED, FAILED, SURPLUS = (
    "point", "beat", "refused", "result", "ended", "failed", "surplus",
)  # fmt: skip
GRACE = 120.0  # seconds without a sign of life
STARTUP = 10  # trials that TPE draws at random before it learns
POPULATION = 16  # NSGA-II's; Optuna's 50 would leave few generations of some hundred trials
_FIXED = "fixed_params"  # Optuna's own note of a point that is to be run.
Frozen = Any  # optuna.trial.FrozenTrial


def library() -> Any:
    """Return Optuna.

    Raises:
        UsageError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        hint = "pip install optuna"
        raise UsageError(Problem("A search needs Optuna.", hint=hint)) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def storage_of(folder: Path, url: str | None) -> Any:
    """Return the storage of a study: the journal file in its folder, or a database.

    Raises:
        UsageError: The database cannot be opened.
    """
    optuna = library()
    if url is None:
        backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
        return optuna.storages.JournalStorage(backend)
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:
        sentence = f"The storage cannot be opened: {type(error).__name__}."
        hint = "give the address of a database that SQLAlchemy knows, as postgresql://HOST/NAME"
        raise UsageError(Problem(sentence, "--storage", hint)) from error


class Study:
    """The trials of a plan, shared by its workers.

    Args:
        plan: What the study is.
        storage: From `storage_of`; each thread needs a `Study` of its own.
        grace: Seconds after which a trial without a sign of life is run again.
    """

    def __init__(self, plan: Plan, storage: Any, grace: float = GRACE) -> None:
        self._optuna = library()
        self._plan, self._grace = plan, grace
        self._states = self._optuna.trial.TrialState
        self._seen: dict[int, tuple[Any, float]] = {}
        self._study = self._optuna.create_study(
            storage=storage,
            study_name=plan.name,
            directions=["minimize"] * len(plan.settings.objectives),
            load_if_exists=True,
        )

    def begin(self) -> None:
        """Put the package's own design first, so that everything is compared with it."""
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(self._plan.space.plain)

    def trials(self) -> list[Frozen]:
        """Return the trials that count, in order: finished, running or waiting."""
        states = self._states
        every = self._study.get_trials(deepcopy=False)
        return [t for t in every if t.state != states.FAIL and REFUSED not in t.user_attrs]

    def finished(self) -> list[Frozen]:
        """Return the trials that were run, in order; some were ended early."""
        done = (self._states.COMPLETE, self._states.PRUNED)
        return [trial for trial in self.trials() if trial.state in done]

    def complete(self) -> list[Frozen]:
        """Return the trials that were trained to their last step."""
        return [trial for trial in self.trials() if trial.state == self._states.COMPLETE]

    def refusals(self) -> int:
        """Return how many points were refused before a trial started."""
        return sum(REFUSED in t.user_attrs for t in self._study.get_trials(deepcopy=False))

    def next(self) -> optuna.Trial | None:
        """Return a trial to run, or None when none is left and all others have ended.

        It has its point, and this process is known as its worker.
        """
        while True:
            self._revive()
            trials = self.trials()
            waiting = any(trial.state == self._states.WAITING for trial in trials)
            if waiting or len(trials) < self._plan.settings.trials:
                if trial := self._asked():
                    return trial
            elif any(trial.state == self._states.RUNNING for trial in trials):
                time.sleep(min(1.0, self._grace / 4))
            else:
                return None

    def _asked(self) -> optuna.Trial | None:
        """Return a new trial; None if other workers have begun the last ones meanwhile."""
        self._study.sampler = self._sampler()
        trial: optuna.Trial = self._study.ask()
        self._beat(trial, 0)
        point = {choice.name: _suggested(trial, choice) for choice in self._plan.space.choices}
        trial.set_user_attr(POINT, point)
        numbers = [each.number for each in self.trials()]
        if trial.number in numbers[: self._plan.settings.trials]:
            return trial
        trial.set_user_attr(SURPLUS, True)
        self._study.tell(trial, state=self._states.FAIL)
        return None

    def _sampler(self) -> Any:
        settings, samplers = self._plan.settings, self._optuna.samplers
        every = self._study.get_trials(deepcopy=False)
        ended = (self._states.FAIL, self._states.WAITING)
        drawn = sum(trial.state not in ended for trial in every)
        seed = int.from_bytes(sha256(f"{settings.seed}:{drawn}".encode()).digest()[:4])
        if settings.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if settings.sampler == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        return samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)

    def refuse(self, trial: optuna.Trial, why: str) -> None:
        """End a trial whose full design breaks the spec, before anything is trained."""
        trial.set_user_attr(REFUSED, why)
        self._study.tell(trial, state=self._states.PRUNED)

    def end(self, trial: optuna.Trial, curve: list[float]) -> None:
        """Note a trial that its learning curve ended early."""
        trial.set_user_attr(ENDED, curve)
        self._study.tell(trial, state=self._states.PRUNED)

    def fail(self, trial: optuna.Trial, why: str) -> None:
        """Note a trial whose training failed, as where the loss became infinite."""
        trial.set_user_attr(FAILED, why)
        self._study.tell(trial, state=self._states.PRUNED)

    def tell(self, trial: optuna.Trial, values: list[float], result: dict[str, Any]) -> None:
        """Note the values of a trial that was trained to its end."""
        trial.set_user_attr(RESULT, result)
        self._study.tell(trial, values)

    @contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        """Show that this process works on a trial, until the context ends."""
        ended = threading.Event()

        def show() -> None:
            count = 0
            while not ended.wait(self._grace / 4):
                count += 1
                self._beat(trial, count)

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, trial: optuna.Trial, count: int) -> None:
        trial.set_user_attr(BEAT, [*_process(os.getpid()), count])

    def _revive(self) -> None:
        """Let the trials of killed workers be run again, each by one worker."""
        for trial in self.trials():
            if trial.state == self._states.RUNNING and self._is_dead(trial):
                try:
                    self._study.tell(trial.number, state=self._states.FAIL)
                except ValueError:  # Another worker has noticed first.
                    continue
                # A worker may be killed before it notes the point that was put first.
                point = trial.user_attrs.get(POINT) or trial.system_attrs.get(_FIXED)
                if point:
                    self._study.enqueue_trial(point)

    def _is_dead(self, trial: Frozen) -> bool:
        beat, now = trial.user_attrs.get(BEAT), time.monotonic()
        if beat and beat[:2] == list(_process(0)[:2]) and beat[:4] != list(_process(beat[2])):
            return True
        before, since = self._seen.setdefault(trial.number, (beat, now))
        if before != beat:
            self._seen[trial.number] = (beat, now)
        return before == beat and now - since > self._grace


def _process(pid: int) -> tuple[str, str, int, str]:
    """Return a machine, its start with the name space of its processes, a process, and its start.

    Numbers of processes are used again, and those of two containers name different processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        boot += os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        boot = ""
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19] if pid else ""
    except OSError:
        began = ""
    return socket.gethostname(), boot, pid, began


def _suggested(trial: optuna.Trial, choice: Choice) -> float | str:
    if choice.names:
        return str(trial.suggest_categorical(choice.name, choice.names))
    return float(trial.suggest_float(choice.name, choice.low, choice.high, step=choice.step))
