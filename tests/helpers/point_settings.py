"""Point diffusion at a tiny size."""

from __future__ import annotations

from helpers.family_code import TRAIN

MODEL = {
    "n_points": 8,
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 2,
    "d_ff": 64,
    "text_length": 12,
    "text_width": 8,
    "text_layers": 1,
    "text_heads": 2,
    "vocab_size": 257,
}
SCRIPTS = {
    "data": {"val_fraction": 0.2, "test_fraction": 0.3},
    "train": {**TRAIN, "ema_decay": 0.9, "unconditional_probability": 0.2},
    "eval": {
        "points": 16,
        "batch_size": 20,
        "sampling_steps": 2,
        "guidance": 1.0,
        "shapes": 30,
        "references": 40,
        "seed": 42,
    },
    "infer": {
        "samples": 2,
        "points": 40,
        "sampling_steps": 2,
        "guidance": 2.0,
        "seed": 42,
        "dtype": "float32",
    },
}
