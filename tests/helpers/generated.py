"""A generated package at tiny sizes, and its modules, for the tests that run it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from metagen import paths
from metagen.families.decoder import FAMILY as decoder
from metagen.package.bundle import bundle
from metagen.package.code import runtime_files
from metagen.package.imports import PACKAGE_FILES

Run = Callable[..., str]
TASK = "templates/tasks/language_modeling"
RUNTIME = runtime_files(decoder)
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
        "optimizer": "adamw",
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
        "table_rate": 2.0,
        "table_scale": 1.0,
        "write_scale": 0.5,
    },
    "eval": {"batch_size": 256, "stride": 8, "baseline_bytes": 100000, "dtype": "auto"},
    "infer": {
        "max_new_tokens": 12,
        "temperature": 0.8,
        "top_k": 0,
        "top_p": 0.95,
        "seed": 42,
        "dtype": "auto",
        "weight_bits": 16,
        "cache_bits": 16,
    },
}
LOCAL_MODEL = TINY["model"] | {"n_layers": 5, "window": 5, "global_every": 3}


def write_package(folder: Path, sizes: Mapping[str, Mapping[str, Any]] = TINY) -> Path:
    """Write code/ with these settings at both sizes and return the folder."""
    for name, values in sizes.items():
        model = "model_local" if "window" in values else "model"
        template = (
            f"templates/families/decoder/{model}.py" if name == "model" else f"{TASK}/{name}.py"
        )
        text = bundle(template, lambda n: paths.source(n).read_bytes(), values)
        (folder / f"{name}.py").write_bytes(text)
    bench = bundle(f"{TASK}/bench.py", lambda n: paths.source(n).read_bytes())
    (folder / "bench.py").write_bytes(bench)
    write_runtime(folder)
    (folder / "config.json").write_text(json.dumps({"proxy": sizes}))
    return folder


def write_runtime(folder: Path) -> None:
    """Write what the scripts of a folder share."""
    (folder / "runtime").mkdir()
    for path in RUNTIME:
        text = paths.source(paths.template(path)).read_bytes()
        (folder / "runtime" / Path(path).name).write_bytes(text)


@contextmanager
def modules(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """Import the package's files by their own names, and forget them afterwards.

    Modules of `runtime/` are found as `runtime.checkpoint` and so on.
    """
    before = forget()
    sys.path.insert(0, str(folder))
    try:
        names = [*TINY, "bench", *(f"runtime.{Path(path).stem}" for path in RUNTIME[1:])]
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(folder))
        forget()
        sys.modules.update(before)


def forget() -> dict[str, ModuleType]:
    """Take the package's modules out of Python's table and return them."""
    own = [name for name in sys.modules if name.partition(".")[0] in PACKAGE_FILES]
    return {name: sys.modules.pop(name) for name in own}


def same_checkpoint(one: Path, other: Path) -> bool:
    """Return whether two checkpoints hold the same weights and the same optimizer, to the bit."""
    names = ("model.safetensors", "optimizer/state.safetensors")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
