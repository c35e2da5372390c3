"""Tables: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

The full model's training is that of the authors' code for arXiv:2106.11959; the proxy's settings
are chosen so that a build trains it in seconds, on one thread, and once more for each fold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.families.family import Key
from metagen.tasks import samples

RUNTIME = ("columns", "crossval", "tables")
PACKAGES = ("scikit-learn",)
HABITS = samples.Habits(
    batch=256,
    rate=3e-4,
    decay=1e-5,
    epochs=100,
    samples=100_000,
    at_once=4096,
    source="as in the example of the authors' code",
)
# Significant digits of a predicted number; digits after the point of a class's probability.
DIGITS = {"number": 6, "class": 4}
PROXY_HABITS = replace(HABITS, batch=64, rate=5e-4, decay=1.0)


def sections(key: Key, steps: int, target_kind: str, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model.

    Args:
        key: Gives the value of a key of the spec.
        steps: Updates of the proxy.
        target_kind: `number` for regression, `class` for classification.
        reduced: Whether they are of the proxy.
    """
    quick = samples.proxy(key, steps, PROXY_HABITS)
    return {
        "data": {"target_kind": target_kind, "val_fraction": 0.1, "test_fraction": 0.2},
        "train": quick if reduced else samples.full(key, HABITS),
        "eval": {
            "batch_size": 1024,
            "penalty": 1.0,
            "folds": 5,
            "repeats": 2 if reduced else 0,
            "most_rows": 2000,
            "baseline_rows": 100_000,
        },
        "infer": {"batch_size": 1, "digits": DIGITS[target_kind], "dtype": "bfloat16"},
    }
