"""The schedule of a training: updates, batch, optimizer, learning rate, warm-up and decay.

What a spec's `training.config` and `training.data.size` declare goes first. Where they are silent,
a task's habits decide: those of a published training, or of a declared optimizer. The proxy's are
chosen so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from metagen.amounts import ITEMS, parse_amount
from metagen.tasks.optimizers import ADAMW, OPTIMIZERS, under
from metagen.units import parse_hardware

Lookup = Callable[[str], Any]  # from a leaf key of the spec to its value
DECLARED = "declared in training.config"
WARMUP_PARTS = 10  # A warm-up takes at most a tenth of all updates.


@dataclass(frozen=True)
class Habits:
    """How a task trains where a spec declares nothing.

    Attributes:
        batch: Samples of an update.
        rate: Peak learning rate.
        decay: Weight decay.
        warmup: Updates over which the rate rises; a tenth of all updates at most.
        warmup_epochs: The same in epochs; half of all updates at most.
        source: The published training that these figures are of, as `as BERT's pre-training`.
        why: Other reasons, by the name of a setting.
        units: Words of `training.data.size` that count this task's data.
        data: Units of an epoch where `training.data.size` does not count them; None where the
            published training is known by its updates alone.
        epochs: Passes over the data.
        steps: Updates where neither the spec nor `data` says how much data there is.
        units_per_sample: Units that a sample holds, such as the tokens of a sequence.
        samples_at_once: Samples that pass through the model at once, at most.
        at_once: The same bound in words, such as `16,384 tokens`.
        optimizer: Name of the optimizer.
        beta1: Share of the mean gradient that an update keeps.
        beta2: Share of the mean squared gradient that an update keeps.
        sgd: Peak learning rate of SGD and its reason, where one is published for the task.
        final_lr_share: Share of the peak at which the rate ends.
        most: Samples of an update to which it may grow, so that all declared devices share it;
            0 where no published training grew it.
        growth: The published training whose updates grew so.
    """

    batch: int
    rate: float
    decay: float
    warmup: int = 0
    source: str = ""
    why: Mapping[str, str] = field(default_factory=dict)
    units: tuple[str, ...] = ("samples",)
    data: float | None = None
    epochs: int = 1
    steps: int = 0
    warmup_epochs: float | None = None
    units_per_sample: int = 1
    samples_at_once: int = 2**62
    at_once: str = ""
    optimizer: str = ADAMW
    beta1: float = 0.9
    beta2: float = 0.999
    sgd: tuple[float, str] | None = None
    final_lr_share: float = 0.1
    most: int = 0
    growth: str = ""


@dataclass(frozen=True)
class Growth:
    """How batch and peak rate grow with the size of a model, by a published rule.

    At size N, an update has `batch` x (N / `size`)**`batch_power` units of data, and the rate is
    `rate` x (N / `size`)**`rate_power`. Trainings of small models tune both constants.

    Attributes:
        size: Parameters at which the constants hold.
        batch: Units of training data in an update.
        rate: Peak learning rate.
        batch_power: Exponent of the batch.
        rate_power: Exponent of the rate.
        source: The publication.
        cite: Its entry in the bibliography.
    """

    size: float
    batch: float
    rate: float
    batch_power: float
    rate_power: float
    source: str
    cite: str


def of_samples(
    *, batch: int, rate: float, decay: float, epochs: int, data: float, source: str
) -> Habits:
    """Return the habits of a training on small samples: rows of a table, windows of a series.

    All samples are alike to a spec, which may call them rows, points or examples.
    """
    at_once = 4096
    return Habits(
        batch=batch,
        rate=rate,
        decay=decay,
        warmup=1000,
        source=source,
        why={"data": "assumed, since none is declared"},
        units=ITEMS,
        data=data,
        epochs=epochs,
        samples_at_once=at_once,
        at_once=f"{at_once:,} samples",
        beta2=0.95,
    )


@dataclass(frozen=True)
class Schedule:
    """A training from its first update to its last.

    Attributes:
        habits: What the figures below were derived from.
        steps: Updates.
        batch: Samples of an update.
        parts: Parts in which one process passes an update's samples through the model.
        rate: Peak learning rate.
        warmup: Updates over which the rate rises to its peak; half of all updates at most.
        decay: Weight decay.
        data: Units of an epoch; None where the number of updates comes from the habits.
        epochs: Passes over the data.
    """

    habits: Habits
    steps: int
    batch: int
    parts: int
    rate: float
    warmup: int
    decay: float
    data: float | None = None
    epochs: int = 1

    @classmethod
    def of_proxy(cls, habits: Habits, steps: int) -> Schedule:
        """Return the schedule of a scaled-down model, which no key of the spec changes."""
        return cls(habits, steps, habits.batch, 1, habits.rate, habits.warmup, habits.decay)

    @classmethod
    def declared(cls, habits: Habits, key: Lookup) -> Schedule:
        """Return the full model's schedule: the declared data for the declared epochs."""

        def of(name: str, otherwise: Any) -> Any:
            value = key(f"training.config.{name}")
            return otherwise if value is None else value

        habits = under(habits, of("optimizer", ADAMW))
        batch, epochs = of("batch_size", grown(habits, key)), int(of("epochs", habits.epochs))
        data = _declared(habits, key) or habits.data
        update = batch * habits.units_per_sample
        steps = habits.steps if data is None else max(1, round(data * epochs / update))
        return cls(
            habits,
            steps,
            batch,
            parts=fewest_parts(batch, habits.samples_at_once),
            rate=of("learning_rate", habits.rate),
            warmup=of("warmup_steps", _warmup(habits, steps, data, update, key)),
            decay=of("weight_decay", habits.decay),
            data=data,
            epochs=epochs,
        )

    def fields(self, seed: int) -> dict[str, Any]:
        """Return the fields of train.py's `Config` that every task has, in order."""
        return {
            "steps": self.steps,
            "batch_size": self.batch,
            "grad_accum": self.parts,
            "optimizer": self.habits.optimizer,
            "learning_rate": self.rate,
            "warmup_steps": min(self.warmup, self.steps // 2),
            "final_lr_share": self.habits.final_lr_share,
            "weight_decay": self.decay,
            "beta1": self.habits.beta1,
            "beta2": self.habits.beta2,
            "grad_clip": 1.0,
            "eval_every": min(1000, max(1, self.steps // 6)),
            "eval_batches": 16,
            "save_every": min(1000, self.steps),
            "dtype": "auto",
            "seed": seed,
        }

    def reasons(self, key: Lookup) -> dict[str, str]:
        """Return why each setting that a spec may decide has its value."""
        habits = self.habits
        declared = {
            f"train.{name}": of_spec(key, name, habits.why.get(name, habits.source))
            for name in ("batch_size", "learning_rate", "weight_decay")
        }
        if key("training.config.batch_size") is None and self.batch > habits.batch:
            hardware = key("training.compute.hardware")
            declared["train.batch_size"] += f"; grown to share it among {hardware}, {habits.growth}"
        at_once = f"at most {habits.at_once} pass through the model at once"
        return {
            "train.steps": self._length(key),
            **declared,
            "train.optimizer": _optimizer(habits.optimizer, key),
            "train.grad_accum": at_once,
        }

    def shortened(self, key: Lookup) -> dict[str, str]:
        """Return the declared warm-ups longer than half of the training, which cuts them."""
        names = [f"training.config.warmup_{unit}" for unit in ("steps", "epochs")]
        if 2 * self.warmup <= self.steps + 1:
            return {}
        why = f"it ends after half of the {self.steps:,} steps of the training"
        return {name: why for name in names if key(name) is not None}

    def _length(self, key: Lookup) -> str:
        """Return where the number of updates comes from."""
        habits, unit = self.habits, self.habits.units[0]
        if self.data is None:
            return f"no number of {unit} is declared: {self.steps:,} updates, {habits.source}"
        per_sample = habits.units_per_sample
        update = f"{self.batch:,} x {per_sample:,}" if per_sample > 1 else f"{self.batch:,}"
        size = key("training.data.size")
        amount = (
            f"training.data.size, {size}"
            if _declared(habits, key)
            else habits.why.get("data", habits.source)
        )
        passes = "1 epoch" if self.epochs == 1 else f"{self.epochs:,} epochs"
        return f"{passes} of {self.data:,.0f} {unit} ({amount}) in updates of {update}"


def of_spec(key: Lookup, name: str, otherwise: str) -> str:
    """Return the reason of a setting that `training.config` may declare."""
    return DECLARED if key(f"training.config.{name}") is not None else otherwise


def uncounted(habits: Habits, key: Lookup) -> dict[str, str]:
    """Return the declared keys without an effect since the data is not counted, with why."""
    if _declared(habits, key):
        return {}
    size, units = "training.data.size", habits.units[0]
    ignored = {size: f"the data is counted in {units}"} if key(size) else {}
    if habits.data is None:
        lengths = ("training.config.epochs", "training.config.warmup_epochs")
        why = f"an epoch has no length without {size} in {units}"
        ignored |= {name: why for name in lengths if key(name) is not None}
    return ignored


def _optimizer(name: str, key: Lookup) -> str:
    """Return why the full model has its optimizer; the proxy's rates are those of AdamW."""
    why = of_spec(key, "optimizer", "the usual one, since none is declared")
    proxy = "" if name == ADAMW else f"; the proxy trains with {ADAMW}, whose rates it has"
    return f"{why}: {OPTIMIZERS[name].source}{proxy}"


def grown(habits: Habits, key: Lookup) -> int:
    """Return the samples of an update, doubled until the declared devices can share it."""
    hardware, batch = key("training.compute.hardware"), habits.batch
    devices = parse_hardware(hardware)[0] if hardware else 1
    while batch < devices and 2 * batch <= habits.most:
        batch *= 2
    return batch


def fewest_parts(batch: int, most: int) -> int:
    """Return the fewest equal parts of a batch of which one has at most so many samples."""
    return next(n for n in range(1, batch + 1) if batch % n == 0 and batch // n <= max(1, most))


def _declared(habits: Habits, key: Lookup) -> float | None:
    """Return the declared size of the data; None where it is not counted in the task's units."""
    size = key("training.data.size")
    amount, unit = parse_amount(size) if size else (0.0, "")
    return float(amount) if amount and unit in habits.units else None


def _warmup(habits: Habits, steps: int, data: float | None, update: int, key: Lookup) -> int:
    """Return the updates of the warm-up: some epochs, or a tenth of all updates at most."""
    declared = key("training.config.warmup_epochs")
    epochs = habits.warmup_epochs if declared is None else declared
    if epochs is not None and data:
        return round(data / update * epochs)
    return min(habits.warmup, steps // WARMUP_PARTS)
