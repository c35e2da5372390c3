"""Image classification: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

What a spec's `training.config` declares goes first. The rest of the full model's training is the
recipe of DeiT (arXiv:2012.12877, table 9) without its heavier augmentation; ConvNeXt
(arXiv:2201.03545, appendix A.1) trains ResNet-50 with the same optimizer, rate, decay and epochs.
The proxy's settings are chosen so that a build trains it in seconds, on one thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metagen.errors import Problem, SpecError
from metagen.families.family import Benchmark, Dims, Key, Value
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
        "warmup_epochs",
        "warmup_steps",
        "weight_decay",
    }
)
OPTIMIZER = "adamw"
RUNTIME = ("digests", "digits", "images")
BENCHMARK = Benchmark(
    "handwritten digits", {"quick": 500, "full": 4000}, packages=("scikit-learn",)
)
DATA = "8 x 8 pixel digits that come with scikit-learn"
OUTCOME = "The proxy's confusion matrix: how many held-out digits of a class it takes for another."
RISKS = (
    "accuracy on other images than the split's, on rare classes and on disturbed images, "
    "calibration, and differences between groups of people"
)
IMAGES = 1_281_167  # of ImageNet-1k, for a spec without data.size
CLASSES = 1000  # of ImageNet-1k
SIDE = 224  # pixels, usual since AlexNet's crops
CHANNELS = 3
EPOCHS = 300
BATCH = 1024
RATE_PER_IMAGE = 5e-4 / 512  # the peak grows with the batch
WARMUP_EPOCHS = 5
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
PASS_IMAGES = 128  # of 224 x 224 pixels, that pass through the model at once
PADDING_SHARE = 1 / 8  # of a side, that a random crop may move an image by
BASELINE_SIDE = 16  # pixels of the images that simple baselines see
AUGMENTATIONS = {"random_crop": "crop", "crop": "crop", "horizontal_flip": "flip", "flip": "flip"}

# The proxy: about ten seconds on one thread, or about a minute to the better score.
PROXY = {"num_classes": 10, "num_channels": 1}
DIGIT = 8  # pixels along its side
PROXY_BATCH = 32
PROXY_RATE = 3e-3
PROXY_WEIGHT_DECAY = 0.3  # there are few images
PROXY_PADDING_SHARE = 1 / 16  # half a pixel of a digit, which fills its image


def fixed(key: Key) -> dict[str, Value]:
    """Return the image's size and the number of classes, where a spec declares them."""
    found: dict[str, Value] = {}
    if size := key("constraints.image_size"):
        found |= {"image_height": size[0], "image_width": size[1]}
    if classes := key("task.num_classes"):
        found["num_classes"] = classes
    return found


