"""A vision-language model at a tiny size, and images with questions to give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.family_code import TRAIN

MODEL = {
    **{"num_channels": 3, "image_size": 16, "patch_size": 4},
    **{"vision_d_model": 24, "vision_n_layers": 2, "vision_n_heads": 3, "vision_d_ff": 40},
    **{"pixel_shuffle": 1, "projector_bias": True},
    **{"d_model": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "d_ff": 48},
    **{"vocab_size": 300, "max_seq_len": 80, "rope_theta": 1e4, "norm_eps": 1e-6},
    "tie_embeddings": True,
}
SIZES: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {"seq_len": 64, "val_fraction": 0.2, "test_fraction": 0.3},
    "train": TRAIN,
    "eval": {"batch_size": 3, "max_new_tokens": 4, "baseline_questions": 100},
    "infer": {"max_new_tokens": 4, "dtype": "float32"},
}
COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
ASKED = "what colour is it?"


def write_rows(folder: Path, images: int = 40) -> Path:
    """Write images of one colour each, with two questions an image; return the file of rows."""
    (folder / "pictures").mkdir(parents=True)
    draw, rows = np.random.default_rng(0), []
    for number in range(images):
        name = [*COLOURS][number % len(COLOURS)]
        noise = draw.integers(-20, 20, size=(12, 20, 3))
        pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
        image = f"pictures/{number}.png"
        Image.fromarray(pixels).save(folder / image)
        rows += [
            {"image": image, "prompt": ASKED, "answer": name},
            {"image": image, "prompt": "is it a photograph?", "answer": "no"},
        ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
