"""Classification of time series: each series has one of some classes.

The full model trains as PatchTST (arXiv:2211.14730) does on its Weather data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.tasks.forecasting import HABITS, LOOKBACK
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task


class TimeSeriesClassification(Task):
    """From series (B, channels, lookback) to the logits of each one's class."""

    name = "time_series_classification"
    metrics = ("accuracy", "macro_f1")
    # The quick training takes about twenty seconds of one thread.
    benchmark = Benchmark(
        "species of a leaf by its outline",
        {"quick": 400, "full": 1500},
        alone=("aeon==1.6.0",),
        seeds=1,
        sheets=("OSULeaf",),
    )
    words = {
        "pipeline_tag": "other",
        "unit": "series",
        "loss_unit": "nat/series",
        "usage": "--input series.jsonl",
        "does": "labels the series of a file",
        "data": "outlines of leaves of six species, as series, that come with aeon",
        "outcome": "The proxy's confusion matrix: how many held-out series of a class it takes for "
        "another.",
        "risks": "series from other sensors, people or places than those of training, series that "
        "are cut otherwise, calibration, and rare classes",
    }
    input = "series"
    defaults = {"lookback": LOOKBACK, "n_channels": 1, "num_classes": 2}
    default_reasons = {
        "lookback": f"no task.lookback is declared: the {LOOKBACK} steps of PatchTST",
        "n_channels": "no task.num_outputs is declared: one value for each step",
        "num_classes": "no task.num_classes is declared: 2",
    }
    # Data decides how many classes and channels a proxy has; these are the bundled series'.
    proxy = {"lookback": 256, "n_channels": 1, "num_classes": 6}
    fixed_by = {
        "lookback": "task.lookback",
        "n_channels": "task.num_outputs",
        "num_classes": "task.num_classes",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=32, rate=1e-3, decay=0.1, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_fraction": 0.1, "test_fraction": 0.2}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "baseline_series": 10_000, "baseline_kernels": 500}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "digits": 4, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of series: (length, channels, lookback)."""
        return [{"shape": [length, m["n_channels"], m["lookback"]], "dtype": "float32"}]
