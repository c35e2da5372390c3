"""The deep autoencoder of windows of a series, for anomaly detection: dimensions and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families.autoencoder_shape import (
    axes,
    cost,
    count,
    explained,
    figures,
    fit,
    load,
    reasons,
)
from metagen.families.family import Dims, Key, Rule, Value, Words
from metagen.families.single import context, input_length, lengths, training_length
from metagen.tasks import anomaly_detection as task
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

name = "autoencoder"
published = "families/autoencoder.csv"
task_folder = "templates/tasks/anomaly_detection"
component_types = frozenset({"autoencoder", "encoder", "decoder", "mlp", "bottleneck", "latent"})
dims: Mapping[str, type] = {
    "window": int,
    "n_channels": int,
    "d_hidden": int,
    "n_layers": int,
    "d_latent": int,
}
formats: Mapping[str, type] = {}
context_dim = None
rules = (
    Rule(
        ("d_hidden", "n_layers"),
        lambda m: m["d_hidden"] >= 2 ** (m["n_layers"] - 1),
        "each layer has half the width of the one before, so d_hidden must be 2**(n_layers - 1) "
        "or more",
    ),
    Rule(
        ("window", "n_channels", "d_latent"),
        lambda m: m["d_latent"] < m["window"] * m["n_channels"],
        "a code that is as wide as a window could copy it, so d_latent must be below window * "
        "n_channels",
    ),
)
embedding_modules = ()
config_keys = samples.CONFIG_KEYS
optimizer = samples.OPTIMIZER
runtime = task.RUNTIME
benchmark = task.BENCHMARK
words = Words(
    kind="deep autoencoder for anomaly detection",
    pipeline_tag="other",
    unit="window",
    loss_unit="variance of a channel",
    usage="--input new.csv --normal known.csv",
    does="says how anomalous each window is",
    data="readings of nine sensors of the space shuttle that come with river",
    outcome="Precision over recall on the held-out split, of the proxy and of a baseline.",
    risks="anomalies of other kinds and of other machines, false alarms as the normal changes over "
    "time, and windows of more than one step",
)
loss_level = None
work_unit = "sample"
training_unit = "samples"
training_flops = None
optimal_units = None

# The bundled readings are in no order of time, so that a window of them is one step.
PROXY: Mapping[str, Value] = {
    "window": 1,
    "n_channels": 16,
    "d_hidden": 64,
    "n_layers": 2,
    "d_latent": 4,
}


def model_template(m: Dims) -> str:
    """Return the one source of an autoencoder."""
    return "templates/families/autoencoder/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the steps of a window, where a spec declares a lookback."""
    window = key("task.lookback")
    return {"window": window} if window else {}


def proxy(m: Dims) -> dict[str, Value]:
    """Return a model of about seven thousand parameters for the bundled readings."""
    return dict(PROXY)


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to the code and the layers."""
    changes: tuple[tuple[str, str, Value], ...] = (
        ("a code of half the width", "d_latent", max(1, int(m["d_latent"] // 2))),
        ("a code of twice the width", "d_latent", int(2 * m["d_latent"])),
        ("windows of half the length", "window", max(1, int(m["window"] // 2))),
        ("one layer before the code", "n_layers", 1),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of some windows."""
    return [{"shape": [length, m["window"], m["n_channels"]], "dtype": "float32"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return task.sections(key, reduced=reduced)


def setting_reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return samples.reasons(full["train"], key, task.HABITS)
