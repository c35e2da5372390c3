"""Forecasting of time series.

The full model trains as PatchTST (arXiv:2211.14730) does on its Weather data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.tasks.schedule import Habits, of_samples
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

LOOKBACK, HORIZON = 336, 96  # steps, the shorter ones of PatchTST
HABITS = of_samples(
    batch=128,
    rate=1e-4,
    decay=0.01,
    epochs=100,
    # Weather has about as many training windows: seven tenths of its 52,696 steps.
    data=36_000,
    source="as PatchTST on its Weather data",
)


class Forecasting(Task):
    """From the past (B, lookback) of a series to its future (B, horizon)."""

    name = "forecasting"
    metrics = ("mase", "mae")
    benchmark = Benchmark(
        "forecasts of measured series",
        {"quick": 400, "full": 1500},
        ("statsmodels",),
        sheets=("co2_weekly", "elnino_monthly"),
    )
    words = {
        "pipeline_tag": "time-series-forecasting",
        "unit": "series",
        "loss_unit": "mean absolute scaled error",
        "usage": "--input series.csv",
        "does": "prints and draws what follows each column",
        "data": "weekly CO2 and monthly sea temperatures that come with statsmodels",
        "outcome": "The proxy's last forecast of the held-out split, beside what came true.",
        "risks": "forecasts of other series, of breaks in a series and of its spread, and the "
        "losses of a decision that follows them",
    }
    input = "series"
    defaults = {"lookback": LOOKBACK, "horizon": HORIZON}
    default_reasons = {
        "lookback": f"no task.lookback is declared: the {LOOKBACK} steps of PatchTST",
        "horizon": f"no task.horizon is declared: the {HORIZON} steps of PatchTST",
    }
    checked = frozenset({"task.num_outputs"})
    fixed_by = {"lookback": "task.lookback", "horizon": "task.horizon"}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=32, rate=1e-3, decay=0.1, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_fraction": 0.1, "test_fraction": 0.2, "season": 0}

    def left_out(self, key: Lookup) -> dict[str, str]:
        name = "task.num_outputs"
        why = "each column of a table is forecast alone, and there may be any number of them"
        return {name: why} if key(name) not in (None, 1) else {}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "penalty": 10.0}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"digits": 6, "shown": m["lookback"], "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of the past of series: (length, lookback)."""
        return [{"shape": [length, m["lookback"]], "dtype": "float32"}]
