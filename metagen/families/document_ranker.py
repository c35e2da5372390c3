"""The ranker of passages: BERT reads query and passage together (arXiv:1901.04085)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families import encoder, encoder_shape
from metagen.families.encoder import explained, lengths, variants
from metagen.families.encoder_shape import cost, fit, reasons
from metagen.families.family import Axis, Dims, Key, Load, Need, Value, Words
from metagen.families.trend import Trend
from metagen.tasks import document_ranking as task
from metagen.tasks import texts

__all__ = ["cost", "explained", "fit", "lengths", "reasons", "variants"]

name = "document_ranker"
published = "families/encoder.csv"
task_folder = "templates/tasks/document_ranking"
component_types = encoder.COMPONENTS | {"cross_encoder", "pooler", "scoring_head"}
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
    kind="Transformer cross-encoder for ranking passages",
    pipeline_tag="text-ranking",
    unit="token",
    loss_unit="nat/query",
    usage='--prompt "How are names resolved?"',
    does="prints the passages that fit a query best",
    data="sentences of Python's help topics and docstrings with the rest of their paragraphs",
    outcome="How often a held-out query is answered within so many of the best passages.",
    risks="bias towards sources, groups of people and long passages, and hostile passages",
)
loss_level = None
setting_reasons = task.reasons
work_unit = "sample"
training_unit = task.UNIT
training_flops = None
optimal_units = None


def model_template(m: Dims) -> str:
    """Return the source of the model."""
    return "templates/families/document_ranker/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return no dimension: the task fixes none."""
    return {}


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space of an encoder."""
    return encoder_shape.axes(need, trend, count)


def count(m: Dims) -> int:
    """Return (V + T + S) d + L (4dd + 2df + 9d + f) + 2d + dd + d + d + 1, the exact count."""
    return encoder.encoder_count(m) + encoder.pooled_head(m, 1)


def context(m: Dims) -> int | None:
    """Return the longest query and passage together, in tokens."""
    return int(m["max_seq_len"])


def load(m: Dims) -> Load:
    """Return what scoring the longest pair takes."""
    return encoder.load(m, count(m))


def proxy(m: Dims) -> dict[str, Value]:
    """Return a small model."""
    small = encoder.proxy({each: m[each] for each in dims}, task.PROXY_VOCABULARY)
    return {**small, "max_seq_len": task.PROXY_LENGTH}


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return task.sections(m, key, reduced=reduced)


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shapes of one pair's token ids and segments."""
    return [encoder.tokens(m, length), encoder.tokens(m, length)]


def input_length(m: Dims) -> int:
    """Return the tokens of the longest pair."""
    return int(m["max_seq_len"])


def training_length(m: Dims) -> int:
    """Return the tokens of a training pair: the longest one."""
    return int(m["max_seq_len"])


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the ranker's documents say of its heads."""
    return {"head_dim": (int(m["d_model"] // m["n_heads"]), "")}
