"""The image embedder at a tiny size, and images of several classes to train it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from helpers.family_code import TRAIN

MODEL: dict[str, Any] = {
    "image_height": 8, "image_width": 8, "patch_size": 4, "num_channels": 1, "embed_dim": 6,
    "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24, "norm_eps": 1e-6,
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {
        "val_fraction": 0.2, "test_fraction": 0.3, "views": 3, "pixel_mean": 0.5, "pixel_std": 0.5,
        "crop_padding": 1, "crop_scale": 0.0, "flip": False, "operations": 0, "magnitude": 9.0,
        "erase": 0.0,
    },
    "train": {**TRAIN, "batch_size": 12, "temperature": 0.1},
    "eval": {"batch_size": 16, "baseline_side": 8, "baseline_images": 1000},
    "infer": {"nearest": 3, "batch_size": 16, "dtype": "float32"},
}  # fmt: skip


def write_patterns(folder: Path, classes: int = 16, each: int = 6, side: int = 8) -> Path:
    """Write images of classes; those of one class share a pattern, and differ by noise."""
    for number in range(classes):
        draw = torch.Generator().manual_seed(number)
        pattern = 200 * torch.rand(side, side, generator=draw)
        (folder / f"class_{number:02}").mkdir(parents=True)
        for copy in range(each):
            pixels = pattern + 40 * torch.rand(side, side, generator=draw)
            image = Image.fromarray(pixels.to(torch.uint8).numpy())
            image.save(folder / f"class_{number:02}" / f"{copy}.png")
    return folder
