"""Image classification.

The full model trains by the recipe of DeiT (arXiv:2012.12877, table 9) without its heavier
augmentation; ConvNeXt (arXiv:2201.03545, appendix A.1) trains ResNet-50 with the same optimizer,
rate, decay and epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.tasks.schedule import Habits
from metagen.tasks.task import IMAGE_SIDES, Benchmark, Dims, Lookup, Section, Task

SIDE = 224  # pixels, usual since AlexNet's crops
RATE_PER_IMAGE = 5e-4 / 512  # The peak rate grows in proportion to the batch.
SGD_RATE_PER_IMAGE = 0.1 / 256
IMAGES_AT_ONCE = 128  # images of 224 x 224 pixels, or as many pixels in images of another size
PADDING_SHARE = 1 / 8  # A random crop shifts an image by up to this share of a side.
BASELINE_SIDE = 16  # pixels a side; baselines on full images would take minutes
AUGMENTATIONS = {"random_crop": "crop", "crop": "crop", "horizontal_flip": "flip", "flip": "flip"}

DIGIT = 8  # pixels a side of the bundled digits
PROXY_PADDING_SHARE = 1 / 16  # A digit fills its image, so it is shifted by half a pixel only.


class ImageClassification(Task):
    """From an image (B, C, height, width) to the logits of its class."""

    name = "image_classification"
    # The quick training takes about ten seconds of one thread, the full one about a minute.
    metrics = ("accuracy", "macro_f1", "log_loss")
    benchmark = Benchmark("handwritten digits", {"quick": 500, "full": 4000}, ("scikit-learn",))
    words = {
        "pipeline_tag": "image-classification",
        "unit": "image",
        "loss_unit": "nat/image",
        "usage": "--input photo.jpg",
        "does": "labels an image",
        "data": "8 x 8 pixel digits that come with scikit-learn",
        "outcome": "The proxy's confusion matrix: how many held-out digits of a class it takes for "
        "another.",
        "risks": "accuracy on other images than the split's, on rare classes and on disturbed "
        "images, calibration, and differences between groups of people",
    }
    config_keys = Task.config_keys | {"data_augmentation"}
    work_unit = "img"
    training_unit = "images"
    input = "image"
    defaults = {
        "image_height": SIDE,
        "image_width": SIDE,
        "num_channels": 3,
        "num_classes": 1000,
    }
    default_reasons = {
        "image_height": f"the usual {SIDE} pixels",
        "image_width": f"the usual {SIDE} pixels",
        "num_channels": "colours: red, green, blue",
        "num_classes": "none is declared: the 1,000 of ImageNet-1k",
    }
    proxy = {"num_classes": 10, "num_channels": 1}
    fixed_by = {**IMAGE_SIDES, "num_classes": "task.num_classes"}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        batch = key("training.config.batch_size") or 1024
        pixels = m["image_height"] * m["image_width"]
        return Habits(
            batch=batch,
            rate=float(f"{RATE_PER_IMAGE * batch:.3g}"),
            decay=0.05,
            warmup_epochs=5,
            source="as DeiT",
            why={
                "learning_rate": f"{RATE_PER_IMAGE:.3g} for each image of an update, as DeiT",
                "data": "those of ImageNet-1k",
            },
            units=("images",),
            data=1_281_167,
            epochs=300,
            samples_at_once=int(IMAGES_AT_ONCE * SIDE**2 // pixels),
            at_once=f"{IMAGES_AT_ONCE} images of {SIDE} x {SIDE} pixels, or as many pixels in "
            "images of another size,",
            final_lr_share=0.01,
            sgd=(
                float(f"{SGD_RATE_PER_IMAGE * batch:.3g}"),
                "0.1 for 256 images of an update, as ResNet, in proportion to the batch, as "
                "arXiv:1706.02677",
            ),
        )

    def proxy_habits(self, m: Dims) -> Habits:
        # The decay is high because the bundled images are few.
        return Habits(
            batch=32,
            rate=3e-3,
            decay=0.3,
            warmup=self.benchmark.steps["quick"] // 10,
            final_lr_share=0.01,
        )

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        crop, flip = (each in augmentations(key) for each in ("crop", "flip"))
        share = PROXY_PADDING_SHARE if reduced else PADDING_SHARE
        padding = round(share * min(m["image_height"], m["image_width"]))
        return {
            "val_fraction": 0.1,
            "test_fraction": 0.2 if reduced else 0.1,
            "pixel_mean": 0.5,
            "pixel_std": 0.5,
            "crop_padding": padding if crop or reduced else 0,
            "flip": flip and not reduced,
        }

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # Smoothing would make the proxy less sure than it may be on such easy images.
        return {"label_smoothing": 0.0 if reduced else 0.1}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        side = DIGIT if reduced else BASELINE_SIDE
        return {"batch_size": 256, "baseline_side": side, "baseline_images": 20_000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"top": 3 if reduced else 5, "samples": 8, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of a batch of images: (length, C, height, width)."""
        shape = [length, m["num_channels"], m["image_height"], m["image_width"]]
        return [{"shape": shape, "dtype": "float32"}]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return dict.fromkeys(("data.crop_padding", "data.flip"), _augmentation_reason(key))


def augmentations(key: Lookup) -> frozenset[str]:
    """Return how training images are varied; images are mirrored only on request."""
    declared = key("training.config.data_augmentation")
    if declared is None:
        return frozenset({"crop"})
    if isinstance(declared, bool):
        return frozenset(AUGMENTATIONS.values()) if declared else frozenset()
    return frozenset(AUGMENTATIONS[each] for each in declared if each in AUGMENTATIONS)


def _augmentation_reason(key: Lookup) -> str:
    declared = key("training.config.data_augmentation")
    if declared is None:
        return (
            "data_augmentation is not declared: images are shifted, not mirrored, since letters "
            "and digits lose their meaning in a mirror"
        )
    names = [] if isinstance(declared, bool) else [n for n in declared if n not in AUGMENTATIONS]
    unknown = f"; not available here: {', '.join(names)}" if names else ""
    return f"training.config.data_augmentation{unknown}"
