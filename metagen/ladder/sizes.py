"""The sizes of a ladder: the plan of the full model, the rungs below it, and how each trains.

One dial, the size N, decides all: a rung has the shape of the full model, as many units of data for
each parameter, and a batch and a peak rate that follow a published rule. Only the two constants of
that rule are tuned. Warm-up takes a tenth of all updates, and the rate decays to its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from metagen import entries, families
from metagen.errors import Problem, UsageError
from metagen.families import parts
from metagen.families.family import Dims, Family, Lookup, Value
from metagen.tasks.schedule import WARMUP_PARTS, Growth
from metagen.trials import Trial

SECTIONS = ("model", "data", "train", "eval", "infer")
LEAST_UPDATES = 400  # Rungs with fewer are limited by their updates, and not by their size.
LEAST_BATCH = 0.25  # Factor on the rule's batch that tuning begins with, at least.
MOST_TABLES = 0.5  # Share of a rung's operations that its token tables may take.
MOST_EPOCHS = 4  # Data that is read more often is worth less (Muennighoff et al., 2023).
SPAN = 12  # The top rung has so many times the parameters of the smallest one.
TOP_SHARE = 1 / 3  # The top rung has at most this share of the full model's parameters.
TRAININGS_OF_TOP = 5  # the top rung itself, with half and twice its batch and its rate
TRAININGS_BELOW = 3  # seeds of each other rung, at most
TUNED = 2  # Batch and rate are tuned on the smallest rungs.
TRAININGS_TUNED = 5  # Each of them takes so many.


@dataclass(frozen=True)
class Full:
    """The full model, and the plan of its training.

    Attributes:
        family: Its family.
        sections: Its settings, by the section of architecture.yaml.
        units: Units of data that its training reads.
    """

    family: Family
    sections: Mapping[str, Mapping[str, Any]]
    units: int

    @classmethod
    def of_run(cls, run: Path, key: Lookup) -> Full:
        """Read the plan in a run folder, as the user may have edited it, and the spec's data."""
        plan = entries.parse(families.ARCHITECTURE, (run / families.ARCHITECTURE).read_bytes())
        family, sections = families.named(plan["family"]), {name: plan[name] for name in SECTIONS}
        dims, train = sections["model"], sections["train"]
        schedule = family.task.schedule(dims, family.count(dims), key, reduced=False)
        # Updates of a plan may be so large that their number rounds the data off.
        planned = train["steps"] * train["batch_size"] * family.task.amount(sections["data"])
        units = schedule.data * schedule.epochs if schedule.data else planned
        return cls(family, sections, round(units))

    @property
    def dims(self) -> Mapping[str, Any]:
        return self.sections["model"]

    @cached_property
    def size(self) -> int:
        """The parameters N that the dial counts: those outside the token tables."""
        return self.family.size(self.dims)

    @property
    def per_sample(self) -> int:
        """Units of data in a sample."""
        return self.family.task.amount(dict(self.sections["data"]))

    @property
    def ratio(self) -> float:
        """Units of data for each parameter, the same in every rung."""
        return self.units / self.size

    @property
    def growth(self) -> Growth:
        """The published rule of batch and rate, or that both stay as they are planned."""
        train = self.sections["train"]
        return self.family.task.growth or Growth(
            size=self.size,
            batch=train["batch_size"] * self.per_sample,
            rate=train["learning_rate"],
            batch_power=0.0,
            rate_power=0.0,
            source="no rule is published for this task: batch and rate as planned, then tuned",
            cite="",
        )


