"""What a ladder trains: the tuning, the rungs with their seeds, and the checks.

Every training is a trial, so what has run once is read from the cache, and a ladder that was
stopped goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metagen.ladder import law
from metagen.ladder.sizes import LEAST_BATCH, LEAST_UPDATES, TUNED, Scaling, Setting, Size
from metagen.trials import Outcome, Trial

Train = Callable[[Trial, str], Outcome]  # A trial, and what it is in a few words.
BATCHES = (1.0, 0.5, LEAST_BATCH)  # factors on the rule's batch
RATES = (1.0, 0.5, 2.0)  # on the rate that goes with a batch
MOST_STEPS_OUT = 2  # factors of two beyond an edge at which the best one lay
SEEDS, MORE_SEEDS = 2, 3
NOISY = 0.005  # A spread over seeds above this share asks for one seed more.
DRIFT = 0.01  # A rule is wrong at the top if another constant is better by this share.


@dataclass(frozen=True)
class Run:
    """A training of the ladder.

    Attributes:
        purpose: `tuning`, `rung`, `check` or `data`.
        rung: The size.
        setting: How it trained.
        seed: Its seed.
        outcome: What it showed.
    """

    purpose: str
    rung: Size
    setting: Setting
    seed: int
    outcome: Outcome

    @property
    def loss(self) -> float:
        return self.outcome.val_loss

    def content(self) -> dict[str, Any]:
        """Return it for ladder.json and forecast.json."""
        return {
            "purpose": self.purpose,
            "size": self.rung.size,
            "parameters": self.outcome.parameters,
            "dims": dict(self.rung.dims),
            "seed": self.seed,
            "batch_size": self.setting.batch,
            "learning_rate": self.setting.rate,
            "steps": self.setting.steps,
            "units": self.rung.units(self.setting),
            "compute": self.outcome.flops,
            "loss": self.loss,
            "seconds": self.outcome.seconds,
        }


@dataclass
class Study:
    """The trainings of one ladder.

    Attributes:
        rungs: From the smallest to the largest, counted.
        train: Trains, or reads from the cache.
        seed: The first seed.
        data: What the user's --data names.
        runs: What has been trained, in order.
    """

    rungs: Sequence[Size]
    train: Train
    seed: int
    data: Path | None = None
    runs: list[Run] = field(default_factory=list)

    def first(self, rule: Scaling) -> Run:
        """Train the smallest rung with the smallest batch that is tried."""
        rule = rule.times(batch=LEAST_BATCH, rate=math.sqrt(LEAST_BATCH))
        return self._run("tuning", self.rungs[0], self.rungs[0].setting(rule), 0)

    def tuned(self, rule: Scaling) -> Scaling:
        """Return the rule with the batch and rate that were best on the smallest rungs.

        The batch comes first, each with the rate that goes with it by the square root, then the
        rate. A best one at an edge moves the edge.
        """
        small = self.rungs[:TUNED]
        at = math.exp(math.fsum(math.log(each.size) for each in small) / len(small))
        rule = replace(rule, at=at)

        def of_batch(factor: float) -> Scaling:
            return rule.times(batch=factor, rate=math.sqrt(factor))

        best = self._best([b for b in BATCHES if self._sound(of_batch(b))], of_batch)
        return self._best(RATES, lambda factor: best.times(rate=factor))

    def _sound(self, scaling: Scaling) -> bool:
        return all(each.setting(scaling).steps >= LEAST_UPDATES for each in self.rungs)

    def _best(self, factors: Sequence[float], of: Callable[[float], Scaling]) -> Scaling:
        """Return the constants with the least mean loss, tried beyond an edge that was best."""
        losses = {factor: self._tuning(of(factor)) for factor in factors}
        for _ in range(MOST_STEPS_OUT):
            best = min(losses, key=losses.__getitem__)
            edges = {min(losses): best / 2, max(losses): 2 * best}
            if best not in edges or not self._sound(of(edges[best])):
                break
            losses[edges[best]] = self._tuning(of(edges[best]))
        return of(min(losses, key=losses.__getitem__))

    def _tuning(self, scaling: Scaling) -> float:
        """Return the mean logarithm of the losses of the smallest rungs."""
        runs = [self._run("tuning", rung, rung.setting(scaling), 0) for rung in self.rungs[:TUNED]]
        return math.fsum(math.log(run.loss) for run in runs) / len(runs)

    def climbed(self, scaling: Scaling) -> list[law.Rung]:
        """Train every rung: the top one once, the others with two seeds, or three where noisy."""
        return [
            self._rung(rung, scaling, seeds=1 if rung is self.rungs[-1] else SEEDS)
            for rung in self.rungs
        ]

    def _rung(self, rung: Size, scaling: Scaling, seeds: int) -> law.Rung:
        setting = rung.setting(scaling)
        runs = [self._run("rung", rung, setting, number) for number in range(seeds)]
        made = law.Rung(rung.size, runs[0].outcome.flops, tuple(run.loss for run in runs))
        if made.spread is not None and made.spread > NOISY:
            runs += [self._run("rung", rung, setting, n) for n in range(SEEDS, MORE_SEEDS)]
        return replace(made, losses=tuple(run.loss for run in runs))

    def checked(self, scaling: Scaling, loss: float) -> Scaling:
        """Return the rule as half and twice its batch and rate at the top rung leave it.

        Where one of them is better by more than `DRIFT`, its exponent is refitted, so that it gives
        the best constant at the top and the tuned one at the small rungs.
        """
        top = self.rungs[-1]
        rise = math.log(top.size / scaling.at)
        for name in ("batch", "rate"):
            losses = {1.0: loss}
            for factor in (0.5, 2.0):
                changed = scaling.times(**{name: factor})
                if name == "batch":
                    changed = changed.times(rate=math.sqrt(factor))
                losses[factor] = self._run("check", top, top.setting(changed), 0).loss
            best = min(losses, key=losses.__getitem__)
            if losses[best] < (1 - DRIFT) * loss:
                power = math.log(best) / rise
                scaling = (
                    replace(scaling, batch_power=power, rate_power=power / 2)
                    if name == "batch"
                    else replace(scaling, rate_power=scaling.rate_power + power)
                )
                loss = losses[best]
        return scaling

    def with_data(self, scaling: Scaling, fit: law.Law) -> law.Law:
        """Return the law with what half and twice the data do to the middle rung."""
        rung = self.rungs[len(self.rungs) // 2]
        losses = {
            factor: self._run("data", rung, rung.setting(scaling, factor), 0).loss
            for factor in (0.5, 1.0, 2.0)
        }
        compute = rung.compute(rung.setting(scaling))
        return fit.with_data(law.Target(rung.size, compute), losses)

    def _run(self, purpose: str, rung: Size, setting: Setting, number: int) -> Run:
        seed = (self.seed + number) % 2**32
        words = f"{purpose}, {rung.size:,} parameters, seed {seed}"
        outcome = self.train(rung.trial(setting, seed, self.data), words)
        run = Run(purpose, rung, setting, seed, outcome)
        self.runs.append(run)
        return run

    def distinct(self) -> Iterator[Run]:
        """Yield each training once, under the purpose that it served first."""
        seen = set()
        for run in self.runs:
            mark = (run.rung.size, run.setting, run.seed)
            if mark not in seen:
                seen.add(mark)
                yield run
