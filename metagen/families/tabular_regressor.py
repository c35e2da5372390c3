"""The residual MLP over embedded columns as a regressor of rows: dimensions and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.errors import Problem, SpecError
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

name = "tabular_regressor"
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
# Under so much dropout a longer training is a better one, on parts of what is no test split.
PROXY_DROPOUT = 0.9
benchmark = Benchmark("progression of diabetes", {"quick": 400, "full": 1500}, tabular.PACKAGES)
words = Words(
    kind="residual MLP for tabular regression",
    pipeline_tag="tabular-regression",
    unit="row",
    loss_unit="variance of the target",
    usage="--input rows.csv",
    does="predicts a number for each row",
    data="the diabetes table that comes with scikit-learn",
    outcome="The proxy's predictions over the truth, of rows that it was not trained on.",
    risks="predictions for rows unlike those of training, and differences between groups of people",
)
OUTPUTS = 1
TARGET_KIND = "number"
loss_level = None
work_unit = "sample"
training_unit = "samples"
training_flops = None
optimal_units = None


def model_template(m: Dims) -> str:
    """Return the one source of a residual MLP."""
    return "templates/families/tabular_mlp/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the number of outputs.

    Raises:
        SpecError: The spec declares others than one.
    """
    outputs = key("task.num_outputs")
    if outputs not in (None, OUTPUTS):
        sentence = f"{name} predicts one number for a row, not {outputs}"
        raise SpecError([Problem(sentence, "task.num_outputs", "train a model for each of them")])
    return {"n_outputs": OUTPUTS}


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space."""
    return shape.axes(need, trend, OUTPUTS)


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    return shape.reasons(m, trend, "one number is predicted")


def proxy(m: Dims) -> dict[str, Value]:
    """Return a small model for the bundled table."""
    return {**shape.proxy(m, OUTPUTS), "dropout": PROXY_DROPOUT}


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return tabular.sections(key, benchmark.steps["quick"], TARGET_KIND, reduced=reduced)


def setting_reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return samples.reasons(full["train"], key, tabular.HABITS)
