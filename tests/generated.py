"""A generated package at tiny sizes, and its modules, for the tests that run it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from metagen import paths
from metagen.code.bundle import bundle

TASK = "templates/code/tasks/language_modeling"
TINY: dict[str, dict[str, Any]] = {
    "model": {
        "d_model": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 8,
        "d_ff": 48,
        "vocab_size": 256,
        "max_seq_len": 64,
        "rope_theta": 10000.0,
        "norm_eps": 1e-05,
        "tie_embeddings": True,
    },
    "data": {"seq_len": 16, "tokenizer": "byte", "val_fraction": 0.05, "test_fraction": 0.1},
    "train": {
        "steps": 6,
        "batch_size": 4,
        "grad_accum": 1,
        "learning_rate": 0.003,
        "warmup_steps": 2,
        "final_lr_share": 0.1,
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.95,
        "grad_clip": 1.0,
        "eval_every": 3,
        "eval_batches": 2,
        "save_every": 100,
        "dtype": "float32",
        "seed": 42,
    },
    "eval": {"batch_size": 256, "stride": 8, "baseline_bytes": 100000},
    "infer": {
        "max_new_tokens": 12,
        "temperature": 0.8,
        "top_k": 0,
        "top_p": 0.95,
        "seed": 42,
        "weight_bits": 16,
        "cache_bits": 16,
    },
}
LOCAL_MODEL = TINY["model"] | {"n_layers": 5, "window": 5, "global_every": 3}


def write_package(folder: Path, sizes: Mapping[str, Mapping[str, Any]] = TINY) -> Path:
    """Write code/ with these settings at both sizes and return the folder."""
    for name, values in sizes.items():
        model = "decoder_local" if "window" in values else "decoder"
        template = f"templates/code/models/{model}.py" if name == "model" else f"{TASK}/{name}.py"
        text = bundle(template, lambda n: paths.source(n).read_bytes(), values)
        (folder / f"{name}.py").write_bytes(text)
    (folder / "config.json").write_text(json.dumps({"full": sizes, "proxy": sizes}))
    return folder


@contextmanager
def modules(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """Import the package's files by their own names, and forget them afterwards."""
    before = {name: sys.modules.pop(name) for name in TINY if name in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        yield {name: importlib.import_module(name) for name in TINY}
    finally:
        sys.path.remove(str(folder))
        for name in TINY:
            sys.modules.pop(name, None)
        sys.modules.update(before)
