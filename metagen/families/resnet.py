"""The residual network of bottleneck blocks (arXiv:1512.03385) as an image classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families.family import Dims, Key, Value, Words
from metagen.families.resnet_load import STAGES, count, explained, figures, load
from metagen.families.resnet_shape import axes, cost, fit, reasons
from metagen.families.single import context, input_length, lengths, training_length
from metagen.tasks import image_classification as task

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

name = "resnet"
published = "families/resnet.csv"
task_folder = "templates/tasks/image_classification"
component_types = frozenset(
    {"cnn", "convolutional_backbone", "backbone", "resnet", "bottleneck", "stem", "classifier"}
)
dims: Mapping[str, type] = {
    "image_height": int,
    "image_width": int,
    "num_channels": int,
    "num_classes": int,
    "width": int,
    **{f"depth_{stage}": int for stage in STAGES},
}
formats: Mapping[str, type] = {}
context_dim = None
rules = ()
embedding_modules = ()
config_keys = task.CONFIG_KEYS
optimizer = task.OPTIMIZER
runtime = task.RUNTIME
benchmark = task.BENCHMARK
words = Words(
    kind="residual network for image classification",
    pipeline_tag="image-classification",
    unit="image",
    loss_unit="nat/image",
    usage="--input photo.jpg",
    does="labels an image",
    data=task.DATA,
    outcome=task.OUTCOME,
    risks=task.RISKS,
)
loss_level = None
setting_reasons = task.reasons
fixed = task.fixed
work_unit = "img"
training_unit = "images"
training_flops = None
optimal_units = None

PROXY_SIDE = 32  # pixels, four for each of the digits', so that all five halvings have a sense
PROXY = {**task.PROXY, "image_height": PROXY_SIDE, "image_width": PROXY_SIDE, "width": 8}


def model_template(m: Dims) -> str:
    """Return the one source of a bottleneck residual network."""
    return "templates/families/resnet/model.py"


def proxy(m: Dims) -> dict[str, Value]:
    """Return a network of one block a stage, of about a hundred thousand parameters."""
    return {**m, **PROXY, **{f"depth_{stage}": 1 for stage in STAGES}}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to width and depth."""
    changes: tuple[tuple[str, str, Value], ...] = (
        ("twice the width", "width", 2 * m["width"]),
        ("half the width", "width", max(1, m["width"] // 2)),
        ("half the third stage", "depth_3", max(1, m["depth_3"] // 2)),
        ("twice the second stage", "depth_2", 2 * m["depth_2"]),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of a batch of images."""
    shape = [length, m["num_channels"], m["image_height"], m["image_width"]]
    return [{"shape": shape, "dtype": "float32"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return task.sections(m, key, reduced=reduced)
