"""The part of `memory` that imports torch: counts the memory of a generated train.py.

`python -m metagen.measure.memory_worker DEVICES` in a folder that holds `code/model.py`,
`code/data.py`, `code/train.py` and `code/runtime/` writes `memory.json`. Tensors are fake: they
have a shape, a type and a device, and no memory, so a model of any size fits. The mode of
`--grad-checkpoint` decides what a forward pass keeps and how much a backward pass computes again.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from metagen.measure.nodes import machines

NUMBER = 4  # bytes of a number in float32
# Bytes per parameter of what training with AdamW keeps: the weight, its gradient, two moments.
STATES: Mapping[str, Fraction | int] = {"weights": 4, "gradients": 4, "optimizer": 8}
LOW = 2  # bytes of a weight in bfloat16
PASSES = 3  # A pass with gradients costs three: the backward pass costs two.
# The CPU's attention has no formula of its own in torch's table of operations.
_aten = torch.ops.aten
_ALIKE = {"_scaled_dot_product_flash_attention_for_cpu": _aten._scaled_dot_product_flash_attention}


def main(declared: int) -> None:
    """Measure the full model of the current folder and write `memory.json`."""
    sys.path.insert(0, "code")
    model, data, train = map(importlib.import_module, ("model", "data", "train"))
    training = importlib.import_module("runtime.training")
    distributed = importlib.import_module("runtime.distributed")
    selection = importlib.import_module("runtime.speedup").Selection
    config = train.Config()
    nodes, per_node = machines(declared, config.batch_size)
    devices = nodes * per_node
    samples = training.samples_at_once(config, devices)
    counts = {
        "nodes": nodes,
        "devices_per_node": per_node,
        "train": asdict(config),
        "data": asdict(data.Config()),
        "samples_at_once": samples,
    }
    states = {**STATES, "optimizer": optimizer_bytes(model, config)}
    for mode, shards in (("ddp", 1), ("fsdp", devices)):
        counts |= measure(
            lambda: model.Model(model.Config()),
            lambda module: train.example_loss(module, samples, data.Config()),
            distributed.blocks,
            selection,
            mode,
            shards,
            states,
        )
    Path("memory.json").write_text(json.dumps(counts))


def optimizer_bytes(model: ModuleType, config: Any) -> Fraction:
    """Return the bytes per parameter of the optimizer's state and of an average of the weights."""
    optimization = importlib.import_module("runtime.optimization")
    with torch.device("meta"):
        outline = model.Model(model.Config())
    kept = optimization.state_size(outline, config.optimizer)
    average = 1 if hasattr(config, "ema_decay") else 0
    return NUMBER * (Fraction(kept, _count(outline)) + average)


def measure(
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module], Tensor],
    parts: Callable[[nn.Module], list[nn.Module]],
    selection: Callable[[], Any],
    mode: str,
    shards: int,
    states: Mapping[str, Fraction | int] = STATES,
) -> dict[str, Any]:
    """Return the parameters, and the bytes on a GPU that computes in bfloat16.

    Args:
        build: Makes the model.
        loss: Passes the samples of one device through the model.
        parts: Returns the repeated blocks of the model.
        selection: Makes what decides for one block which results the selective mode keeps.
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
        run = forward(model, blocks, loss, selection)
    sizes, total = [_count(block) for block in blocks], _count(model)
    # Modules outside the blocks stay gathered, together with the current block and the next one.
    gathered = LOW * (total - sum(sizes) + 2 * max(sizes, default=0)) if mode == "fsdp" else 0
    sharded = {name: -(-total * size // shards) for name, size in states.items()}
    memory: dict[str, Any] = {**sharded, "gathered": gathered, "temporary": run.largest}
    memory |= {"activations": run.kept, "operations": run.repeated}
    return {"parameters": total, mode: memory}


class Pass(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a forward pass saves for the backward pass, other than weights, and what it computes.

    Attributes:
        inside: Bytes that each block saved.
        inputs: Bytes of each block's input.
        results: Bytes of the results that the selective mode keeps in all blocks.
        operations: Operations of a step, those within blocks that a backward pass may repeat, and
            those that the selective mode repeats.
        largest: Bytes of the largest result.
    """

    def __init__(
        self, model: nn.Module, blocks: list[nn.Module], selection: Callable[[], Any]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {p.untyped_storage()._cdata for p in model.parameters()}
        self._storages: dict[int, Any] = {}
        self._new_selection = selection
        self._selection: Any = None
        self.inside: list[int] = []
        self.inputs: list[int] = []
        self.results = self.largest = 0
        self.operations = {"all": 0, "full": 0, "selective": 0}
        for block in blocks:
            block.register_forward_pre_hook(self._enter)
            block.register_forward_hook(self._leave)

    @property
    def kept(self) -> dict[str, int]:
        """Bytes that are kept for the backward pass, by the mode of `--grad-checkpoint`.

        With recomputation these are the inputs of the blocks, all that is saved outside of them,
        and the most that one block saves, because blocks are recomputed one by one; selectively,
        also the results that are not computed again.
        """
        outside = self.size() - sum(self.inside)
        full = outside + sum(self.inputs) + max(self.inside, default=0)
        return {"none": self.size(), "selective": full + self.results, "full": full}

    @property
    def repeated(self) -> dict[str, float]:
        """Operations of a step as a multiple of those without recomputation, by the mode."""
        step = max(1, self.operations["all"])
        again = {name: 1 + self.operations[name] / step for name in ("selective", "full")}
        return {"none": 1.0, **again}

    def size(self) -> int:
        # Several tensors may share one storage, which counts once.
        return sum(storage.nbytes() for storage in self._storages.values())

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._storages[storage._cdata] = storage
        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operations = _operations(func, args, kwargs or {}, result)
        self.operations["all"] += operations * (PASSES if torch.is_grad_enabled() else 1)
        self.largest = max(self.largest, _bytes(result))
        if self._selection:
            self.operations["full"] += operations
            if self._selection.keeps(func):
                self.results += _bytes(result)
            else:
                self.operations["selective"] += operations
        return result

    def _enter(self, block: nn.Module, args: tuple[Tensor, ...]) -> None:
        if not torch.is_grad_enabled():
            return  # Nothing is kept, and nothing repeated.
        self.inputs.append(args[0].nbytes)
        self.inside.append(-self.size())
        self._selection = self._new_selection()

    def _leave(self, block: nn.Module, args: tuple[Tensor, ...], output: object) -> None:
        if self._selection:
            self.inside[-1] += self.size()
        self._selection = None


def _operations(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Return the operations of an operator by torch's table; a multiply-add counts as two."""
    packet = func._overloadpacket
    formula = flop_registry.get(_ALIKE.get(packet.__name__, packet))
    return int(formula(*args, **kwargs, out_val=result)) if formula else 0


def _bytes(result: Any) -> int:
    parts = result if isinstance(result, tuple | list) else (result,)
    return sum(part.nbytes for part in parts if isinstance(part, Tensor))


def forward(
    model: nn.Module,
    blocks: list[nn.Module],
    loss: Callable[[nn.Module], Tensor],
    selection: Callable[[], Any],
) -> Pass:
    """Return what a forward pass saves and computes."""
    run = Pass(model, blocks, selection)
    with torch.autograd.graph.saved_tensors_hooks(run.add, lambda tensor: tensor), run:
        loss(model)
    return run


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    main(int(sys.argv[1]))
