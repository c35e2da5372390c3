"""Rows of all processes, for a loss that contrasts each row with all others."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from runtime.distributed import rank, total, world_size


class _Gather(torch.autograd.Function):
    """Rows of all processes; each gradient returns to the process that its rows came from."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        start = rank() * ctx.count
        return total(gradients[0].clone())[start : start + ctx.count]


def gather(rows: Tensor) -> Tensor:
    """Return the rows (N, ...) of all processes in their order, shape (N * processes, ...).

    If each process contrasts its own rows with these, the gradients sum to that of the loss over
    all rows. Validation gives processes batches of different sizes, so without gradients the
    function returns the rows unchanged.
    """
    if world_size() == 1 or not torch.is_grad_enabled():
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def own_places(rows: Tensor, every: Tensor) -> Tensor:
    """Return where this process's rows stand among what `gather` made of them: (N,) of int64."""
    # They stand behind those of the processes before this one. Validation gathers nothing, so there
    # each stands at its own place.
    start = rank() * len(rows) if len(every) > len(rows) else 0
    return torch.arange(start, start + len(rows), device=rows.device)
