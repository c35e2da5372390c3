"""A worker of a study: it takes trials, trains them, and notes what they show.

A trial is ended early when its loss is above the median of its rivals at the same share of the
training. Its rivals are the trials that were trained to the end and take no more of any other
objective; so on a front of several objectives, a small design is never ended because large ones
have a lower loss. Optuna's own pruners know a single objective only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from metagen import trials
from metagen.engine.cache import Cache
from metagen.engine.terminal import Progress
from metagen.errors import Problem, TaskError
from metagen.measure import sandbox, warm
from metagen.search import objectives, study
from metagen.search.plan import Plan
from metagen.search.space import Candidate
from metagen.search.study import Frozen, Study

if TYPE_CHECKING:
    import optuna

LEAST_RIVALS = 5
SPARED = 2  # The first validations end nothing: the rate is still warming up.
MOST_REFUSED = 50  # Refused points for each trial, before a search gives up.
MOST_FAILED = 5  # Trainings that fail one after another, as where the disk is full.
Say = Callable[[str], None]


def still(done: int, total: int, note: str) -> None:
    """Show no progress."""


class _EndedError(Exception):
    """The learning curve of a trial is above those of its rivals."""


@dataclass(frozen=True)
class Worker:
    """A worker of a study.

    Attributes:
        plan: What the study is.
        study: Its trials.
        cache: Where outcomes are kept.
        say: Takes a line about each trial.
        move: Takes the trials done and in all, and a note, at each validation.
    """

    plan: Plan
    study: Study
    cache: Cache
    say: Say
    move: Progress = still

    def run(self) -> None:
        """Run trials until none is left and those of all other workers have ended.

        Raises:
            TaskError: The code cannot be trained, or no point of the space can start.
        """
        with warm.python(self.plan.package) as python:
            while trial := self.study.next():
                candidate = self.plan.space.candidate(trial.user_attrs[study.POINT])
                if isinstance(candidate, Candidate):
                    self._train(trial, candidate, python)
                else:
                    self._refuse(trial, candidate)

    def _refuse(self, trial: optuna.Trial, why: str) -> None:
        self.study.refuse(trial, why)
        if self.study.refusals() > MOST_REFUSED * self.plan.settings.trials:
            hint = "loosen a limit of the spec, or pin fewer dimensions"
            raise TaskError(Problem(f"Too many points are refused: {why}.", hint=hint))

    def _train(self, trial: optuna.Trial, candidate: Candidate, python: sandbox.Python) -> None:
        known = [figure(candidate.design) for figure in self.plan.figures.values()]
        rivals = _rivals(self.study.complete(), known)
        curve: list[float] = []
        ended, total = len(self.study.finished()), self.plan.settings.trials
        name = f"trial {self.study.place(trial):,}"

        def watch(done: int, steps: int, loss: float) -> None:
            curve.append(loss)
            self.move(ended, total, f"{name}, step {done:,} of {steps:,}: {loss:.4g}")
            if done < steps and _is_above(curve, rivals):
                raise _EndedError

        try:
            with self.study.alive(trial):
                outcome = trials.run(*self.plan.trial(candidate), self.cache, watch, python)
        except _EndedError:
            self.study.end(trial, curve)
            self.say(f"{name} of {total:,}: ended early at {curve[-1]:.4g}")
        except TaskError as error:
            self.say(f"{name} of {total:,}: failed")
            self._failed(trial, error)
        else:
            result = _result(outcome, curve)
            self.study.tell(trial, [objectives.score(outcome), *known], result)
            self.say(f"{name} of {total:,}: {objectives.score(outcome):.4g}")

    def _failed(self, trial: optuna.Trial, error: TaskError) -> None:
        self.study.fail(trial, error.problems[0].sentence)
        latest = self.study.finished()[-MOST_FAILED:]
        if len(latest) == MOST_FAILED and all(study.FAILED in each.user_attrs for each in latest):
            raise error


def _result(outcome: trials.Outcome, curve: list[float]) -> dict[str, Any]:
    """Return what is noted of an outcome; a network that acts has no curve to compare."""
    acts = objectives.RETURN in outcome.metrics
    return {
        "curve": [] if acts else curve,
        "proxy_parameters": outcome.parameters,
        "flops": outcome.flops,
        "seconds": outcome.seconds,
    }


def _rivals(complete: list[Frozen], known: list[float]) -> list[list[float]]:
    """Return the curves of the trials that take no more of any objective but the loss."""
    return [
        trial.user_attrs[study.RESULT]["curve"]
        for trial in complete
        if all(value <= own for value, own in zip(trial.values[1:], known, strict=True))
    ]


def _is_above(curve: list[float], rivals: list[list[float]]) -> bool:
    place = len(curve) - 1
    losses = [rival[place] for rival in rivals if len(rival) > place]
    return place >= SPARED and len(losses) >= LEAST_RIVALS and curve[-1] > median(losses)
