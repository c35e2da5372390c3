"""Image embedding: the vectors of images of one class are near each other, of new classes too.

The loss is the supervised contrast of SupCon (arXiv:2004.11362); the full model otherwise trains as
the classifier does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.tasks.images import MIXING, PLAIN, ImageTask, variations
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

VECTOR = 128  # dimensions of the projection in SupCon
TEMPERATURE = 0.1
# Mean and standard deviation of the bundled letters' pixels. Most are dark, and around another mean
# all of an image's patches, and so all images, would begin with nearly the same vectors.
INK = {"pixel_mean": 0.06, "pixel_std": 0.2}
VIEWS = 4  # images of a class in a row of the training order
BASELINE_SIDE = 16  # pixels a side; baselines on full images would take minutes


class ImageEmbedding(ImageTask):
    """From an image (B, C, height, width) to its vector of length 1."""

    name = "image_embedding"
    compares_within_a_batch = True
    metrics = ("recall_at_1", "map_at_r")
    unit_vectors = True
    # The quick training takes about twenty-five seconds of one thread.
    benchmark = Benchmark(
        "characters in other faces",
        {"quick": 900, "full": 6000},
        ("matplotlib",),
        seeds=1,
        sheets=("turned_letters",),
    )
    words = {
        "pipeline_tag": "image-feature-extraction",
        "unit": "image",
        "loss_unit": "nat/image",
        "usage": "--input photo.jpg --gallery photos",
        "does": "finds the images of a folder that are nearest to an image",
        "data": "letters in eight faces of fonts, turned and scaled",
        "outcome": "How often an image of the same class is among those nearest to a held-out one, "
        "by the proxy and by the baselines.",
        "risks": "images unlike those of training, distances between groups of people, and whether "
        "a person could be found again",
    }
    # What mixes two images mixes their classes, and a contrast has no half class.
    augmentations = variations(PLAIN, undone=frozenset(MIXING))
    defaults = {**ImageTask.defaults, "embed_dim": VECTOR}
    default_reasons = {
        **ImageTask.default_reasons,
        "embed_dim": f"no task.embedding_dim is declared: the {VECTOR} of SupCon's projection",
    }
    fixed_by = {**ImageTask.fixed_by, "embed_dim": "task.embedding_dim"}

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return Habits(batch=64, rate=2e-3, decay=0.1, warmup=warmup, final_lr_share=0.01)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        shared = {**super().data(m, key, reduced=reduced), "views": VIEWS}
        # The bundled letters are shifted already, each by its own amount.
        small = {"test_fraction": 0.3, "crop_padding": 0, **INK}
        return {**shared, **small} if reduced else shared

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"temperature": TEMPERATURE}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "baseline_side": BASELINE_SIDE, "baseline_images": 20_000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"nearest": 5, "batch_size": 64, "dtype": "bfloat16"}

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        """Return also what accumulation costs: an image meets the others of its part only."""
        reasons = super().more_reasons(full, key)
        batch, cut = (full["train"][name] for name in ("batch_size", "grad_accum"))
        habits = self.habits(full["model"], 0, key)
        why = (
            f"at most {habits.samples_at_once:,} images pass through the model at once; an image "
            f"is contrasted with the {batch // cut:,} of its part"
        )
        return reasons | ({"train.grad_accum": why} if cut > 1 else {})
