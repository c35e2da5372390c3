"""CLIP at a tiny size, the spec that asks for it, and images with captions to give it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

from PIL import Image

from helpers.family_code import TRAIN
from metagen import paths

SPEC = paths.specs() / "multimodal/multimodal_clip.yaml"
MODEL = {
    "embed_dim": 12,
    "in_channels": 3,
    "image_size": 16,
    "patch_size": 4,
    "vision_d_model": 24,
    "vision_n_layers": 2,
    "vision_n_heads": 3,
    "vision_d_ff": 40,
    "text_d_model": 16,
    "text_n_layers": 3,
    "text_n_heads": 2,
    "text_d_ff": 36,
    "vocab_size": 300,
    "max_seq_len": 20,
    "norm_eps": 1e-05,
}
TINY = {
    "model": MODEL,
    "data": {"shift": 1, "val_fraction": 0.1, "test_fraction": 0.1},
    "train": TRAIN,
    "eval": {"batch_size": 512, "pairs": 40, "baseline_pairs": 100},
    "infer": {"top": 3, "weight_bits": 16},
}
Modules = dict[str, ModuleType]


def write_photos(folder: Path) -> Path:
    """Write 40 images of one brightness each, with two captions a piece; return the folder."""
    (folder / "a").mkdir()
    lines = []
    for n in range(40):
        Image.new("RGB", (20, 17), (6 * n,) * 3).save(folder / "a" / f"{n}.png")
        lines += [{"file_name": f"a/{n}.png", "text": f"{word} {n}"} for word in ("grey", "tone")]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text)
    return folder
