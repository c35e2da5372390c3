"""MusicGen at a tiny size, with captions, for sounds of any kind."""

from __future__ import annotations

from typing import Any

from helpers.family_code import TRAIN

MODEL = {
    **{"sample_rate": 4800, "stride_1": 4, "stride_2": 3, "stride_3": 2, "stride_4": 2},
    **{"codec_filters": 4, "codec_lstm_layers": 2, "codec_dim": 6},
    **{"n_codebooks": 3, "codebook_size": 8},
    **{"d_model": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "d_ff": 24, "max_seq_len": 64},
    **{"text_length": 6, "text_width": 8, "text_layers": 1, "text_heads": 2, "vocab_size": 257},
}
SIZES: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {"seq_len": 20, "val_fraction": 0.2, "test_fraction": 0.3},
    "train": TRAIN | {"codec_share": 0.5, "commitment": 0.25, "codebook_rate": 5.0},
    "eval": {"batch_size": 3, "baseline_clips": 50},
    "infer": {"frames": 10, "temperature": 1.0, "top_k": 0, "seed": 1, "dtype": "float32"},
}
