"""The sentence embedder: BERT's encoder and the mean of its vectors (arXiv:1908.10084)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families import encoder, encoder_shape
from metagen.families.encoder import explained, lengths, variants
from metagen.families.encoder_shape import cost, fit
from metagen.families.family import Axis, Dims, Key, Load, Need, Value, Words
from metagen.families.trend import Trend
from metagen.tasks import sentence_embedding as task
from metagen.tasks import texts

__all__ = ["cost", "explained", "fit", "lengths", "variants"]

name = "sentence_embedder"
published = "families/encoder.csv"
task_folder = "templates/tasks/sentence_embedding"
component_types = encoder.COMPONENTS | {"pooling", "mean_pooling"}
dims: Mapping[str, type] = encoder.DIMS
formats: Mapping[str, type] = {}
context_dim = "max_seq_len"
rules = encoder.RULES
embedding_modules = encoder.EMBEDDING_MODULES
config_keys = texts.CONFIG_KEYS
optimizer = texts.OPTIMIZER
runtime = task.RUNTIME
benchmark = task.BENCHMARK
words = Words(
    kind="bidirectional Transformer encoder for sentence embeddings",
    pipeline_tag="sentence-similarity",
    unit="token",
    loss_unit="nat/pair",
    usage='--prompt "Bitte geben Sie ein Datum ein."',
    does="prints the training texts nearest to a text",
    data="pairs of short texts that are translations of one message",
    outcome="How often the translation of a held-out text is among those nearest to it.",
    risks="bias between groups of people and between languages, and texts longer than the proxy's",
)
loss_level = None
setting_reasons = task.reasons
work_unit = "sample"
training_unit = task.UNIT
training_flops = None
optimal_units = None


def model_template(m: Dims) -> str:
    """Return the source of the model."""
    return "templates/families/sentence_embedder/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the width: the mean of vectors has as many dimensions as they have."""
    width = key("task.embedding_dim")
    return {"d_model": int(width)} if width else {}


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space of an encoder."""
    return encoder_shape.axes(need, trend, count)


def count(m: Dims) -> int:
    """Return (V + T + S) d + L (4dd + 2df + 9d + f) + 2d, the exact count."""
    return encoder.encoder_count(m)


def context(m: Dims) -> int | None:
    """Return the longest text in tokens."""
    return int(m["max_seq_len"])


def load(m: Dims) -> Load:
    """Return what embedding the longest text takes."""
    return encoder.load(m, count(m))


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    width = {"d_model": "task.embedding_dim"} if "d_model" in need.fixed else {}
    return {**encoder_shape.reasons(m, need, trend), **width}


def proxy(m: Dims) -> dict[str, Value]:
    """Return a small model."""
    return encoder.proxy({each: m[each] for each in dims}, task.PROXY_VOCABULARY)


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
    """Return the tokens of a training pair: twice the longest text."""
    return int(2 * m["max_seq_len"])


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the embedder's documents say of its heads."""
    return {"head_dim": (int(m["d_model"] // m["n_heads"]), "")}
