"""The part of `memory` that imports torch: counts the memory of a generated train.py.

`python -m metagen.measure.memory_worker DEVICES` in a folder that holds `code/model.py`,
`code/data.py`, `code/train.py` and `code/runtime/` writes `memory.json`. Tensors are fake: they
have a shape, a type and a device, and no memory, so a model of any size fits.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

NUMBER = 4  # bytes of a number in float32
# Bytes per parameter of what training with AdamW keeps: the weight, its gradient, two moments.
STATES: Mapping[str, Fraction | int] = {"weights": 4, "gradients": 4, "optimizer": 8}
LOW = 2  # bytes of a weight in bfloat16


def main(devices: int) -> None:
    """Measure the full model of the current folder and write `memory.json`."""
    sys.path.insert(0, "code")
    model, data, train = map(importlib.import_module, ("model", "data", "train"))
    training = importlib.import_module("runtime.training")
    distributed = importlib.import_module("runtime.distributed")
    samples = training.samples_at_once(train.Config(), devices)
    counts = {"samples_at_once": samples}
    states = {**STATES, "optimizer": optimizer_bytes(model, train)}
    for mode, shards in (("ddp", 1), ("fsdp", devices)):
        counts |= measure(
            lambda: model.Model(model.Config()),
            lambda module: train.example_loss(module, samples, data.Config()),
            distributed.blocks,
            mode,
            shards,
            states,
        )
    Path("memory.json").write_text(json.dumps(counts))


def optimizer_bytes(model: ModuleType, train: ModuleType) -> Fraction:
    """Return the bytes per parameter of the optimizer's state and of an average of the weights."""
    optimization = importlib.import_module("runtime.optimization")
    with torch.device("meta"):
        outline = model.Model(model.Config())
    kept = optimization.state_size(outline, train.Config().optimizer)
    average = 1 if hasattr(train.Config(), "ema_decay") else 0
    return NUMBER * (Fraction(kept, _count(outline)) + average)


def measure(
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module], Tensor],
    parts: Callable[[nn.Module], list[nn.Module]],
    mode: str,
    shards: int,
    states: Mapping[str, Fraction | int] = STATES,
) -> dict[str, Any]:
    """Return the parameters, and the bytes on a GPU that computes in bfloat16.

    Args:
        build: Makes the model.
        loss: Passes the samples of one device through the model.
        parts: Returns the repeated blocks of the model.
        mode: `ddp` or `fsdp`.
        shards: Number of devices that share each tensor under `fsdp`.
        states: Bytes per parameter, by their use in training.
    """
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16):
        # Shards are gathered in bfloat16. A whole model has float32 weights and bfloat16 copies.
        torch.set_default_dtype(torch.bfloat16 if mode == "fsdp" else torch.float32)
        model = build()
        torch.set_default_dtype(torch.float32)
        blocks = parts(model)
        saved, recomputed = activations(model, blocks, loss)
    sizes, total = [_count(block) for block in blocks], _count(model)
    # Modules outside the blocks stay gathered, together with the current block and the next one.
    gathered = LOW * (total - sum(sizes) + 2 * max(sizes, default=0)) if mode == "fsdp" else 0
    sharded = {name: -(-total * size // shards) for name, size in states.items()}
    memory = {**sharded, "gathered": gathered, "activations": saved, "recomputed": recomputed}
    return {"parameters": total, mode: memory}


class Saved:
    """Tensors that a forward pass saves for the backward pass, other than weights.

    Attributes:
        inside: Bytes that each block saved.
        inputs: Bytes of each block's input.
    """

    def __init__(self, model: nn.Module, blocks: list[nn.Module]) -> None:
        self._weights = {p.untyped_storage()._cdata for p in model.parameters()}
        self._storages: dict[int, Any] = {}
        self.inside: list[int] = []
        self.inputs: list[int] = []
        for block in blocks:
            block.register_forward_pre_hook(self._enter)
            block.register_forward_hook(self._leave)

    def size(self) -> int:
        # Several tensors may share one storage, which counts once.
        return sum(storage.nbytes() for storage in self._storages.values())

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._storages[storage._cdata] = storage
        return tensor

    def _enter(self, block: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.inputs.append(args[0].nbytes)
        self.inside.append(-self.size())

    def _leave(self, block: nn.Module, args: tuple[Tensor, ...], output: object) -> None:
        self.inside[-1] += self.size()


def activations(
    model: nn.Module, blocks: list[nn.Module], loss: Callable[[nn.Module], Tensor]
) -> tuple[int, int]:
    """Return the bytes that a forward pass saves for the backward pass, without the weights.

    The second figure is that of `--grad-checkpoint`: the inputs of the blocks, all that is saved
    outside of them, and the most that one block saves, because blocks are recomputed one by one.
    """
    saved = Saved(model, blocks)
    with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
        loss(model)
    outside = saved.size() - sum(saved.inside)
    return saved.size(), outside + sum(saved.inputs) + max(saved.inside, default=0)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    main(int(sys.argv[1]))
