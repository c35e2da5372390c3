"""Detection of anomalies in time series by a model that learns to reconstruct what is normal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.tasks.schedule import Habits, of_samples
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

WINDOW = 64  # steps that are reconstructed together
CHANNELS = 16  # More channels take more parameters; a series may have fewer.
HABITS = of_samples(
    batch=256,
    rate=1e-3,
    decay=0.01,
    epochs=50,
    data=100_000,
    source="the default rate and decay of AdamW in PyTorch",
)


class AnomalyDetection(Task):
    """From a window (B, T, C) of a series to its reconstruction, whose error is the score."""

    name = "anomaly_detection"
    # The space shuttle's sensors are the one set with labels that comes in a small package.
    metrics = ("average_precision", "roc_auc")
    benchmark = Benchmark(
        "anomalies of a spacecraft", {"quick": 1500, "full": 6000}, ("river",), sheets=("shuttle",)
    )
    words = {
        "pipeline_tag": "other",
        "unit": "window",
        "loss_unit": "variance of a channel",
        "usage": "--input new.csv --normal known.csv",
        "does": "says how anomalous each window is",
        "data": "readings of nine sensors of the space shuttle that come with river",
        "outcome": "Precision over recall on the held-out split, of the proxy and of a baseline.",
        "risks": "anomalies of other kinds and of other machines, false alarms as the normal "
        "changes over time, and windows of more than one step",
    }
    input = "window"
    defaults = {"window": WINDOW, "n_channels": CHANNELS}
    default_reasons = {
        "window": f"no task.lookback is declared; the default is {WINDOW} steps",
        "n_channels": "room for the channels of a series, which may have fewer",
    }
    # The bundled readings are in no order of time, so a window of them is one step.
    proxy = {"window": 1, "n_channels": 16}
    fixed_by = {"window": "task.lookback", "n_channels": "task.num_outputs"}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=128, rate=2e-3, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_fraction": 0.1, "test_fraction": 0.4 if reduced else 0.2}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 1024}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 1, "quantile": 0.99, "digits": 6, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of windows: (length, window, n_channels)."""
        return [{"shape": [length, m["window"], m["n_channels"]], "dtype": "float32"}]
