"""AdamW, its learning rate, and one update of the weights."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from runtime.distributed import gradients_shared, total, whole, world_size

Part = Callable[[], tuple[Tensor, int]]
"""Passes a part of an update through the module; returns its mean loss and number of targets."""


def adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101) that decays matrices only.

    Tensors of one dimension, which are biases and gains, are not decayed: pulling a gain to 0 would
    switch its layer off.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=betas, fused=True)


def multiply_rates(
    optimizer: torch.optim.Optimizer, model: nn.Module, rates: Mapping[str, float]
) -> None:
    """Give parameters a learning rate that is a multiple of the usual one.

    `rates` has the multiples by the parameter's name. Groups are cut, so that each has one rate.
    """
    multiples = {p: rates.get(name, 1.0) for name, p in model.named_parameters()}
    optimizer.param_groups[:] = [
        {**group, "params": [p for p in group["params"] if multiples[p] == rate], "rate": rate}
        for group in optimizer.param_groups
        for rate in dict.fromkeys(multiples[p] for p in group["params"])
    ]


def learning_rate_at(
    step: int, peak: float, warmup_steps: int, total_steps: int, final_share: float
) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, then a cosine.

    The cosine falls from `peak` to `final_share * peak` at `total_steps`; the rate then stays.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return peak * (final_share + (1 - final_share) * cosine)


def _add_gradients(module: nn.Module, parts: Sequence[Part]) -> Tensor:
    """Add up the gradients of the summed loss; return that loss and the number of targets, (2,)."""
    sums: list[Tensor] = []
    for index, part in enumerate(parts):
        with gradients_shared(module, last=index == len(parts) - 1):
            loss, targets = part()
            # Summed losses give the same gradient for any division into parts, and means do not.
            # The number of targets therefore divides the whole gradient at the end.
            (loss * targets).backward()  # type: ignore[no-untyped-call]
        mean = loss.detach().double()
        sums.append(torch.stack((mean * targets, torch.full_like(mean, targets))))
    return torch.stack(sums).sum(0)


def _scale_and_clip(gradients: Sequence[Tensor], scale: float, clip: float) -> float:
    """Scale gradients in place, then clip them to a norm; return the norm before clipping."""
    norm: float = scale * whole(nn.utils.get_total_norm(gradients)).item()
    # One product does both. The small number keeps a gradient of 0 from dividing by 0.
    factor = scale * min(1.0, clip / (norm + 1e-6))
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def update(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    learning_rate: float,
    grad_clip: float,
) -> tuple[float, float]:
    """Take one step down the gradient of the mean loss over all targets, in all processes.

    Args:
        module: What `parallelize` returned.
        optimizer: The optimizer of its parameters.
        parts: The parts of this process's share of the update.
        learning_rate: The rate of this step; a group may have a multiple of it, its "rate".
        grad_clip: Largest norm of the gradient; a larger one is scaled down to it.

    Returns:
        The mean loss over all targets of all parts, and the gradient's norm before it is scaled.
    """
    # Reading a number from a GPU waits for all its work. It happens once per update, so that the
    # GPU computes while the CPU prepares the next part.
    loss_sum, count = total(_add_gradients(module, parts)).tolist()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    # Processes hold the mean of their gradients, but the sum is needed.
    norm = _scale_and_clip(gradients, world_size() / count, grad_clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("rate", 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss_sum / count, norm
