"""Forecasting: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

The full model's training is that of PatchTST (arXiv:2211.14730) on its Weather data; the proxy's
settings are chosen so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.tasks import samples

RUNTIME = ("digests", "files", "rows", "series", "tables")
BENCHMARK = Benchmark(
    "forecasts of measured series", {"quick": 400, "full": 1500}, packages=("statsmodels",)
)
HABITS = samples.Habits(
    batch=128,
    rate=1e-4,
    decay=0.01,
    epochs=100,
    samples=36_000,  # about the training windows of Weather, seven tenths of 52,696 steps
    at_once=4096,
    source="as PatchTST on its Weather data",
)
PROXY_HABITS = replace(HABITS, batch=32, rate=1e-3, decay=0.1)


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    quick = BENCHMARK.steps["quick"]
    return {
        "data": {"val_fraction": 0.1, "test_fraction": 0.2, "season": 0},
        "train": samples.proxy(key, quick, PROXY_HABITS) if reduced else samples.full(key, HABITS),
        "eval": {"batch_size": 256, "penalty": 10.0},
        "infer": {"digits": 6, "shown": int(m["lookback"]), "dtype": "bfloat16"},
    }
