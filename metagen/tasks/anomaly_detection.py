"""Anomaly detection: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

The proxy's settings are chosen so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.families.family import Benchmark, Key
from metagen.tasks import samples

RUNTIME = ("columns", "digests", "files", "rows", "series", "tables")
# The one set of sensor readings with labels of their own that comes in a small package.
BENCHMARK = Benchmark(
    "anomalies of a spacecraft", {"quick": 1500, "full": 6000}, packages=("river",)
)
HABITS = samples.Habits(
    batch=256,
    rate=1e-3,
    decay=0.01,
    epochs=50,
    samples=100_000,
    at_once=4096,
    source="the default rate and decay of AdamW in PyTorch",
)
PROXY_HABITS = replace(HABITS, batch=128, rate=2e-3)


def sections(key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model."""
    quick = samples.proxy(key, BENCHMARK.steps["quick"], PROXY_HABITS)
    return {
        "data": {"val_fraction": 0.1, "test_fraction": 0.4 if reduced else 0.2},
        "train": quick if reduced else samples.full(key, HABITS),
        "eval": {"batch_size": 1024},
        "infer": {"batch_size": 1, "quantile": 0.99, "digits": 6, "dtype": "bfloat16"},
    }
