"""Shapes from captions: clouds of points out of noise, and meshes around them.

The full model trains as DiT does (Peebles & Xie, 2022, arXiv:2212.09748, section 4), with
classifier-free guidance (Ho & Salimans, 2022, arXiv:2207.12598), to follow straight lines from
noise to shapes (Liu et al., 2022, arXiv:2209.03003).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.image_diffusion import (
    ADAM_BETA2,
    PROXY_SAMPLING_STEPS,
    WITHHELD,
)
from metagen.tasks.schedule import Habits, of_spec
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

POINTS = 1024  # points of Point-E's base models
# The proxy draws more points than it is trained with: a mesh needs neighbours that are near.
PROXY_POINTS = {"eval": 128, "infer": 256}
POINTS_AT_ONCE = 2**16  # A larger number takes more memory, a smaller one more passes an update.


class TextTo3D(Task):
    """From points on the way to noise, the time and a caption to their velocity."""

    name = "text_to_3d"
    switches = (("no moving average of the weights", "train.ema_decay", 0.0),)
    # The quick training takes about half a minute of one thread, the full one ten times as long.
    benchmark = Benchmark(
        "solids by caption", {"quick": 300, "full": 4000}, (), seeds=1, sheets=("solids",)
    )
    words = {
        "pipeline_tag": "text-to-3d",
        "unit": "shape",
        "loss_unit": "squared error a coordinate",
        "usage": '--prompt "small tall cone"',
        "does": "writes a mesh of a caption",
        "data": "simple solids with captions of their shape, size and height",
        "outcome": "Clouds of held-out solids, and clouds that the proxy drew for their captions, "
        "which it has not seen.",
        "risks": "bias, dangerous or protected objects, memorization of training shapes, and "
        "robustness",
    }
    metrics = ("chamfer_distance", "coverage", "nearest_training_shape")
    config_keys = Task.config_keys | {"ema_decay", "unconditional_probability"}
    work_unit = "mesh"
    units = ("meshes", "shapes", "objects", "pairs", "captions", *ITEMS)
    input = "shape"
    defaults = {"n_points": POINTS}
    default_reasons = {"n_points": f"the {POINTS:,} points of Point-E's base models"}
    # More points of a shape would leave time for fewer updates.
    proxy = {"n_points": 64}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return Habits(
            batch=256,
            rate=1e-4,
            decay=0.0,
            warmup=5000,
            source="as DiT on ImageNet",
            units=self.units,
            steps=400_000,
            samples_at_once=max(1, POINTS_AT_ONCE // int(m["n_points"])),
            at_once=f"{POINTS_AT_ONCE:,} points",
            beta2=ADAM_BETA2,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=16, rate=3e-3, decay=0.0, warmup=20, beta2=ADAM_BETA2)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "val_fraction": 0.1 if reduced else 0.01,
            "test_fraction": 0.2 if reduced else 0.01,
        }

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        average = key("training.config.ema_decay")
        withheld = key("training.config.unconditional_probability")
        full = 0.9999 if average is None else average
        return {
            # The proxy's few updates need an average that forgets its beginning sooner.
            "ema_decay": 0.99 if reduced else full,
            "unconditional_probability": WITHHELD if withheld is None else float(withheld),
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "points": PROXY_POINTS["eval"] if reduced else m["n_points"],
            "batch_size": 30 if reduced else 16,
            "sampling_steps": m.get("sampling_steps", PROXY_SAMPLING_STEPS),
            "guidance": 1.0,
            "shapes": 1000,
            "references": 2000,
            "seed": key("reproducibility.seed"),
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "samples": 1,
            "points": PROXY_POINTS["infer"] if reduced else m["n_points"],
            "sampling_steps": m.get("sampling_steps", PROXY_SAMPLING_STEPS),
            "guidance": 2.0,
            "seed": key("reproducibility.seed"),
            "dtype": "bfloat16",
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of some noisy clouds, their times and their captions."""
        return [
            {"shape": [length, m["n_points"], 3], "dtype": "float32"},
            {"shape": [length], "dtype": "float32"},
            {"shape": [length, m["text_length"]], "dtype": "int64"},
        ]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {
            "train.ema_decay": of_spec(key, "ema_decay", "as DiT"),
            "train.unconditional_probability": of_spec(
                key, "unconditional_probability", "as Point-E, and classifier-free guidance"
            ),
        }
