"""Training on samples, such as rows of a table and windows of a series: settings of `train.py`.

What a spec's `training.config` declares goes first; a task says what it does otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metagen.families.family import Key
from metagen.families.grid import divisors
from metagen.tasks import training
from metagen.units import ITEMS, parse_amount

CONFIG_KEYS = frozenset(
    {"batch_size", "epochs", "learning_rate", "optimizer", "warmup_steps", "weight_decay"}
)
OPTIMIZER = "adamw"
WARMUP_SHARE = 0.1  # of all updates, at most
WARMUP_STEPS = 1000  # at most


@dataclass(frozen=True)
class Habits:
    """How a task trains where a spec says nothing.

    Attributes:
        batch: Samples of an update.
        rate: Peak learning rate.
        decay: Weight decay.
        epochs: Passes over the data.
        samples: Of the data, where its size is not declared.
        at_once: Samples that pass through the model at once, at most.
        source: Where batch, rate, decay and epochs come from.
    """

    batch: int
    rate: float
    decay: float
    epochs: int
    samples: int
    at_once: int
    source: str


def proxy(key: Key, steps: int, habits: Habits) -> dict[str, Any]:
    """Return the fields of train.py's `Config` for a scaled-down model."""
    return training.fields(
        key,
        steps=steps,
        batch=habits.batch,
        rate=habits.rate,
        warmup=max(1, int(WARMUP_SHARE * steps)),
        decay=habits.decay,
    )


def full(key: Key, habits: Habits) -> dict[str, Any]:
    """Return the fields of train.py's `Config` for the full model."""
    batch = key("training.config.batch_size") or habits.batch
    steps = max(1, round(_samples(key, habits) * _epochs(key, habits) / batch))
    warmup, decay = key("training.config.warmup_steps"), key("training.config.weight_decay")
    return training.fields(
        key,
        steps=steps,
        batch=batch,
        parts=next(n for n in divisors(batch) if batch // n <= habits.at_once),
        rate=key("training.config.learning_rate") or habits.rate,
        warmup=min(WARMUP_STEPS, max(1, int(WARMUP_SHARE * steps))) if warmup is None else warmup,
        decay=habits.decay if decay is None else decay,
    )


def reasons(train: Mapping[str, Any], key: Key, habits: Habits) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    declared, size = "declared in training.config", key("training.data.size")
    amount = f"training.data.size, {size}" if _declared(key) else "assumed, since none is declared"

    def of(name: str) -> str:
        return declared if key(f"training.config.{name}") is not None else habits.source

    return {
        "train.steps": f"{_epochs(key, habits)} epochs of {_samples(key, habits):,.0f} samples "
        f"({amount}) in updates of {train['batch_size']:,}",
        "train.batch_size": of("batch_size"),
        "train.grad_accum": f"at most {habits.at_once:,} samples pass through the model at once",
        "train.learning_rate": of("learning_rate"),
        "train.weight_decay": of("weight_decay"),
    }


def _declared(key: Key) -> float | None:
    """Return the declared number of samples, None where the data is not counted in them."""
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    return amount if thing in ITEMS else None


def _samples(key: Key, habits: Habits) -> float:
    return _declared(key) or habits.samples


def _epochs(key: Key, habits: Habits) -> int:
    return int(key("training.config.epochs") or habits.epochs)
