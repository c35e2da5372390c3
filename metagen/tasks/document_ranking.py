"""Document ranking: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.tasks import texts

UNIT = "pairs"
RUNTIME = (*texts.RUNTIME, "pydocs")
# About twenty seconds on one thread, or about twenty minutes to a score better than that of BM25.
BENCHMARK = Benchmark("passages for a sentence", {"quick": 200, "full": 14_000})
PROXY_VOCABULARY = 4096
PROXY_LENGTH = 128
PROXY_BATCH = 4
GROUP = 8  # passages of a query: one that answers and seven that do not


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    length = int(m["max_seq_len"])
    at_once = max(1, texts.PASS_TOKENS // length)
    training = _proxy(key) if reduced else texts.training(key, UNIT, GROUP * length, GROUP)
    # A small set shows more where each of its texts asks in many ways.
    views = (
        {"crop_share": 0.5, "word_drop": 0.2} if reduced else {"crop_share": 0.0, "word_drop": 0.0}
    )
    return {
        "data": {"max_len": length, **texts.held_out(reduced=reduced), **views},
        "train": training | {"group_size": GROUP},
        "eval": {"batch_size": at_once, "candidates": 50 if reduced else 100},
        "infer": {
            "batch_size": at_once,
            "best": 5,
            "dtype": "float32" if reduced else "bfloat16",
        },
    }


def _proxy(key: Key) -> dict[str, Any]:
    steps = BENCHMARK.steps["quick"]
    return texts.proxy(key, steps=steps, batch=PROXY_BATCH, rate=2e-3)


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return texts.reasons(full, key, UNIT, GROUP)
