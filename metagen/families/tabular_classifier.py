"""The residual MLP over embedded columns as a classifier of rows: dimensions and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families import tabular_shape as shape
from metagen.families.family import Axis, Benchmark, Dims, Key, Need, Value, Words
from metagen.families.single import context, input_length, lengths, training_length
from metagen.families.tabular_load import count, explained, figures, load
from metagen.families.tabular_shape import cost, example, fit, variants
from metagen.families.trend import Trend
from metagen.tasks import samples, tabular

__all__ = [
    "context",
    "cost",
    "count",
    "example",
    "explained",
    "figures",
    "fit",
    "input_length",
    "lengths",
    "load",
    "training_length",
    "variants",
]

name = "tabular_classifier"
published = "families/tabular_mlp.csv"
task_folder = "templates/tasks/tabular"
component_types = shape.COMPONENT_TYPES
dims = shape.DIMS
formats: Mapping[str, type] = {}
context_dim = None
rules = shape.RULES
embedding_modules = ("numeric", "categories")
config_keys = samples.CONFIG_KEYS
optimizer = samples.OPTIMIZER
runtime = tabular.RUNTIME
benchmark = Benchmark("benign and malignant tumours", {"quick": 300, "full": 400}, tabular.PACKAGES)
words = Words(
    kind="residual MLP for tabular classification",
    pipeline_tag="tabular-classification",
    unit="row",
    loss_unit="nat/row",
    usage="--input rows.csv",
    does="gives each row a class and its probability",
    data="the breast cancer table that comes with scikit-learn",
    outcome="The proxy's confusion matrix, of rows that it was not trained on: how many of a class "
    "it takes for another.",
    risks="classes of rows unlike those of training, calibration, rare classes, and differences "
    "between groups of people",
)
OUTPUTS = 2
TARGET_KIND = "class"
loss_level = None
work_unit = "sample"
training_unit = "samples"
training_flops = None
optimal_units = None


def model_template(m: Dims) -> str:
    """Return the one source of a residual MLP."""
    return "templates/families/tabular_mlp/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the number of classes, where a spec declares it."""
    classes = key("task.num_classes")
    return {"n_outputs": classes} if classes else {}


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space."""
    return shape.axes(need, trend, OUTPUTS)


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    declared = "n_outputs" in need.fixed
    why = "task.num_classes" if declared else f"no task.num_classes is declared: {OUTPUTS}"
    return shape.reasons(m, trend, why)


def proxy(m: Dims) -> dict[str, Value]:
    """Return a small model for the bundled table."""
    return shape.proxy(m, OUTPUTS)


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return tabular.sections(key, benchmark.steps["quick"], TARGET_KIND, reduced=reduced)


def setting_reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return samples.reasons(full["train"], key, tabular.HABITS)
