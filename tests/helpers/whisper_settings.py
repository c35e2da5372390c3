"""Whisper at a tiny size, for sounds of any kind."""

from __future__ import annotations

from typing import Any

from helpers.family_code import TRAIN

MODEL = {
    **{"sample_rate": 4000, "n_fft": 128, "hop_length": 80, "n_mels": 10, "audio_positions": 12},
    **{"d_model": 16, "n_heads": 4, "d_ff": 24, "n_encoder_layers": 2, "n_decoder_layers": 2},
    **{"vocab_size": 300, "text_length": 10},
}
WITHOUT = {"n_decoder_layers": 0, "text_length": 0}
SIZES: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {
        **{"masked_bands": 2, "masked_frames": 3},
        **{"val_fraction": 0.2, "test_fraction": 0.3},
    },
    "train": TRAIN | {"ctc_share": 0.3},
    "eval": {"batch_size": 3, "baseline_clips": 50},
    "infer": {"beams": 2, "dtype": "float32"},
}
