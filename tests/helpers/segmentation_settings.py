"""The segmenting U-Net at a tiny size, and the spec that asks for it."""

from __future__ import annotations

from types import ModuleType

from helpers.family_code import TRAIN
from metagen import paths

SPEC = paths.specs() / "image/semantic_segmentation_unet.yaml"
MODEL = {
    "in_channels": 1,
    "num_classes": 3,
    "base_channels": 4,
    "max_channels": 10,
    "n_levels": 3,
    "image_height": 16,
    "image_width": 24,
}
TINY = {
    "model": MODEL,
    "data": {
        "crop": 8,
        "augmentation": "dihedral",
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "gap": 2,
    },
    "train": TRAIN,
    "eval": {"batch_size": 4, "baseline_images": 100},
    "infer": {"opacity": 0.5, "weight_bits": 16},
}
Modules = dict[str, ModuleType]
