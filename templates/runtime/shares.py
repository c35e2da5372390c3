"""One model on several devices, for eval.py and infer.py: each holds a share of every layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from runtime.distributed import world_size
from runtime.errors import fail
from runtime.weights import load_model

DIVIDED = ("n_kv_heads", "d_ff")  # sizes that processes share
ADDING = ("o_proj", "down_proj")  # layers that write to the residual stream


def load_share(build: Callable[[], Any], folder: Path, device: torch.device) -> Any:
    """Return the network of a checkpoint, of which each process of torchrun holds a share.

    Shoeybi et al., 2019, arXiv:1909.08053, section 3: within a block, layers that read the
    residual stream compute a share of their outputs, so a process has heads and hidden units of
    its own; those that write to it compute a part of the sum, and processes add their parts. Two
    token tables are divided by their entries; one that serves twice is whole everywhere.

    Args:
        build: Makes the network, with its blocks in `layers`.
        folder: What `find_checkpoint` returned.
        device: Where this process computes.
    """
    model = load_model(build, folder)
    for name in DIVIDED:
        size = getattr(model.config, name)
        if size % world_size():
            fail(
                f"{world_size()} processes cannot share {name} = {size} equally: run torchrun "
                "with a --nproc-per-node that divides it."
            )
    if world_size() > 1:
        _divide(model, device)
    return model


def _divide(model: Any, device: torch.device) -> None:
    """Replace matrices by this process's shares, on the device."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        ParallelStyle,
        RowwiseParallel,
        parallelize_module,
    )

    mesh = init_device_mesh(device.type, (world_size(),))
    for block in model.layers:
        names = [name for name, each in block.named_modules() if isinstance(each, nn.Linear)]
        plan: dict[str, ParallelStyle] = {
            name: RowwiseParallel() if name.endswith(ADDING) else ColwiseParallel()
            for name in names
        }
        parallelize_module(block, mesh, plan)
    # A table that is also the output layer would have to be divided in two ways.
    if model.lm_head is not None and model.config.vocab_size % world_size() == 0:
        tables: dict[str, ParallelStyle] = {
            "embed_tokens": RowwiseParallel(input_layouts=Replicate()),
            "lm_head": ColwiseParallel(output_layouts=Replicate()),
        }
        parallelize_module(model, mesh, tables)


def agreed(number: int, device: torch.device) -> int:
    """Return the first process's number in all of them."""
    if world_size() == 1:
        return number
    shared = torch.tensor(number, device=device)
    dist.broadcast(shared, 0)
    return int(shared)
