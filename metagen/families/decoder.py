"""The decoder-only transformer language model: dimensions, counts and published shape.

RoPE, RMSNorm, SwiGLU and grouped-query attention, as in Llama 2 (arXiv:2307.09288) and Llama 3
(arXiv:2407.21783).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families import levers
from metagen.families.decoder_load import (
    PROMPT,
    context,
    explained,
    figures,
    input_length,
    load,
    training_length,
)
from metagen.families.decoder_shape import BYTE_VOCABULARY, axes, cost, fit, reasons
from metagen.families.family import Benchmark, Dims, Key, Rule, Value, Words
from metagen.families.grid import closest, divisors, granule
from metagen.families.transformer import count, rope_base
from metagen.tasks import language_modeling

__all__ = [
    "axes",
    "context",
    "cost",
    "count",
    "explained",
    "figures",
    "fit",
    "input_length",
    "load",
    "reasons",
    "training_length",
]

name = "decoder"
published = "families/decoder.csv"
task_folder = "templates/tasks/language_modeling"
component_types = frozenset(
    {"transformer_decoder", "decoder", "causal_decoder", "embedding", "token_embedding", "lm_head"}
)
dims: Mapping[str, type] = {
    "d_model": int,
    "n_layers": int,
    "n_heads": int,
    "n_kv_heads": int,
    "head_dim": int,
    "d_ff": int,
    "vocab_size": int,
    "max_seq_len": int,
    "window": int,
    "global_every": int,
    "rope_theta": float,
    "norm_eps": float,
    "tie_embeddings": bool,
}
formats: Mapping[str, type] = {"weight_bits": int, "cache_bits": int}
context_dim = "max_seq_len"
rules = (
    Rule(
        ("n_heads", "n_kv_heads"),
        lambda m: m["n_heads"] % m["n_kv_heads"] == 0,
        "each key/value head serves the same number of query heads, "
        "so n_heads must be a multiple of n_kv_heads",
    ),
    Rule(
        ("head_dim",),
        lambda m: m["head_dim"] % 2 == 0,
        "rotary position embedding turns pairs of dimensions, so head_dim must be even",
    ),
    *levers.RULES,
)
embedding_modules = ("embed_tokens", "lm_head")
config_keys = language_modeling.CONFIG_KEYS
optimizer = language_modeling.OPTIMIZER
runtime = language_modeling.RUNTIME
benchmark = Benchmark("held-out text", language_modeling.BENCH_STEPS)
words = Words(
    kind="decoder-only Transformer language model",
    pipeline_tag="text-generation",
    unit="token",
    loss_unit="nat/token",
    usage='--prompt "The "',
    does="continues a prompt",
    data="the bundled text",
    outcome="The proxy beside its baselines, which read the same text.",
    risks="bias, toxicity, factuality, memorisation and robustness",
)
loss_level = ("bits_per_byte", math.log(2))  # the proxy's tokens are bytes
setting_reasons = language_modeling.reasons
work_unit = "tok"
training_unit = "tokens"
training_flops = 6  # 2 forward, 4 backward (Kaplan et al., 2020, arXiv:2001.08361, section 2.1)
optimal_units = (
    float(language_modeling.TOKENS_PER_PARAMETER),
    "Hoffmann et al., 2022, arXiv:2203.15556, table 3",
)

PROXY = {"d_model": 128, "n_layers": 2, "n_heads": 4, "vocab_size": 256, "max_seq_len": 256}
PROXY_WINDOW = 64  # half of a training sequence of the proxy


def model_template(m: Dims) -> str:
    """Return the plain decoder, or the one most of whose layers see a window."""
    local = "_local" if "global_every" in m else ""
    return f"templates/families/decoder/model{local}.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return no dimension: the context window is searched under its own constraint."""
    return {}


def proxy(m: Dims) -> dict[str, Value]:
    """Return a byte-level model of about half a million parameters, built like the full one.

    It keeps what is shared and how: tied tables, query heads a key/value head, the width of the
    heads together and of the feed-forward layer, both relative to d_model, and local layers.
    """
    width, heads = PROXY["d_model"], PROXY["n_heads"]
    group, step = m["n_heads"] / m["n_kv_heads"], granule(width)
    attention = m["n_heads"] * m["head_dim"] / m["d_model"] * width
    local = {"window": PROXY_WINDOW, "global_every": PROXY["n_layers"]}
    small = {
        **{each: value for each, value in m.items() if each in dims},
        **PROXY,
        **(local if "global_every" in m else {}),
        "n_kv_heads": heads // closest(divisors(heads), group),
        "head_dim": max(2, 2 * round(attention / heads / 2)),
        "d_ff": max(step, step * round(m["d_ff"] / m["d_model"] * width / step)),
    }
    return {**small, "rope_theta": rope_base(small)}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to attention, vocabulary, tying and shape."""
    step = granule(m["d_model"])
    changes: tuple[tuple[str, str, Value], ...] = (
        ("one key/value head for each query head", "n_kv_heads", m["n_heads"]),
        ("one key/value head for all query heads", "n_kv_heads", 1),
        ("half of the layers global", "global_every", 2),
        ("byte vocabulary", "vocab_size", BYTE_VOCABULARY),
        (
            "token tables untied" if m["tie_embeddings"] else "token tables tied",
            "tie_embeddings",
            not m["tie_embeddings"],
        ),
        ("feed-forward layer of 8/3 the width", "d_ff", step * round(8 / 3 * m["d_model"] / step)),
        ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
    )
    return [(label, {each: value}) for label, each, value in changes if m.get(each, value) != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of one sequence of token ids."""
    return [{"shape": [1, length], "dtype": "int64"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the language-modelling task's files for a model of this size."""
    return language_modeling.sections(m, count(m), key, reduced=reduced)


def lengths(full: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return the training length; and a prompt, the window, an eighth and a sixty-fourth of it."""
    window = full["model"]["max_seq_len"]
    parts = [max(1, window // n) for n in (64, 8, 1)]
    return language_modeling.training_length(full), [min(PROMPT, window), *parts]
