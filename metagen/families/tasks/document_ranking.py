"""Document ranking: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.families.tasks import texts

UNIT = "pairs"
RUNTIME = texts.RUNTIME
# About ten seconds on one thread, or some minutes to the better score.
BENCHMARK = Benchmark("passages for a sentence", {"quick": 400, "full": 4000})
PROXY_VOCABULARY = 4096
PROXY_LENGTH = 96
PROXY_BATCH = 8
GROUP = 8  # passages of a query: one that answers and seven that do not
PROXY_GROUP = 4


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    length, group = int(m["max_seq_len"]), PROXY_GROUP if reduced else GROUP
    at_once = max(1, texts.PASS_TOKENS // length)
    training = _proxy(key) if reduced else texts.training(key, UNIT, group * length, group)
    return {
        "data": {"max_len": length, **texts.held_out(reduced=reduced)},
        "train": training | {"group_size": group},
        "eval": {"batch_size": at_once, "candidates": 50 if reduced else 100},
        "infer": {
            "batch_size": at_once,
            "best": 5,
            "dtype": "float32" if reduced else "bfloat16",
        },
    }


def _proxy(key: Key) -> dict[str, Any]:
    steps = BENCHMARK.steps["quick"]
    return texts.proxy(key, steps=steps, batch=PROXY_BATCH, rate=1e-3)


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return texts.reasons(full, key, UNIT, GROUP)
