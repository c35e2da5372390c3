"""Image classification.

The strengths of mixing are DeiT's (arXiv:2012.12877, table 9).
"""

from __future__ import annotations

from metagen.tasks.images import MIXING, PLAIN, ImageTask, variations
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

BASELINE_SIDE = 16  # pixels a side; baselines on full images would take minutes
MIXUP, CUTMIX, DROP_PATH = 0.8, 1.0, 0.1
DIGIT = 8  # pixels a side of the bundled digits


class ImageClassification(ImageTask):
    """From an image (B, C, height, width) to the logits of its class."""

    name = "image_classification"
    # The classes of a checkpoint decide its outputs, so bench.py is its own.
    shared = {}
    metrics = ("accuracy", "macro_f1", "log_loss")
    switches = (
        ("no random crops", "data.crop_padding", 0),
        ("label smoothing", "train.label_smoothing", 0.1),
        ("mixup", "train.mixup", 0.2),
    )
    # The quick training takes about ten seconds of one thread, the full one about a minute.
    benchmark = Benchmark(
        "handwritten digits", {"quick": 500, "full": 4000}, ("scikit-learn",), sheets=("digits",)
    )
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
    augmentations = variations({**PLAIN, **MIXING})
    heavy = ("train.mixup", "train.cutmix", "train.drop_path")
    defaults = {**ImageTask.defaults, "num_classes": 1000}
    default_reasons = {
        **ImageTask.default_reasons,
        "num_classes": "none is declared: the 1,000 of ImageNet-1k",
    }
    proxy = {**ImageTask.proxy, "num_classes": 10}
    fixed_by = {**ImageTask.fixed_by, "num_classes": "task.num_classes"}

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        names = frozenset() if reduced else self.augmentations.chosen(key)
        return {
            # Smoothing would make the proxy less sure than it may be on such easy images.
            "label_smoothing": 0.0 if reduced else 0.1,
            "mixup": MIXUP if "mixup" in names else 0.0,
            "cutmix": CUTMIX if "cutmix" in names else 0.0,
            "drop_path": DROP_PATH if "drop_path" in names else 0.0,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        side = DIGIT if reduced else BASELINE_SIDE
        return {"batch_size": 256, "baseline_side": side, "baseline_images": 20_000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"top": 3 if reduced else 5, "samples": 8, "dtype": "bfloat16"}
