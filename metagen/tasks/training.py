"""The settings that the train.py of every task has, by the fields of its `Config`."""

from __future__ import annotations

from typing import Any

from metagen.families.family import Key


def fields(
    key: Key,
    *,
    steps: int,
    batch: int,
    rate: float,
    warmup: int,
    decay: float,
    parts: int = 1,
    beta2: float = 0.95,
    final_lr_share: float = 0.1,
) -> dict[str, Any]:
    """Return the fields that all tasks share, in order.

    Args:
        key: Gives the spec's values.
        steps: Updates.
        batch: Samples in an update.
        rate: Peak learning rate.
        warmup: Updates in which the rate rises to it.
        decay: Weight decay.
        parts: Parts in which one process passes an update's samples through the model.
        beta2: AdamW's memory of the gradient's square.
        final_lr_share: Share of the peak at which the rate ends.
    """
    return {
        "steps": steps,
        "batch_size": batch,
        "grad_accum": parts,
        "learning_rate": rate,
        "warmup_steps": warmup,
        "final_lr_share": final_lr_share,
        "weight_decay": decay,
        "beta1": 0.9,
        "beta2": beta2,
        "grad_clip": 1.0,
        "eval_every": min(1000, max(1, steps // 6)),
        "eval_batches": 16,
        "save_every": min(1000, steps),
        "dtype": "auto",
        "seed": key("reproducibility.seed"),
    }