def square(key: Key, name: str) -> int | None:
    """Return a declared size that must be the same along both sides, None where none is.

    Raises:
        SpecError: The sides differ.
    """
    size = key(name)
    if size and size[0] != size[1]:
        raise SpecError([Problem(f"{name}: {list(size)} is no square", name, "give one figure")])
    return int(size[0]) if size else None


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size."""
    crop, flip = (each in augmentations(key) for each in ("crop", "flip"))
    share = PROXY_PADDING_SHARE if reduced else PADDING_SHARE
    padding = round(share * min(m["image_height"], m["image_width"]))
    return {
        "data": {
            "val_fraction": 0.1,
            "test_fraction": 0.2 if reduced else 0.1,
            "pixel_mean": 0.5,
            "pixel_std": 0.5,
            "crop_padding": padding if crop or reduced else 0,
            "flip": flip and not reduced,
        },
        "train": _proxy_training(key) if reduced else _training(m, key),
        "eval": {
            "batch_size": 256,
            "baseline_side": DIGIT if reduced else BASELINE_SIDE,
            "baseline_images": 20_000,
        },
        "infer": {"top": 3 if reduced else 5, "samples": 8, "dtype": "bfloat16"},
    }


def augmentations(key: Key) -> frozenset[str]:
    """Return how training images are varied; mirroring only where it is asked for."""
    declared = key("training.config.data_augmentation")
    if declared is None:
        return frozenset({"crop"})
    if isinstance(declared, bool):
        return frozenset(AUGMENTATIONS.values()) if declared else frozenset()
    return frozenset(AUGMENTATIONS[each] for each in declared if each in AUGMENTATIONS)


def _proxy_training(key: Key) -> dict[str, Any]:
    steps = BENCHMARK.steps["quick"]
    fields = training.fields(
        key,
        steps=steps,
        batch=PROXY_BATCH,
        parts=1,
        rate=PROXY_RATE,
        warmup=steps // 10,
        decay=PROXY_WEIGHT_DECAY,
        beta2=0.999,
        final_lr_share=0.01,
    )
    # Smoothing makes a model less sure than it may be on so easy images.
    return {**fields, "label_smoothing": 0.0}


def _training(m: Dims, key: Key) -> dict[str, Any]:
    """Return the full model's schedule: the declared images for the declared epochs."""
    batch = key("training.config.batch_size") or BATCH
    epoch = _images(key) / batch
    steps = max(1, round(epoch * (key("training.config.epochs") or EPOCHS)))
    epochs = key("training.config.warmup_epochs")
    usual = round(epoch * (WARMUP_EPOCHS if epochs is None else epochs))
    warmup, decay = key("training.config.warmup_steps"), key("training.config.weight_decay")
    fields = training.fields(
        key,
        steps=steps,
        batch=batch,
        parts=_parts(m, batch),
        rate=key("training.config.learning_rate") or float(f"{RATE_PER_IMAGE * batch:.3g}"),
        warmup=min(steps // 2, usual) if warmup is None else warmup,
        decay=WEIGHT_DECAY if decay is None else decay,
        beta2=0.999,
        final_lr_share=0.01,
    )
    return {**fields, "label_smoothing": LABEL_SMOOTHING}


def _images(key: Key) -> float:
    """Return the images of an epoch."""
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    return amount if thing == "images" else IMAGES


def _parts(m: Dims, batch: int) -> int:
    """Return the fewest equal parts of a batch of which one holds few enough pixels."""
    room = max(1, math.floor(PASS_IMAGES * SIDE**2 / (m["image_height"] * m["image_width"])))
    return next(n for n in divisors(batch) if batch // n <= room)


def dim_reasons(key_fixed: Mapping[str, Value]) -> dict[str, str]:
    """Return why the dimensions of image and classes are so."""
    size = "constraints.image_size" if "image_height" in key_fixed else f"the usual {SIDE} pixels"
    classes = f"none is declared: the {CLASSES:,} of ImageNet-1k"
    return {
        "image_height": size,
        "image_width": size,
        "num_channels": "colours: red, green, blue",
        "num_classes": "task.num_classes" if "num_classes" in key_fixed else classes,
    }


def reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    train, images = full["train"], _images(key)
    epochs, size = key("training.config.epochs") or EPOCHS, key("training.data.size")
    counted = f"training.data.size, {size}" if size and "image" in size else "those of ImageNet-1k"
    declared = "declared in training.config"

    def of(name: str, otherwise: str) -> str:
        return declared if key(f"training.config.{name}") is not None else otherwise

    return {
        "train.steps": f"{epochs} epochs of {images:,.0f} images ({counted}) in updates of "
        f"{train['batch_size']}",
        "train.batch_size": of("batch_size", "as DeiT"),
        "train.grad_accum": f"at most {PASS_IMAGES} images of {SIDE} x {SIDE} pixels, or as many "
        "pixels in others, pass through the model at once",
        "train.learning_rate": of(
            "learning_rate", f"{RATE_PER_IMAGE:.3g} for each image of an update, as DeiT"
        ),
        "data.crop_padding": _augmentation(key),
        "data.flip": _augmentation(key),
    }


def _augmentation(key: Key) -> str:
    declared = key("training.config.data_augmentation")
    if declared is None:
        return (
            "data_augmentation is not declared: shifted, and not mirrored, as letters must not be"
        )
    names = [] if isinstance(declared, bool) else [n for n in declared if n not in AUGMENTATIONS]
    unknown = f"; not known here, and not done: {', '.join(names)}" if names else ""
    return f"training.config.data_augmentation{unknown}"
