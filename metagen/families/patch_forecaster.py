"""The patch transformer for forecasts, PatchTST (arXiv:2211.14730): dimensions and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families.family import Dims, Key, Rule, Value, Words
from metagen.families.grid import closest, divisors
from metagen.families.patch_forecaster_load import count, explained, figures, load
from metagen.families.patch_forecaster_shape import FINE, axes, cost, fit, reasons
from metagen.families.single import context, input_length, lengths, training_length
from metagen.tasks import forecasting as task
from metagen.tasks import samples

__all__ = [
    "axes",
    "context",
    "cost",
    "count",
    "explained",
    "figures",
    "fit",
    "input_length",
    "lengths",
    "load",
    "reasons",
    "training_length",
]

name = "patch_forecaster"
published = "families/patch_forecaster.csv"
task_folder = "templates/tasks/forecasting"
component_types = frozenset(
    {
        "transformer_encoder",
        "encoder",
        "patch_embedding",
        "position_embedding",
        "instance_normalization",
        "revin",
        "linear_head",
        "forecast_head",
    }
)
dims: Mapping[str, type] = {
    "lookback": int,
    "horizon": int,
    "patch_len": int,
    "stride": int,
    "d_model": int,
    "n_layers": int,
    "n_heads": int,
    "d_ff": int,
    "dropout": float,
    "norm_eps": float,
}
formats: Mapping[str, type] = {}
context_dim = None
rules = (
    Rule(
        ("d_model", "n_heads"),
        lambda m: m["d_model"] % m["n_heads"] == 0,
        "the heads share the width evenly, so d_model must be a multiple of n_heads",
    ),
    Rule(
        ("lookback", "patch_len"),
        lambda m: m["patch_len"] < m["lookback"],
        "a window is cut in patches, so patch_len must be below lookback",
    ),
    Rule(
        ("patch_len", "stride"),
        lambda m: m["stride"] <= m["patch_len"],
        "no step between two patches may be skipped, so stride is at most patch_len",
    ),
)
embedding_modules = ()
config_keys = samples.CONFIG_KEYS
optimizer = samples.OPTIMIZER
runtime = task.RUNTIME
benchmark = task.BENCHMARK
words = Words(
    kind="patch Transformer for time series forecasting",
    pipeline_tag="time-series-forecasting",
    unit="series",
    loss_unit="mean absolute scaled error",
    usage="--input series.csv",
    does="prints and draws what follows each column",
    data="weekly CO2 and monthly sea temperatures that come with statsmodels",
    outcome="The proxy's last forecast of the held-out split, beside what came true.",
    risks="forecasts of other series, of breaks in a series and of its spread, and the losses of a "
    "decision that follows them",
)
loss_level = None
work_unit = "sample"
training_unit = "samples"
training_flops = None
optimal_units = None

PROXY = {"d_model": 64, "n_layers": 3, "n_heads": 4}


def model_template(m: Dims) -> str:
    """Return the one source of a patch transformer."""
    return "templates/families/patch_forecaster/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the steps of past and future, where a spec declares them."""
    declared = {name: key(f"task.{name}") for name in ("lookback", "horizon")}
    return {name: value for name, value in declared.items() if value}


def proxy(m: Dims) -> dict[str, Value]:
    """Return a model of about two hundred thousand parameters with the full one's patches.

    It keeps the full model's feed-forward layer relative to its width.
    """
    width = PROXY["d_model"]
    feed_forward = max(FINE, FINE * round(m["d_ff"] / m["d_model"] * width / FINE))
    return {**{each: m[each] for each in dims}, **PROXY, "d_ff": feed_forward}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to patches, heads and shape."""
    half = max(1, int(m["stride"] // 2))
    heads = closest(divisors(int(m["d_model"])), m["n_heads"] / 2)
    changes: tuple[tuple[str, dict[str, Value]], ...] = (
        ("patches of half the length", {"stride": half, "patch_len": 2 * half}),
        ("patches that do not overlap", {"stride": m["patch_len"]}),
        ("half the heads", {"n_heads": heads}),
        ("feed-forward layer of twice the width", {"d_ff": int(2 * m["d_model"])}),
        ("half the depth", {"n_layers": max(1, int(m["n_layers"] // 2))}),
        ("no dropout", {"dropout": 0.0}),
    )
    return [(label, new) for label, new in changes if any(m[n] != v for n, v in new.items())]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of the past of some series."""
    return [{"shape": [length, m["lookback"]], "dtype": "float32"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return task.sections(m, key, reduced=reduced)


def setting_reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return samples.reasons(full["train"], key, task.HABITS)
