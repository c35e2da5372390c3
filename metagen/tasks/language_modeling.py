"""Language modelling: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

What a spec's `training.config` declares goes first. The rest of the full model's settings are
those of Llama 2 (arXiv:2307.09288, section 2.2) and Llama 3 (arXiv:2407.21783, section 3.4);
the proxy's are chosen so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from metagen.families.family import Dims, Key
from metagen.families.grid import divisors
from metagen.tasks import training
from metagen.units import parse_amount

Number = TypeVar("Number", int, float)

CONFIG_KEYS = frozenset(
    {"batch_size", "epochs", "learning_rate", "optimizer", "warmup_steps", "weight_decay"}
)
OPTIMIZER = "adamw"
RUNTIME = ("files", "folders", "shards", "texts", "tokenizer")
BYTE_VOCABULARY = 256
TRAINING_LENGTH = 8192  # tokens; of Llama 3's pre-training
# Tokens of an update up to a size, for a spec without a batch size: GPT-3, table 2.1.
UPDATE_TOKENS = ((1e9, 2**19), (3e9, 2**20), (math.inf, 2**21))
PASS_TOKENS = 2**14  # that pass through the model at once
TOKENS_PER_PARAMETER = 20  # for a spec without data.size (Hoffmann et al., 2022, arXiv:2203.15556)
WARMUP_STEPS = 2000
WEIGHT_DECAY = 0.1
# Peak learning rate up to a size: GPT-3's table 2.1 below 1B (arXiv:2005.14165), Llama 3's table 3.
LEARNING_RATES = ((200e6, 6e-4), (10e9, 3e-4), (100e9, 1.5e-4), (math.inf, 8e-5))

# The proxy: about ten seconds on one thread, or about two minutes to the better score.
BENCH_STEPS = {"quick": 240, "full": 3000}
PROXY_LENGTH = 128
PROXY_BATCH = 4
PROXY_LEARNING_RATE = 4e-3
PROXY_WARMUP_STEPS = 25


def sections(m: Dims, parameters: int, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    length = int(min(m["max_seq_len"], PROXY_LENGTH if reduced else TRAINING_LENGTH))
    held_out = (0.05, 0.1) if reduced else (0.01, 0.01)
    return {
        "data": {
            "seq_len": length,
            "tokenizer": "byte" if m["vocab_size"] == BYTE_VOCABULARY else "bpe",
            "val_fraction": held_out[0],
            "test_fraction": held_out[1],
        },
        "train": _proxy_training(key) if reduced else _training(parameters, length, key),
        "eval": {
            "batch_size": max(1, PASS_TOKENS // length),
            "stride": max(1, length // 2),
            "baseline_bytes": 16_000_000,
        },
        "infer": {
            "max_new_tokens": max(1, int(min(200, m["max_seq_len"] // 2))),
            "temperature": 0.8,
            "top_k": 0,
            "top_p": 0.95,
            "seed": key("reproducibility.seed"),
            "weight_bits": m.get("weight_bits", 16),
            "cache_bits": m.get("cache_bits", 16),
        },
    }


def _proxy_training(key: Key) -> dict[str, Any]:
    return training.fields(
        key,
        steps=BENCH_STEPS["quick"],
        batch=PROXY_BATCH,
        parts=1,
        rate=PROXY_LEARNING_RATE,
        warmup=PROXY_WARMUP_STEPS,
        decay=WEIGHT_DECAY,
    )


def _training(parameters: int, length: int, key: Key) -> dict[str, Any]:
    """Return the full model's schedule: the declared data, once or for the declared epochs."""
    batch = key("training.config.batch_size") or max(1, _up_to(UPDATE_TOKENS, parameters) // length)
    steps = max(1, round(_tokens(parameters, key) / (batch * length)))
    warmup = key("training.config.warmup_steps")
    decay = key("training.config.weight_decay")
    return training.fields(
        key,
        steps=steps,
        batch=batch,
        parts=_parts(batch, length),
        rate=key("training.config.learning_rate") or _up_to(LEARNING_RATES, parameters),
        warmup=min(WARMUP_STEPS, steps // 10) if warmup is None else warmup,
        decay=WEIGHT_DECAY if decay is None else decay,
    )


def _tokens(parameters: int, key: Key) -> float:
    """Return the tokens to train on, over all epochs."""
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    once = amount if thing == "tokens" else TOKENS_PER_PARAMETER * parameters
    return float(once * (key("training.config.epochs") or 1))


def _parts(batch: int, length: int) -> int:
    """Return the fewest equal parts of a batch of which one is at most PASS_TOKENS tokens."""
    fitting = (n for n in divisors(batch) if batch // n * length <= PASS_TOKENS)
    return next(fitting, batch)


def _up_to(table: tuple[tuple[float, Number], ...], parameters: int) -> Number:
    """Return the value of the first size that the count does not exceed."""
    return next(value for size, value in table if parameters <= size)


def training_length(full: Mapping[str, Any]) -> int:
    """Return the tokens of one training sequence, at most the model's window."""
    return int(min(full["data"]["seq_len"], full["model"]["max_seq_len"]))


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    train, length = full["train"], full["data"]["seq_len"]
    tokens, size = _tokens(parameters, key), key("training.data.size")
    default = f"no token count is declared: {TOKENS_PER_PARAMETER} tokens a parameter"
    amount = f"training.data.size, {size}" if size and "tokens" in size else default
    declared = "declared in training.config"
    return {
        "data.seq_len": f"the window, at most {TRAINING_LENGTH:,} as in Llama 3's pre-training",
        "train.steps": f"{tokens:.4g} tokens in updates of {train['batch_size']} x {length:,}; "
        f"{amount}",
        "train.batch_size": declared
        if key("training.config.batch_size")
        else f"about {train['batch_size'] * length:,} tokens an update, as GPT-3 of this size",
        "train.grad_accum": f"at most {PASS_TOKENS:,} tokens pass through the model at once",
        "train.learning_rate": declared
        if key("training.config.learning_rate")
        else "the peak of GPT-3 or Llama 3 at this size",
    }
