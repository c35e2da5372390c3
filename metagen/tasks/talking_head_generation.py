"""Talking heads: a video that moves with given speech, from a portrait and a caption.

The full model trains as that of videos does, by flow matching (metagen/tasks/video_generation.py).
The sound of the video that infer.py writes is the given speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section
from metagen.tasks.video_generation import VideoGeneration

TICKS = 4  # spectra of a frame
SAMPLES_A_BAND = 8
RATES = {"frame_rate": 25, "sample_rate": 16_000}
PROXY_STEPS = 4


class TalkingHeadGeneration(VideoGeneration):
    """From a portrait, the frames before, noisy frames, sound and a caption to a velocity."""

    name = "talking_head_generation"
    # The quick training takes about half a minute of one thread, the full one ten times as long.
    benchmark = Benchmark(
        "drawn talking heads", {"quick": 300, "full": 3000}, (), seeds=1, sheets=("talking_heads",)
    )
    words = {
        "pipeline_tag": "image-text-to-video",
        "unit": "chunk",
        "loss_unit": "squared error a pixel",
        "usage": '--portrait face.png --speech speech.wav --prompt "a face that speaks"',
        "does": "writes a video of a portrait that speaks, with the given speech as its sound",
        "data": "drawn faces whose mouths move with a voice that is made of formants",
        "outcome": "Frames of held-out clips and those that the proxy generated for the same "
        "portrait, caption and speech; no face and no speech was seen in training.",
        "risks": "likeness to real people, deception by videos of people who said nothing of the "
        "kind, bias, consent, and robustness to noise in the speech",
    }
    metrics = ("mouth_psnr", "frame_psnr", "mouth_sync")
    units = ("clips", "videos", *ITEMS)
    input = "chunk"
    defaults = {**VideoGeneration.defaults, **RATES}
    default_reasons = {
        **VideoGeneration.default_reasons,
        "frame_rate": "as StableAvatar",
        "sample_rate": "the rate that the speech encoders of published models read",
    }
    proxy = {
        **{"image_height": 24, "image_width": 24, "image_channels": 3},
        **{"num_frames": 6, "given_frames": 2, "frame_rate": 20, "sample_rate": 8000},
    }

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(super().proxy_habits(m), rate=4e-3)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        section = super().data(m, key, reduced=reduced)
        # Frames are taken at the model's rate.
        return {name: value for name, value in section.items() if name != "frame_step"}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "clips": 60 if reduced else 200,
            "references": 200 if reduced else 1000,
            "batch_size": 20 if reduced else 1,
            "sampling_steps": m.get("sampling_steps", PROXY_STEPS),
            "side": 32,
            "seed": key("reproducibility.seed"),
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "sampling_steps": m.get("sampling_steps", PROXY_STEPS),
            "seed": key("reproducibility.seed"),
            "dtype": "bfloat16",
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of what a pass over some chunks reads."""
        given, following, times = super().example(m, length)
        channels, height, width = (int(m[f"image_{n}"]) for n in ("channels", "height", "width"))
        heard = int(m["num_frames"] + 2 * m["audio_reach"])
        return [
            {"shape": [length, channels, height, width], "dtype": "float32"},
            given,
            following,
            times,
            {"shape": [length, heard, TICKS, bands(m)], "dtype": "float32"},
            {"shape": [length, int(m["text_length"])], "dtype": "int64"},
        ]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        given = super().more_reasons(full, key)
        return {name: reason for name, reason in given.items() if name != "data.frame_step"}

    def left_out(self, key: Lookup) -> dict[str, str]:
        return dict(_left_out(key))


def _left_out(key: Lookup) -> Iterator[tuple[str, str]]:
    """Yield the declared keys that are followed in part, each with why."""
    if "audio" in (key("modality.outputs") or ()):
        yield "modality.outputs", "no sound is generated; the video has the speech that was given"
    if "autoregressive" in (key("training.objective") or ()):
        why = "its loss is that of diffusion; it is autoregressive over chunks of frames"
        yield "training.objective", why
    if key("architecture.family") == "hybrid":
        yield "architecture.family", "the hybrid has one kind of blocks, those of a Transformer"


def bands(m: Dims) -> int:
    """Return the bands of a spectrum, whose window is as long as a frame."""
    return int(m["sample_rate"] // m["frame_rate"]) // SAMPLES_A_BAND
