"""Contrast of images and texts: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

What a spec's `training.config` declares goes first. The rest of the full model's settings are
those of CLIP (Radford et al., 2021, arXiv:2103.00020, section 2.5 and tables 18 and 19); the
proxy's are chosen so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.families.grid import divisors
from metagen.tasks import training
from metagen.units import parse_amount

CONFIG_KEYS = frozenset(
    {"batch_size", "epochs", "learning_rate", "optimizer", "warmup_steps", "weight_decay"}
)
OPTIMIZER = "adamw"
RUNTIME = (
    *("captions", "digests", "files", "gather", "images", "lowercase", "records", "rows"),
    "tokenizer",
)
BATCH = 32_768
PAIRS = 400_000_000  # for a spec without a number of pairs
EPOCHS = 32
PASS_PAIRS = 1024  # that pass through the model at once, and are told from each other
LEARNING_RATE = 4e-4  # of ViT-L/14
WEIGHT_DECAY = 0.2
WARMUP_STEPS = 2000
SHIFT_SHARE = 1 / 14  # of the image's side: 16 of 224 pixels

# The proxy: about ten seconds on one thread, or about three minutes to the better score.
BENCHMARK = Benchmark("glyphs and their names", {"quick": 160, "full": 2000}, ("matplotlib",))
PROXY_BATCH = 128
PROXY_LEARNING_RATE = 2e-3
PROXY_WARMUP_STEPS = 20
PROXY_WEIGHT_DECAY = 0.1
PROXY_SHIFT = 2


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    return {
        "data": {
            "shift": PROXY_SHIFT if reduced else round(SHIFT_SHARE * m["image_size"]),
            "val_fraction": 0.05 if reduced else 0.01,
            "test_fraction": 0.175 if reduced else 0.01,
        },
        "train": _proxy_training(key) if reduced else _training(key),
        "eval": {"batch_size": 64, "pairs": 1000, "baseline_pairs": 20_000},
        "infer": {"top": 5, "weight_bits": 16},
    }


def _proxy_training(key: Key) -> dict[str, Any]:
    return training.fields(
        key,
        steps=BENCHMARK.steps["quick"],
        batch=PROXY_BATCH,
        parts=1,
        rate=PROXY_LEARNING_RATE,
        warmup=PROXY_WARMUP_STEPS,
        decay=PROXY_WEIGHT_DECAY,
        beta2=0.98,
        final_lr_share=0.05,
    )


def _training(key: Key) -> dict[str, Any]:
    """Return the full model's schedule: the declared pairs, for the declared epochs."""
    batch = key("training.config.batch_size") or BATCH
    steps = max(1, round(_pairs(key) * (key("training.config.epochs") or EPOCHS) / batch))
    warmup, decay = key("training.config.warmup_steps"), key("training.config.weight_decay")
    return training.fields(
        key,
        steps=steps,
        batch=batch,
        parts=_parts(batch),
        rate=key("training.config.learning_rate") or LEARNING_RATE,
        warmup=min(WARMUP_STEPS, steps // 10) if warmup is None else warmup,
        decay=WEIGHT_DECAY if decay is None else decay,
        beta2=0.98,
        final_lr_share=0.05,
    )


def _pairs(key: Key) -> float:
    """Return the training pairs that are declared, or else those of CLIP."""
    return _declared(key) or PAIRS


def _declared(key: Key) -> float:
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    return float(amount) if thing in ("pairs", "images", "samples", "examples") else 0.0


def _parts(batch: int) -> int:
    """Return the fewest equal parts of a batch of which one is at most PASS_PAIRS pairs."""
    return next((n for n in divisors(batch) if batch // n <= PASS_PAIRS), batch)


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    train, declared = full["train"], "declared in training.config"
    epochs = key("training.config.epochs")
    each = f"{epochs:,} epochs are declared" if epochs else f"{EPOCHS} epochs, as CLIP"
    known = "declared" if _declared(key) else "as CLIP, since no number of pairs is declared"
    batch, rate = key("training.config.batch_size"), key("training.config.learning_rate")
    return {
        "data.shift": "a fourteenth of the side, in place of CLIP's random crop",
        "train.steps": f"{_pairs(key):,.0f} pairs ({known}) in updates of "
        f"{train['batch_size']:,}; {each}",
        "train.batch_size": declared if batch else "as CLIP",
        "train.grad_accum": f"at most {PASS_PAIRS:,} pairs pass through a device at once",
        "train.learning_rate": declared if rate else "of CLIP's ViT-L/14",
    }
