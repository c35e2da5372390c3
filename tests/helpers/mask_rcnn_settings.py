"""Mask R-CNN at a tiny size."""

from __future__ import annotations

from types import ModuleType

from helpers.family_code import TRAIN

MODEL = {
    "image_height": 96,
    "image_width": 96,
    "num_channels": 1,
    "num_classes": 10,
    "width": 4,
    "depth_1": 1,
    "depth_2": 1,
    "depth_3": 2,
    "depth_4": 1,
    "fpn_channels": 8,
    "d_hidden": 12,
    "mask_depth": 1,
    "mask_resolution": 12,
    "anchor_size": 32,
    "num_proposals": 20,
    "num_sampled": 16,
    "num_detections": 5,
    "frozen_norm": False,
}
TINY = {
    "model": MODEL,
    "data": {"flip": False, "zoom": 1.0, "val_fraction": 0.2, "test_fraction": 0.2},
    "train": TRAIN,
    "eval": {"batch_size": 4, "baseline_images": 10},
    "infer": {"least_score": 0.0, "opacity": 0.5, "weight_bits": 32},
}
Modules = dict[str, ModuleType]