@dataclass(frozen=True)
class Scaling:
    """The rule of batch and rate with its tuned constants.

    Attributes:
        growth: The published rule.
        batch: Factor on its batch.
        rate: Factor on its rate.
        at: Size at which the factors were tuned.
        batch_power: What the check at the top rung adds to the exponent of the batch.
        rate_power: The same of the rate.
    """

    growth: Growth
    batch: float = 1.0
    rate: float = 1.0
    at: float = 1.0
    batch_power: float = 0.0
    rate_power: float = 0.0

    def batch_at(self, size: float) -> float:
        """Return the units of data in an update."""
        rule = self.growth.batch * (size / self.growth.size) ** self.growth.batch_power
        return float(self.batch * rule * (size / self.at) ** self.batch_power)

    def rate_at(self, size: float) -> float:
        """Return the peak learning rate."""
        rule = self.growth.rate * (size / self.growth.size) ** self.growth.rate_power
        return float(self.rate * rule * (size / self.at) ** self.rate_power)

    def times(self, *, batch: float = 1.0, rate: float = 1.0) -> Scaling:
        """Return the rule with other constants."""
        return replace(self, batch=self.batch * batch, rate=self.rate * rate)


@dataclass(frozen=True)
class Setting:
    """How one model trains.

    Attributes:
        batch: Samples in an update.
        rate: Peak learning rate, to four significant digits.
        steps: Updates.
    """

    batch: int
    rate: float
    steps: int

    @property
    def warmup(self) -> int:
        """Updates in which the rate rises."""
        return max(1, self.steps // WARMUP_PARTS)

    def train(self) -> dict[str, Any]:
        """Return the settings of train.py; the batch passes through the model at once."""
        return {
            "batch_size": self.batch,
            "grad_accum": 1,
            "learning_rate": self.rate,
            "warmup_steps": self.warmup,
            "steps": self.steps,
        }


@dataclass(frozen=True)
class Size:
    """A rung, or the full model as the ladder trains it.

    Attributes:
        full: The full model.
        dims: Dimensions.
        parameters: Exact count.
        flops: Operations of an update on one sample, counted on the meta device.
    """

    full: Full
    dims: Mapping[str, Any]
    parameters: int = 0
    flops: int = 0

    @cached_property
    def size(self) -> int:
        """The parameters N that the dial counts."""
        return self.full.family.size(self.dims)

    def setting(self, scaling: Scaling, data: float = 1.0) -> Setting:
        """Return how it trains; `data` is a factor on its amount of data."""
        per_sample = self.full.per_sample
        batch = max(1, round(scaling.batch_at(self.size) / per_sample))
        rate = float(f"{scaling.rate_at(self.size):.4g}")
        steps = max(1, round(data * self.full.ratio * self.size / (batch * per_sample)))
        return Setting(batch, rate, steps)

    def compute(self, setting: Setting) -> int:
        """Return the operations of a training."""
        return self.flops * setting.batch * setting.steps

    def units(self, setting: Setting) -> int:
        """Return the units of data that a training reads."""
        return setting.batch * setting.steps * self.full.per_sample

    @property
    def tables(self) -> float:
        """The share of the operations that the token tables take."""
        forward = self.full.family.table_flops(self.dims) * self.full.per_sample
        return 3 * forward / self.flops if self.flops else 0.0

    def trial(self, setting: Setting, seed: int, data: Path | None) -> Trial:
        """Return its training with the settings of the full model otherwise."""
        config = {name: dict(values) for name, values in self.full.sections.items()}
        config["model"] = dict(self.dims)
        config["train"] |= setting.train()
        return Trial(config, setting.steps, seed, data, points=1)


def designs(family: Family, dims: Dims) -> dict[int, dict[str, Value]]:
    """Return the smaller designs of a shape, by their size.

    Raises:
        UsageError: The family has no rule of smaller designs.
    """
    known = {family.size(each): each for each in family.smaller(dims)}
    if not known:
        sentence = f"No rule is known that makes smaller designs of the family {family.name}."
        hint = "ladders are built for language models"
        raise UsageError(Problem(sentence, "architecture.family", hint))
    return known


def rungs(full: Full, number: int, largest: float | None, share: float) -> list[Size]:
    """Return the rungs of a ladder, from the smallest to the largest, not yet counted.

    Args:
        full: The full model.
        number: How many, at least four.
        largest: Parameters of the top rung; None for as many as `share` allows.
        share: The share of the full training's operations that the ladder may take.

    Raises:
        UsageError: The family has no rule of smaller designs, or too few lie in the span.
    """
    known = designs(full.family, full.dims)
    top = largest or full.size * _affordable(full, list(known.values()), share)
    end = max((size for size in known if size <= top), default=0)
    start = min(known, key=lambda size: abs(math.log(size * SPAN / max(1, end))))
    within = sorted(size for size in known if start <= size <= end)
    if len(within) < number:
        sentence = f"Below {top:,.0f} parameters there are {len(within)} sizes of this shape"
        hint = "name a larger --largest, or fewer --rungs"
        raise UsageError(Problem(f"{sentence}, and {number} rungs are needed.", hint=hint))
    sizes = _spread(within, number)
    return [Size(full, known[size]) for size in sorted(sizes)]


def _spread(sizes: Sequence[int], number: int) -> list[int]:
    """Return so many of some ascending sizes, the ends among them, in even ratios."""
    ratio = sizes[-1] / sizes[0]
    chosen: list[int] = []
    for step in range(number):
        wanted = sizes[0] * ratio ** (step / (number - 1))
        free = [size for size in sizes if size not in chosen]
        chosen.append(min(free, key=lambda size, at=wanted: abs(math.log(size / at))))  # type: ignore[misc]
    return chosen


def _affordable(full: Full, designs: Sequence[Mapping[str, Any]], share: float) -> float:
    """Return the share of the full model's size at which a ladder takes a share of its operations.

    Operations grow like the square of the size, since data grows with it; what the token tables
    take is counted by the closed form.
    """
    whole = parts.flops(full.family.parts(full.dims)) * full.size
    for dims in sorted(designs, key=full.family.size, reverse=True):
        size = full.family.size(dims)
        one = parts.flops(full.family.parts(dims)) * size
        below = TRAININGS_BELOW / 3 + TUNED * TRAININGS_TUNED / SPAN**2
        if size <= TOP_SHARE * full.size and one * (TRAININGS_OF_TOP + below) <= share * whole:
            return size / full.size
    return TOP_SHARE


def must_be_sound(rungs: Sequence[Size], scaling: Scaling) -> None:
    """Refuse rungs that would say nothing of the full model.

    Raises:
        UsageError: A rung has too few updates, or its token tables take most of its operations.
    """
    problems = []
    for rung in rungs:
        steps = rung.setting(scaling).steps
        if steps < LEAST_UPDATES:
            problems.append(_too_few(rung, steps))
        if rung.tables > MOST_TABLES:
            sentence = f"{_named(rung)} spends {rung.tables:.0%} of its operations on token tables"
            hint = "raise --largest, or pin a smaller architecture.dims.vocab_size"
            problems.append(Problem(f"{sentence}, at most {MOST_TABLES:.0%} are.", hint=hint))
    if problems:
        raise UsageError(problems)


def _too_few(rung: Size, steps: int) -> Problem:
    sentence = f"{_named(rung)} would make {steps:,} updates; fewer than {LEAST_UPDATES} say little"
    hint = "raise --largest or training.data.size, or shorten the samples"
    return Problem(f"{sentence} of the full model.", hint=hint)


def _named(rung: Size) -> str:
    return f"The rung of {rung.size:,} parameters"


def must_be_fresh(rungs: Sequence[Size], scaling: Scaling, train: int) -> None:
    """Refuse rungs that read the data too often; `train` is the units of the training split.

    Raises:
        UsageError: A rung reads it more than `MOST_EPOCHS` times.
    """
    for rung in rungs:
        times = rung.units(rung.setting(scaling)) / max(1, train)
        if times > MOST_EPOCHS:
            sentence = f"{_named(rung)} would read the training split {times:.3g} times"
            hint = f"give more --data, or lower --largest: {MOST_EPOCHS} times are as good as new"
            raise UsageError(Problem(f"{sentence}.", "--data", hint))
