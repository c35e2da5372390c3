"""`code/` whose training takes milliseconds: its loss is a formula of its settings.

The loss falls with the steps towards `best`, which depends on the settings; each training leaves a
line in the file `starts`. torch is a stub.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRAIN = """
import json, math, pathlib, sys, time
settings = json.loads(pathlib.Path("code/config.json").read_text())["proxy"]
train, model = settings["train"], settings["model"]


def example_loss(network, samples, data):
    return None


def main():
    with open(STARTS, "a") as starts:
        starts.write(f"{train['seed']}\\n")
    sizes = sum(value for value in model.values() if isinstance(value, int))
    best = 1 + abs(math.log(train["learning_rate"] / 0.002)) / 4 + 0.05 * abs(math.log(sizes / 200))
    best += 0.01 * ((train["seed"] * 7919 + sizes) % 13) / 13
    out = pathlib.Path("out/checkpoint")
    out.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "state.json", "tokenizer.json"):
        (out / name).write_text("{}")
    with (out.parent / "metrics.jsonl").open("w") as log:
        for step in range(1, train["steps"] + 1):
            time.sleep(SECONDS)
            due = step % train["eval_every"] == 0 or step == train["steps"]
            loss = best * (1 + 1 / step) if due else None
            row = {"step": step, "train_loss": 1, "val_loss": loss, "rows_per_second": 3.0}
            print(json.dumps(row), file=log, flush=True)
            if due:
                line = f"step {step}/{train['steps']}: train loss 1.000, validation {loss:.3f}"
                print(line, file=sys.stderr, flush=True)
    data = {"name": "rows", "sha256": "0" * 64, "splits": {"train": 7}}
    start = {"data": data, "units": 5, "unit": "rows", "memory_peak": 9}
    (out.parent / "run.json").write_text(json.dumps({"starts": [start]}))


if __name__ == "__main__":
    main()
"""
MODEL = """
class Config: pass
class Model:
    def __init__(self, config): pass
    def num_params(self): return 3
"""
TORCH = """
import contextlib
def device(name): return contextlib.nullcontext()
"""
FILES = {
    "data.py": "class Config: pass\n",
    "model.py": MODEL,
    "torch.py": TORCH,
    "runtime/__init__.py": "",
    "runtime/flops.py": "def sample_flops(loss): loss(2); return 10\n",
    "runtime/settings.py": "def load_config(kind, section, size): return kind()\n",
}


def quick_code(
    proxy: Mapping[str, Mapping[str, Any]], starts: Path, seconds: float = 0.0
) -> dict[str, bytes]:
    """Return the files of a package with such a training.

    Args:
        proxy: The settings of the scaled-down model.
        starts: The file that has a line for each training.
        seconds: How long a step takes.
    """
    train = f"STARTS, SECONDS = {str(starts)!r}, {seconds}\n{TRAIN}"
    texts = {**FILES, "train.py": train, "config.json": json.dumps({"proxy": proxy})}
    return {f"code/{name}": text.encode() for name, text in texts.items()}
