"""Processes that torchrun starts to train one model, replicated or in shards."""

import contextlib
import os
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from runtime.errors import fail


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the repeated parts of a model: the members of its outermost lists of modules."""
    found: list[nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else blocks(child)
    return found


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started; if one of them dies, stop with a message."""
    if world_size() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # What processes agree on lies on the CPU, so that asking does not wait for a GPU's work.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        # If a process ends, the others only notice a closed connection.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        fail("another process has ended: see its message; train.py goes on with --resume.")
    dist.destroy_process_group()


def parallelize(
    model: nn.Module,
    blocks: Iterable[nn.Module],
    mode: str,
    device: torch.device,
    low: bool,
    partly: bool = False,
) -> nn.Module:
    """Put a model on its device and return the module to call, which shares its gradients.

    Args:
        model: The model, on the CPU. For `fsdp`, processes other than the first may hold it on
            `meta`, as the first one hands its weights out.
        blocks: Its parts that `fsdp` gathers one after the other.
        mode: `ddp`: a whole model in each process (Li et al., 2020, arXiv:2006.15704); `fsdp`: a
            share of each tensor in each process (Zhao et al., 2023, arXiv:2304.11277).
        device: Where this process computes.
        low: Whether `fsdp` gathers weights in bfloat16; gradients are added in float32 anyway.
        partly: Whether a pass may leave weights out, which then get no gradient.
    """
    if world_size() == 1:
        return model.to(device)
    if mode == "ddp":
        where = [device] if device.type == "cuda" else None
        return DistributedDataParallel(
            model.to(device), device_ids=where, find_unused_parameters=partly
        )
    return _sharded(model, blocks, device, low)


def _sharded(
    model: nn.Module, blocks: Iterable[nn.Module], device: torch.device, low: bool
) -> nn.Module:
    """Return a model on the device with a share of each tensor, for `parallelize`."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (world_size(),))
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if low else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # autocast selects what runs in bfloat16, as without shards
    )
    # The model is cut while it is on `meta`. Then its tensors are distributed one by one, so that
    # no device ever holds more than its shards and one whole tensor.
    weights = model.state_dict()
    model.to("meta")
    for part in (*blocks, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)
    model.to_empty(device=device)
    for name, target in model.state_dict().items():
        source = weights[name] if rank() == 0 else torch.empty(target.shape, dtype=target.dtype)
        target.copy_(shard_like(source, target))
    share_buffers(model)
    return model


def reshard(model: nn.Module) -> None:
    """Split the weights that a forward pass has gathered into shards again."""
    if world_size() == 1:
        return
    from torch.distributed.fsdp import FSDPModule

    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def share_buffers(module: nn.Module) -> None:
    """Copy the buffers of the first process, such as running statistics, to all others."""
    for buffer in module.buffers() if world_size() > 1 else ():
        dist.broadcast(buffer, 0)


@contextlib.contextmanager
def gradients_shared(module: nn.Module, last: bool) -> Iterator[None]:
    """Let replicas exchange their gradients only in the last part of an update, to save time.

    Shards are exchanged in every part, because a whole gradient would not fit next to them.
    """
    if isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
    else:
        yield


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def anywhere(flag: bool) -> bool:
    """Return whether a flag is set in any process."""
    return bool(total(torch.tensor(float(flag))) > 0)


def joined(rows: Tensor) -> Tensor:
    """Return the rows of all processes in their order; each has as many, (N, ...)."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its shards; every process must call this."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor with the shards and the device of another one.

    The values are those of the first process.
    """
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements)
