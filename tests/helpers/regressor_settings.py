"""Regressors of images at tiny sizes, and images with numbers to train them on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from helpers.family_code import TRAIN

SHAPES: dict[str, dict[str, Any]] = {
    "vit_regressor": {
        "image_height": 12, "image_width": 18, "patch_size": 6, "num_channels": 3, "d_model": 16,
        "n_layers": 2, "n_heads": 2, "d_ff": 24, "norm_eps": 1e-6,
    },
    "resnet_regressor": {
        "image_height": 32, "image_width": 40, "num_channels": 1, "width": 4, "depth_1": 1,
        "depth_2": 2, "depth_3": 1, "depth_4": 1,
    },
}  # fmt: skip
FAMILIES = tuple(SHAPES)


def tiny(name: str) -> dict[str, dict[str, Any]]:
    """Return the sections of architecture.yaml for a tiny model."""
    return {
        "model": SHAPES[name],
        "data": {
            "val_fraction": 0.2, "test_fraction": 0.3, "pixel_mean": 0.5, "pixel_std": 0.5,
            "crop_padding": 1, "crop_scale": 0.0, "flip": False, "operations": 0,
            "magnitude": 9.0, "erase": 0.0,
        },
        "train": dict(TRAIN),
        "eval": {"batch_size": 16, "baseline_side": 8, "baseline_images": 1000},
        "infer": {"digits": 6, "samples": 3, "dtype": "float32"},
    }  # fmt: skip


def write_bright(folder: Path, count: int = 60, column: str = "target") -> Path:
    """Write images whose number is how bright they are, from 100 to 200, and their metadata."""
    (folder / "more").mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", column])
        for place in range(count):
            draw = torch.Generator().manual_seed(place)
            level = int(torch.randint(100, 200, (1,), generator=draw))
            pixels = level + torch.randint(-20, 20, (12, 18), generator=draw)
            name = f"more/{place}.png" if place % 2 else f"{place}.png"
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / name)
            rows.writerow([name, level])
    return folder
