"""Training on texts: what the tasks of the encoder families set alike.

What a spec's `training.config` declares goes first. The rest of the full model's settings are those
of BERT's pre-training (arXiv:1810.04805, section A.2), since training starts from random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Key
from metagen.families.grid import divisors
from metagen.tasks.training import fields
from metagen.units import parse_amount, same_things

CONFIG_KEYS = frozenset(
    {"batch_size", "epochs", "learning_rate", "optimizer", "warmup_steps", "weight_decay"}
)
OPTIMIZER = "adamw"
RUNTIME = (
    *("digests", "files", "folders", "lowercase", "records", "rows", "sequences", "tokenizer"),
)
STEPS, BATCH, LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY = 1_000_000, 256, 1e-4, 10_000, 0.01
PROXY_WARMUP_STEPS = 40
PASS_TOKENS = 2**14  # that pass through the model at once


def held_out(*, reduced: bool) -> dict[str, float]:
    """Return the shares of a file that are the splits val and test."""
    val, test = (0.1, 0.2) if reduced else (0.05, 0.1)
    return {"val_fraction": val, "test_fraction": test}


def proxy(
    key: Key, *, steps: int, batch: int, rate: float, decay: float = WEIGHT_DECAY
) -> dict[str, Any]:
    """Return the schedule of a scaled-down model."""
    return fields(
        key,
        steps=steps,
        batch=batch,
        rate=rate,
        warmup=PROXY_WARMUP_STEPS,
        decay=decay,
        beta2=0.98,
    )


def training(key: Key, unit: str, length: int, held: int = 1) -> dict[str, Any]:
    """Return the full model's schedule: the declared data, once or for the declared epochs.

    Args:
        key: Gives the spec's values.
        unit: What the data is counted in.
        length: Tokens of a sample.
        held: Units of the data that a sample holds.
    """
    batch = key("training.config.batch_size") or BATCH
    units = _units(key, unit)
    steps = max(1, round(units / (batch * held))) if units else STEPS
    warmup, decay = key("training.config.warmup_steps"), key("training.config.weight_decay")
    return fields(
        key,
        steps=steps,
        batch=batch,
        parts=_parts(batch, length),
        rate=key("training.config.learning_rate") or LEARNING_RATE,
        warmup=min(WARMUP_STEPS, steps // 10) if warmup is None else warmup,
        decay=WEIGHT_DECAY if decay is None else decay,
        beta2=0.999,
    )


def _units(key: Key, unit: str) -> float | None:
    """Return the data to train on, over all epochs; None where it is not declared in this unit."""
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    return amount * (key("training.config.epochs") or 1) if same_things(thing, unit) else None


def _parts(batch: int, length: int) -> int:
    """Return the fewest equal parts of a batch of which one is at most PASS_TOKENS tokens."""
    fitting = (n for n in divisors(batch) if batch // n * length <= PASS_TOKENS)
    return next(fitting, batch)


def reasons(full: Mapping[str, Any], key: Key, unit: str, held: int = 1) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    batch, units = full["train"]["batch_size"], _units(key, unit)
    declared, published = "declared in training.config", "as BERT's pre-training"
    update = f"{batch} x {held}" if held > 1 else f"{batch}"
    amount = f"{units or 0:.4g} {unit} in updates of {update}; training.data.size and epochs"
    return {
        "data.max_len": "the window of the model",
        "train.steps": amount if units else f"no number of {unit} is declared: {published}",
        "train.batch_size": declared if key("training.config.batch_size") else published,
        "train.grad_accum": f"at most {PASS_TOKENS:,} tokens pass through the model at once",
        "train.learning_rate": declared if key("training.config.learning_rate") else published,
    }
