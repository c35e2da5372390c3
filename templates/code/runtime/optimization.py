"""AdamW, its learning rate, and one update."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101) that decays matrices only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=betas)


def learning_rate_at(
    step: int, peak: float, warmup_steps: int, total_steps: int, final_share: float
) -> float:
    """Return the rate of the update after `step` others: linear warm-up, then a cosine.

    The cosine falls from `peak` to `final_share * peak` at `total_steps`, and stays there.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return peak * (final_share + (1 - final_share) * cosine)


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Iterable[tuple[Tensor, int]],
    learning_rate: float,
    grad_clip: float,
) -> float:
    """Take one step down the mean loss over everything in the update.

    Args:
        model: The model to change.
        optimizer: Its optimizer.
        losses: Yields the mean loss of each micro-batch, and over how many targets it is.
        learning_rate: The rate of this step.
        grad_clip: Greatest norm of the gradient.

    Returns:
        The mean loss over all targets of all micro-batches.
    """
    total, count = 0.0, 0
    for loss, targets in losses:
        # Sums add up to the same gradient however the batch is cut; the division comes last.
        (loss * targets).backward()  # type: ignore[no-untyped-call]
        total += loss.item() * targets
        count += targets
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= count
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad()
    return total / count
