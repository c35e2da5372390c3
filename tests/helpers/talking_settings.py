"""The family of talking heads at a tiny size, and clips with sound to read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.family_code import TRAIN
from helpers.video_settings import MODEL as VIDEO

MODEL: dict[str, Any] = {
    **VIDEO,
    "frame_rate": 10,
    "sample_rate": 1600,
    "audio_reach": 1,
    "text_length": 10,
    "text_width": 16,
    "text_layers": 1,
    "text_heads": 2,
    "vocab_size": 257,
}
SETTINGS = {
    "model": MODEL,
    "data": {"shift": 3.0, "val_fraction": 0.3, "test_fraction": 0.3},
    "train": {**TRAIN, "ema_decay": 0.9},
    "eval": {
        "clips": 20,
        "references": 20,
        "batch_size": 3,
        "sampling_steps": 2,
        "side": 8,
        "seed": 42,
    },
    "infer": {"sampling_steps": 2, "seed": 42, "dtype": "bfloat16"},
}


def write_spoken(
    path: Path, *, frames: int = 12, rate: float = 10, samples: int = 8000, seed: int = 0
) -> Path:
    """Write a clip of frames of one colour, lighter in each, with a tone of growing loudness.

    The code of the family writes it, so its modules must be importable.
    """
    video: Any = sys.modules["runtime.video"]
    draw = np.random.default_rng(seed)
    colour = torch.tensor(draw.uniform(0.1, 0.4, 3)).float()
    light = torch.linspace(0.3, 1, frames)[:, None, None, None]
    pixels = (colour[:, None, None] + 0.5 * light).expand(frames, 3, 64, 64)
    count = round(frames / rate * samples)
    times = torch.arange(count) / samples
    tone = torch.linspace(0, 0.8, count) * torch.sin(2 * torch.pi * 220 * times)
    video.write_video(path, pixels, rate, (tone, samples))
    return path
