"""Text classification: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.tasks import texts

UNIT = "examples"
RUNTIME = (*texts.RUNTIME, "translations")
# About ten seconds on one thread, or some minutes to the better score.
BENCHMARK = Benchmark("language of a text", {"quick": 1000, "full": 12_000}, ("django",))
PROXY_CLASSES = 20  # languages of the bundled texts
PROXY_VOCABULARY = 8192
PROXY_LENGTH = 16  # a run of so many tokens tells a language, and a text has many of them
PROXY_BATCH = 32
# There are few texts, and words that are not in them: their parts tell the language too.
PROXY_TOKEN_SPLIT, PROXY_TOKEN_DROP, PROXY_WEIGHT_DECAY = 0.3, 0.3, 0.1


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    length = int(m["max_seq_len"])
    apart = {"token_split": PROXY_TOKEN_SPLIT if reduced else 0.0}
    hidden = {"token_drop": PROXY_TOKEN_DROP if reduced else 0.0}
    return {
        "data": {"max_len": length, **texts.held_out(reduced=reduced), **apart},
        "train": (_proxy(key) if reduced else texts.training(key, UNIT, length)) | hidden,
        "eval": {
            "batch_size": max(1, texts.PASS_TOKENS // length),
            "baseline_texts": 200_000,
        },
        "infer": {
            "batch_size": max(1, texts.PASS_TOKENS // length),
            "most_labels": 3,
            "dtype": "float32" if reduced else "bfloat16",
        },
    }


def _proxy(key: Key) -> dict[str, Any]:
    steps = BENCHMARK.steps["quick"]
    return texts.proxy(key, steps=steps, batch=PROXY_BATCH, rate=3e-3, decay=PROXY_WEIGHT_DECAY)


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    return texts.reasons(full, key, UNIT)
