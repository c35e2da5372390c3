"""Image diffusion: images from noise, by class or by caption.

The full model trains as DDPM does on CIFAR-10 (Ho et al., 2020, arXiv:2006.11239, appendix B), with
classifier-free guidance (Ho & Salimans, 2022, arXiv:2207.12598).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import IMAGES, ITEMS
from metagen.errors import Problem, SpecError
from metagen.tasks.schedule import Habits, of_spec
from metagen.tasks.task import IMAGE_SIDES, Benchmark, Dims, Lookup, Section, Task

SCHEDULES = ("cosine", "linear")  # The first is taken where a spec declares none.
PIXELS_AT_ONCE = 2**20  # A larger number takes more memory, a smaller one more passes an update.
WITHHELD = 0.1  # Without a tenth to a fifth of the conditions, images are best (section 4).
ADAM_BETA2 = 0.99  # AdamW's rates follow the gradients of about the last 100 updates.
PROXY_SAMPLING_STEPS = 20
# The quick training takes about ten seconds of one thread, the full one a few minutes.
STEPS = {"quick": 300, "full": 5000}
PACKAGES = ("scikit-learn",)
COLOURS = "red, green and blue"


def side_reasons(side: int) -> dict[str, str]:
    """Return why an image has its size where no spec declares one."""
    none = "no constraints.image_size is declared"
    return {"image_height": f"{none}: {side} pixels", "image_width": f"{none}: a square"}


class ImageDiffusion(Task):
    """From a noisy image, the level of the noise and a condition to the noise."""

    name = "image_diffusion"
    words = {
        "unit": "image",
        "loss_unit": "squared error a pixel",
        "usage": "--prompt three",
        "risks": "bias, offensive images, memorisation of images of people, and robustness",
    }
    metrics = ("frechet_distance", "trained_classifier_accuracy", "nearest_training_image")
    switches = (
        ("no moving average of the weights", "train.ema_decay", 0.0),
        ("no samples without a condition", "train.unconditional_probability", 0.0),
    )
    config_keys = Task.config_keys | {
        "ema_decay",
        "noise_schedule",
        "timesteps",
        "unconditional_probability",
    }
    work_unit = "img"
    units = (*IMAGES, "pairs", "captions", *ITEMS)
    input = "image"
    proxy = {"image_height": 8, "image_width": 8, "image_channels": 1}
    fixed_by = IMAGE_SIDES

    def condition(self, m: Dims) -> list[int]:
        """Return the shape of one image's condition."""
        raise NotImplementedError

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return Habits(
            batch=128,
            rate=2e-4,
            decay=0.0,
            warmup=5000,
            source="as DDPM on CIFAR-10",
            units=self.units,
            steps=800_000,
            samples_at_once=images_at_once(m),
            at_once=f"{PIXELS_AT_ONCE:,} pixels",
            beta2=ADAM_BETA2,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=32, rate=4e-3, decay=0.0, warmup=30, beta2=ADAM_BETA2)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "noise_schedule": noise_schedule(key),
            "timesteps": key("training.config.timesteps") or 1000,
            "val_fraction": 0.1 if reduced else 0.01,
            "test_fraction": 0.3 if reduced else 0.01,
        }

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        average = key("training.config.ema_decay")
        withheld = key("training.config.unconditional_probability")
        full = 0.9999 if average is None else average
        return {
            # The proxy's few updates need an average that forgets its beginning sooner.
            "ema_decay": 0.999 if reduced else full,
            "unconditional_probability": WITHHELD if withheld is None else float(withheld),
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "samples": 1000 if reduced else 10_000,
            "batch_size": 250 if reduced else images_at_once(m),
            "sampling_steps": m.get("sampling_steps", PROXY_SAMPLING_STEPS),
            "guidance": 1.0,
            "side": 32,
            "components": 32,
            "references": 10_000,
            "seed": key("reproducibility.seed"),
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "samples": 8 if reduced else 1,
            "sampling_steps": m.get("sampling_steps", PROXY_SAMPLING_STEPS),
            "guidance": 3.0,
            "seed": key("reproducibility.seed"),
            "dtype": "bfloat16",
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of some noisy images, their noise levels and their conditions."""
        image = [m["image_channels"], m["image_height"], m["image_width"]]
        return [
            {"shape": [length, *image], "dtype": "float32"},
            {"shape": [length], "dtype": "int64"},
            {"shape": [length, *self.condition(m)], "dtype": "int64"},
        ]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {
            "data.noise_schedule": of_spec(key, "noise_schedule", "as Nichol & Dhariwal, 2021"),
            "data.timesteps": of_spec(key, "timesteps", "as DDPM"),
            "train.ema_decay": of_spec(key, "ema_decay", "as DDPM"),
            "train.unconditional_probability": of_spec(
                key, "unconditional_probability", "as classifier-free guidance, section 4"
            ),
        }


class ClassConditional(ImageDiffusion):
    """Images of one of several classes."""

    benchmark = Benchmark("digits by class", STEPS, PACKAGES, sheets=("digits",))
    words = {
        **ImageDiffusion.words,
        "pipeline_tag": "unconditional-image-generation",
        "does": "draws images of a class",
        "data": "small handwritten digits",
        "outcome": "Digits that the proxy has not seen, and digits that it drew, by class.",
    }
    defaults = {"image_height": 64, "image_channels": 3, "num_classes": 1000}
    default_reasons = {
        **side_reasons(64),
        "image_channels": COLOURS,
        "num_classes": "no task.num_classes is declared: the 1,000 of ImageNet",
    }
    proxy = {**ImageDiffusion.proxy, "num_classes": 10}
    fixed_by = {**IMAGE_SIDES, "num_classes": "task.num_classes"}

    def condition(self, m: Dims) -> list[int]:
        """Return the shape of the number of a class: ()."""
        return []


class TextConditional(ImageDiffusion):
    """Images of a caption, which the model reads as bytes."""

    benchmark = Benchmark("digits by caption", STEPS, PACKAGES, sheets=("digits",))
    words = {
        **ImageDiffusion.words,
        "pipeline_tag": "text-to-image",
        "does": "draws images of a caption",
        "data": "small handwritten digits, with their names as captions",
        "outcome": "Digits that the proxy has not seen, and digits that it drew, by caption.",
    }
    defaults = {"image_height": 1024, "image_channels": 3}
    default_reasons = {**side_reasons(1024), "image_channels": COLOURS}

    def left_out(self, key: Lookup) -> dict[str, str]:
        name = "modality.inputs"
        why = "infer.py draws an image from a caption and noise, and reads no image"
        return {name: why} if "image" in (key(name) or ()) else {}

    def condition(self, m: Dims) -> list[int]:
        """Return the shape of the bytes of a caption: (text_length,)."""
        return [int(m["text_length"])]


def noise_schedule(key: Lookup) -> str:
    """Return the declared noise schedule, or the cosine one.

    Raises:
        SpecError: The code does not have the declared one.
    """
    name = "training.config.noise_schedule"
    declared = key(name) or SCHEDULES[0]
    if declared not in SCHEDULES:
        hint = f"use {' or '.join(SCHEDULES)}"
        raise SpecError([Problem(f"{name}: {declared!r} is not available", name, hint=hint)])
    return str(declared)


def images_at_once(m: Dims) -> int:
    """Return how many images pass through the model at once."""
    return max(1, PIXELS_AT_ONCE // int(m["image_height"] * m["image_width"]))
