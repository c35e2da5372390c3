"""Semantic segmentation: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

What a spec's `training.config` declares goes first. The rest of the full model's settings are
those of nnU-Net in two dimensions (Isensee et al., 2018, arXiv:1809.10486); the proxy's are chosen
so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Benchmark, Dims, Key
from metagen.families.grid import divisors
from metagen.tasks import training
from metagen.units import parse_amount

CONFIG_KEYS = frozenset(
    {
        "batch_size",
        "data_augmentation",
        "epochs",
        "learning_rate",
        "optimizer",
        "warmup_steps",
        "weight_decay",
    }
)
OPTIMIZER = "adamw"
RUNTIME = ("digests", "images")
UPDATES = 250_000  # for a spec without a number of images: 1,000 epochs of 250 updates
EPOCHS = 1000  # for a spec that declares images and no epochs
BATCH = 12
PASS_PIXELS = 2**20  # that pass through the model at once
LEARNING_RATE = 3e-4
WEIGHT_DECAY = 3e-5
WARMUP_STEPS = 1000

# The proxy: about ten seconds on one thread, or about two minutes to the better score.
BENCHMARK = Benchmark("tissues of an average brain", {"quick": 400, "full": 4000}, ("nilearn",))
BUNDLED_CLASSES = 3
PROXY_SIZE = (96, 80)  # height and width, near those of the slices, 233 x 197
PROXY_CROP = 32
PROXY_BATCH = 16
PROXY_LEARNING_RATE = 8e-3
PROXY_WARMUP_STEPS = 20
PROXY_WEIGHT_DECAY = 0.01


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    return {
        "data": {
            "crop": PROXY_CROP if reduced else 0,
            "augmentation": "dihedral" if reduced else _augmentation(key),
            "val_fraction": 0.09 if reduced else 0.1,
            "test_fraction": 0.13 if reduced else 0.1,
            "gap": 6,
        },
        "train": _proxy_training(key) if reduced else _training(m, key),
        "eval": {"batch_size": 8, "baseline_images": 1000},
        "infer": {"opacity": 0.5, "weight_bits": 16},
    }


def _augmentation(key: Key) -> str:
    """Return how images are varied: mirrored, unless the spec says otherwise."""
    declared = key("training.config.data_augmentation")
    turned = isinstance(declared, tuple) and any(name.startswith("rotat") for name in declared)
    return "none" if declared is False or declared == () else "dihedral" if turned else "mirror"


def _proxy_training(key: Key) -> dict[str, Any]:
    return training.fields(
        key,
        steps=BENCHMARK.steps["quick"],
        batch=PROXY_BATCH,
        parts=1,
        rate=PROXY_LEARNING_RATE,
        warmup=PROXY_WARMUP_STEPS,
        decay=PROXY_WEIGHT_DECAY,
        final_lr_share=0.05,
    )


def _training(m: Dims, key: Key) -> dict[str, Any]:
    """Return the full model's schedule: the declared images, for the declared epochs."""
    batch = key("training.config.batch_size") or BATCH
    images = _images(key)
    epochs = key("training.config.epochs") or EPOCHS
    steps = max(1, round(images * epochs / batch)) if images else UPDATES
    warmup, decay = key("training.config.warmup_steps"), key("training.config.weight_decay")
    return training.fields(
        key,
        steps=steps,
        batch=batch,
        parts=_parts(batch, int(m["image_height"] * m["image_width"])),
        rate=key("training.config.learning_rate") or LEARNING_RATE,
        warmup=min(WARMUP_STEPS, steps // 10) if warmup is None else warmup,
        decay=WEIGHT_DECAY if decay is None else decay,
        final_lr_share=0.05,
    )


def _images(key: Key) -> float:
    """Return the declared number of training images, 0 where none is declared."""
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    return float(amount) if thing in ("images", "samples", "examples") else 0.0


def _parts(batch: int, pixels: int) -> int:
    """Return the fewest equal parts of a batch of which one is at most PASS_PIXELS pixels."""
    return next((n for n in divisors(batch) if batch // n * pixels <= PASS_PIXELS), batch)


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    train, images, declared = full["train"], _images(key), "declared in training.config"
    epochs = key("training.config.epochs")
    each = f"{epochs:,} epochs are declared" if epochs else f"{EPOCHS:,} epochs, as nnU-Net"
    counted = f"{images:,.0f} images in updates of {train['batch_size']}; {each}"
    default = f"no number of images is declared: {UPDATES:,} updates, as nnU-Net"
    batch, rate = key("training.config.batch_size"), key("training.config.learning_rate")
    named = key("training.config.data_augmentation")
    known = "data.py knows mirror, dihedral where a rotation is named, and none"
    return {
        "data.augmentation": "left and right look alike in most images"
        if named is None
        else f"training.config.data_augmentation: {_said(named)}; {known}",
        "train.steps": counted if images else default,
        "train.batch_size": declared if batch else "as nnU-Net in two dimensions",
        "train.grad_accum": f"at most {PASS_PIXELS:,} pixels pass through the model at once",
        "train.learning_rate": declared if rate else "the first rate of nnU-Net with Adam",
    }


def _said(declared: bool | tuple[str, ...]) -> str:
    if isinstance(declared, bool):
        return "true" if declared else "false"
    return ", ".join(declared)
