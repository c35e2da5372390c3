"""Sentence embedding: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.tasks import texts

UNIT = "pairs"
RUNTIME = (*texts.RUNTIME, "gather", "translations")
# About ten seconds on one thread, or some minutes to the better score.
BENCHMARK = Benchmark("retrieval of a translation", {"quick": 300, "full": 3000}, ("django",))
PROXY_VOCABULARY = 4096
PROXY_BATCH = 32
TEMPERATURE = 0.05  # SimCSE, arXiv:2104.08821


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    length = int(m["max_seq_len"])
    contrast = {"token_drop": 0.1 if reduced else 0.0, "temperature": TEMPERATURE}
    at_once = max(1, texts.PASS_TOKENS // length)
    return {
        "data": {"max_len": length, **texts.held_out(reduced=reduced)},
        "train": (_proxy(key) if reduced else texts.training(key, UNIT, 2 * length)) | contrast,
        "eval": {"batch_size": at_once, "baseline_texts": 5000},
        "infer": {
            "batch_size": at_once,
            "nearest": 5,
            "dtype": "float32" if reduced else "bfloat16",
        },
    }


def _proxy(key: Key) -> dict[str, Any]:
    steps = BENCHMARK.steps["quick"]
    return texts.proxy(key, steps=steps, batch=PROXY_BATCH, rate=3e-3)


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    found = texts.reasons(full, key, UNIT)
    parts = full["train"]["grad_accum"]
    negatives = full["train"]["batch_size"] // parts
    words = f"; a pair is told from the {negatives:,} of its part" if parts > 1 else ""
    return {**found, "train.grad_accum": found["train.grad_accum"] + words}
