"""A small training folder, as train.py and eval.py leave it, written without torch.

The tensors are what the caller says; everything else is plausible and consistent: the steps, the
digests and the losses of `run.json`, `metrics.jsonl`, `scores.json` and the checkpoint agree.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import yaml

from metagen import files

Shapes = Mapping[str, Sequence[int]]
SHAPES: Shapes = {"embed_tokens.weight": (8, 4), "norm.weight": (4,)}
WEIGHTS, STATE = "checkpoint/model.safetensors", "checkpoint/state.json"


def safetensors(shapes: Shapes, *, chance: int, facts: Mapping[str, str] | None = None) -> bytes:
    """Return a .safetensors file of float32 tensors with random bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(facts or {})}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + random.Random(chance).randbytes(end)


def write_run(
    folder: Path,
    *,
    steps: int = 300,
    seed: int = 42,
    shapes: Shapes = SHAPES,
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    scores: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the folder of a training of the full model; return it.

    A checkpoint that is there already is replaced as train.py does it: by new files.

    Args:
        folder: Where.
        steps: Updates that were done.
        seed: The seed of the training; the weights follow from it and from `steps`.
        shapes: The tensors of the checkpoint.
        config: The content of checkpoint/config.json.
        settings: The settings of the run and of its checkpoint, by the script that they belong to.
        scores: Metrics of one report of eval.py; none writes no scores.json.
    """
    weights = safetensors(shapes, chance=seed * 100_003 + steps, facts={"step": str(steps)})
    config_json = files.json_bytes({"model_type": "toy", **(config or {})})
    sections = {"train": {"seed": seed}, **(settings or {})}
    named = {f"{s}.{name}": value for s, each in sections.items() for name, value in each.items()}
    state = {"step": steps, "init_from": None, "sha256": SOURCE["sha256"], **named}
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    _write(folder / WEIGHTS, weights)
    optimizer = safetensors({"exp_avg": (4,)}, chance=1, facts={"step": str(steps)})
    _write(folder / "checkpoint" / "optimizer" / "state.safetensors", optimizer)
    _write(folder / STATE, files.json_bytes(state))
    _write(folder / "checkpoint" / "config.json", config_json)
    curve = [_line(step, steps) for step in range(1, steps + 1)]
    _write(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in curve).encode())
    checkpoint = {"step": steps, "sha256": files.sha256(weights)}
    start = _start(steps, seed, files.sha256(config_json), curve[-1]) | {"checkpoint": checkpoint}
    start["settings"] = dict(settings or {"train": {"seed": seed}})
    batch = start["settings"].get("train", {}).get("batch_size", 8)
    start |= {"units": batch * steps, "throughput": batch * steps / 3600.0}
    _write(folder / "run.json", files.json_bytes({"version": 1, "starts": [start]}))
    if scores:
        report = {**SOURCE, "metrics": list(scores), "checkpoint_step": steps}
        score = _score(checkpoint, files.sha256(config_json), report)
        _write(folder / "scores.json", files.json_bytes({"version": 1, "scores": [score]}))
    return folder


def fitting(run: Path) -> dict[str, Any]:
    """Return the arguments of `write_run` for a training of a built package's full model."""
    planned = yaml.safe_load((run / "blueprint" / "architecture.yaml").read_bytes())
    tensors = json.loads((run / "blueprint" / "tensors.json").read_bytes())
    config = json.loads((run / "blueprint" / "graph.json").read_bytes())["config"]
    texts = {**tensors["parameters"], **tensors["others"]}
    sides = {name: text.partition(" ")[2] for name, text in texts.items()}
    return {
        "shapes": {
            n: tuple(map(int, text.split("x"))) if text else () for n, text in sides.items()
        },
        "steps": planned["train"]["steps"],
        "seed": planned["train"]["seed"],
        "config": config,
        "settings": {"model": config, "data": planned["data"], "train": planned["train"]},
    }


SOURCE = {"dataset": "made up", "sha256": "d" * 64, "split": "test", "n": 100}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _line(step: int, steps: int) -> dict[str, Any]:
    loss = round(2.0 + 1.0 / step, 4)
    row = {"step": step, "train_loss": loss, "val_loss": None, "learning_rate": 0.001}
    return row | ({"val_loss": loss} if step == steps else {})


def _start(steps: int, seed: int, config: str, last: Mapping[str, Any]) -> dict[str, Any]:
    splits = {"train": 1000, "val": 100, "test": 100}
    return {
        "command": "python train.py --size full --data tokens --out full_run",
        "began": "2026-11-01T08:00:00Z",
        "ended": "2026-11-01T09:00:00Z",
        "status": "done",
        "size": "full",
        "seed": seed,
        "code": {},
        "config": config,
        "data": {"name": "made up", "sha256": "d" * 64, "unit": "sample", "splits": splits},
        "devices": {"type": "cpu", "names": ["a made CPU"], "count": 1},
        "memory_peak": 1_000_000,
        "versions": {"python": "3.11.0", "torch": "2.6.0"},
        "precision": "float32",
        "parallel": "none",
        "steps": {"from": 0, "to": steps},
        "unit": "samples",
        "seconds": {"wall": 3600.0, "device": 3500.0},
        "mfu": None,
        "energy": {"joules": None, "source": "not measured"},
        "init_from": None,
        "losses": {"train": last["train_loss"], "val": last["val_loss"]},
    }


def _score(checkpoint: Mapping[str, Any], config: str, report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "command": "python eval.py --size full --data tokens --out full_run",
        "ran": "2026-11-01T10:00:00Z",
        "size": "full",
        "checkpoint": dict(checkpoint),
        "code": {},
        "config": config,
        "device": "cpu",
        "report": dict(report),
    }
