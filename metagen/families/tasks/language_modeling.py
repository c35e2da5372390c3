"""Language modelling: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Dims, Key

TRAINING_LENGTH = 8192  # of Llama 3's pre-training (arXiv:2407.21783, section 3.4.2)


def sections(m: Dims, parameters: int, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the sections of a model of this size; the spec's training.config goes first."""
    return {"data": {}, "train": {}, "eval": {}, "infer": {}}


def training_length(full: Mapping[str, Any]) -> int:
    """Return the tokens of one training sequence."""
    return int(min(full["model"]["max_seq_len"], TRAINING_LENGTH))
