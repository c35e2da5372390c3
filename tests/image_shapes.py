"""Tiny shapes of the families that classify images."""

from __future__ import annotations

from typing import Any

from metagen.families.family import Family
from metagen.families.resnet import FAMILY as resnet
from metagen.families.vit import FAMILY as vit

FAMILIES: dict[str, Family] = {"vit": vit, "resnet": resnet}
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "vit": {
        "square": {
            "image_height": 8, "image_width": 8, "patch_size": 2, "num_channels": 1,
            "num_classes": 10, "d_model": 32, "n_layers": 2, "n_heads": 4, "d_ff": 48,
            "norm_eps": 1e-6,
        },
        "wide, in colours": {
            "image_height": 12, "image_width": 18, "patch_size": 6, "num_channels": 3,
            "num_classes": 3, "d_model": 24, "n_layers": 3, "n_heads": 1, "d_ff": 40,
            "norm_eps": 1e-3,
        },
    },
    "resnet": {
        "square": {
            "image_height": 32, "image_width": 32, "num_channels": 1, "num_classes": 10,
            "width": 4, "depth_1": 1, "depth_2": 1, "depth_3": 1, "depth_4": 1,
        },
        "odd, in colours": {
            "image_height": 45, "image_width": 70, "num_channels": 3, "num_classes": 3,
            "width": 6, "depth_1": 2, "depth_2": 1, "depth_3": 3, "depth_4": 2,
        },
    },
}  # fmt: skip
