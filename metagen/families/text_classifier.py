"""The text classifier: BERT's encoder with a pooler and a linear layer (arXiv:1810.04805)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families import encoder, encoder_shape
from metagen.families.encoder import explained, lengths, variants
from metagen.families.encoder_shape import cost, fit
from metagen.families.family import Axis, Dims, Key, Load, Need, Value, Words
from metagen.families.trend import Trend
from metagen.tasks import text_classification as task
from metagen.tasks import texts

__all__ = ["cost", "explained", "fit", "lengths", "variants"]

name = "text_classifier"
published = "families/encoder.csv"
task_folder = "templates/tasks/text_classification"
component_types = encoder.COMPONENTS | {"pooler", "classifier", "classification_head"}
dims: Mapping[str, type] = {**encoder.DIMS, "num_classes": int}
formats: Mapping[str, type] = {}
context_dim = "max_seq_len"
rules = encoder.RULES
embedding_modules = encoder.EMBEDDING_MODULES
config_keys = texts.CONFIG_KEYS
optimizer = texts.OPTIMIZER
runtime = task.RUNTIME
benchmark = task.BENCHMARK
words = Words(
    kind="bidirectional Transformer encoder for text classification",
    pipeline_tag="text-classification",
    unit="token",
    loss_unit="nat/text",
    usage='--prompt "Bitte geben Sie ein Datum ein."',
    does="prints the likeliest labels of a text",
    data="short translated texts, labelled with their language",
    outcome="What the proxy takes the language of each held-out text for.",
    risks="bias between groups of people, calibration, robustness to spelling, and other languages",
)
loss_level = None
setting_reasons = task.reasons
work_unit = "sample"
training_unit = task.UNIT
training_flops = None
optimal_units = None

DEFAULT_CLASSES = 2


def model_template(m: Dims) -> str:
    """Return the source of the model."""
    return "templates/families/text_classifier/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the number of classes that the task declares."""
    classes = key("task.num_classes")
    return {"num_classes": int(classes)} if classes else {}


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space of an encoder, after the number of classes."""
    classes = Axis("num_classes", lambda m: (DEFAULT_CLASSES,))
    return (classes, *encoder_shape.axes(need, trend, count))


def count(m: Dims) -> int:
    """Return (V + T + S) d + L (4dd + 2df + 9d + f) + 2d + dd + d + C (d + 1), the exact count."""
    return encoder.encoder_count(m) + encoder.pooled_head(m, m["num_classes"])


def context(m: Dims) -> int | None:
    """Return the longest text in tokens."""
    return int(m["max_seq_len"])


def load(m: Dims) -> Load:
    """Return what labelling the longest text takes."""
    return encoder.load(m, count(m))


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    declared = "num_classes" in need.fixed
    default = f"no task.num_classes is declared; the default is {DEFAULT_CLASSES}"
    classes = "task.num_classes" if declared else default
    return {**encoder_shape.reasons(m, need, trend), "num_classes": classes}


def proxy(m: Dims) -> dict[str, Value]:
    """Return a small model with as many classes as the bundled texts have languages."""
    small = encoder.proxy({each: m[each] for each in dims}, task.PROXY_VOCABULARY)
    return {**small, "max_seq_len": task.PROXY_LENGTH, "num_classes": task.PROXY_CLASSES}


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return task.sections(m, key, reduced=reduced)


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of one text's token ids."""
    return [encoder.tokens(m, length)]


def input_length(m: Dims) -> int:
    """Return the tokens of the longest text."""
    return int(m["max_seq_len"])


def training_length(m: Dims) -> int:
    """Return the tokens of a training example: the longest text."""
    return int(m["max_seq_len"])


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the classifier's documents say of its heads."""
    return {"head_dim": (int(m["d_model"] // m["n_heads"]), "")}
