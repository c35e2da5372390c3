"""The optimizers, their learning rate, and one update of the weights."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runtime.distributed import blocks, gradients_shared, shard_like, total, whole, world_size
from runtime.errors import fail
from runtime.settings import Training

Optimizers = Sequence[torch.optim.Optimizer]
Part = Callable[[], tuple[Tensor, int]]
"""Passes a part of an update through the module; returns its mean loss and number of targets."""
MUON_MOMENTUM = 0.95  # as in arXiv:2502.16982; `beta1` is that of the AdamW beside it


class Adafactor(torch.optim.Adafactor):
    """Adafactor (Shazeer & Stern, 2018, arXiv:1804.04235) that also trains shards.

    Its factors are means over whole rows and columns, so each tensor is gathered for its update.
    The factors are small and lie whole in every process.
    """

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                # One tensor at a time is whole, since all of them would not fit.
                one = whole(parameter.detach())
                one.grad = whole(parameter.grad)
                rates = {name: group[name] for name in ("lr", "weight_decay")}
                inner = torch.optim.Adafactor([one], **rates)
                inner.state[one] = self.state[parameter]
                inner.step()  # type: ignore[no-untyped-call]
                parameter.copy_(shard_like(one, parameter))


def optimizers(model: nn.Module, config: Training) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a model's weights: one, or Muon with AdamW beside it.

    Muon (Jordan et al., 2024; Liu et al., 2025, arXiv:2502.16982) makes the update of a matrix
    orthogonal. It takes the matrices of the repeated blocks; AdamW takes embeddings, the head,
    kernels, gains and biases. The updates of both have the same size, and so the same rate.
    """
    if config.optimizer != "muon":
        return [_optimizer(config.optimizer, model.parameters(), config)]
    hidden = _hidden(model)
    rest = [p for p in model.parameters() if p not in hidden]
    return [_optimizer("muon", hidden, config), _optimizer("adamw", rest, config)]


def state_size(model: nn.Module, optimizer: str) -> int:
    """Return how many numbers an optimizer keeps beside the weights of a model."""
    hidden = _hidden(model)
    return sum(_kept(optimizer, p, p in hidden) for p in model.parameters())


def _kept(optimizer: str, parameter: Tensor, hidden: bool) -> int:
    """Return how many numbers an optimizer keeps for a tensor."""
    numbers = parameter.numel()
    if optimizer == "adafactor" and parameter.dim() >= 2:
        return numbers // parameter.size(-1) + numbers // parameter.size(-2)
    single = optimizer in ("sgd", "rmsprop", "adafactor") or (optimizer == "muon" and hidden)
    return numbers if single else 2 * numbers


def _hidden(model: nn.Module) -> dict[nn.Parameter, None]:
    """Return the matrices of the repeated blocks, in their order."""
    return {p: None for block in blocks(model) for p in block.parameters() if p.dim() == 2}


def _optimizer(
    name: str, parameters: Iterable[nn.Parameter], config: Training
) -> torch.optim.Optimizer:
    """Return an optimizer that decays matrices and kernels only, or stop.

    Tensors of one dimension, which are biases and gains, are not decayed: pulling a gain to 0 would
    switch its layer off.
    """
    kept = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in kept if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in kept if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    match name:
        case "adamw":
            return torch.optim.AdamW(groups, betas=betas, fused=True)
        case "adam":
            return torch.optim.Adam(groups, betas=betas, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, momentum=config.beta1)
        case "rmsprop":
            return torch.optim.RMSprop(groups, momentum=config.beta1, alpha=config.beta2)
        case "adafactor":
            return Adafactor(groups)
        case "muon":
            return _muon(groups)
    fail(f"the optimizer {name!r} is unknown: use adamw, adam, sgd, rmsprop, adafactor or muon.")


def _muon(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return Muon, or stop where PyTorch does not have it."""
    if not hasattr(torch.optim, "Muon"):
        fail(f"Muon comes with PyTorch 2.9, and this is {torch.__version__}: install a newer one.")
    # Updates of AdamW's size take its rate and its decay (section 2.2 of the second paper).
    return torch.optim.Muon(groups, momentum=MUON_MOMENTUM, adjust_lr_fn="match_rms_adamw")


def multiply_rates(optimizers: Optimizers, model: nn.Module, rates: Mapping[str, float]) -> None:
    """Give parameters a learning rate that is a multiple of the usual one.

    `rates` has the multiples by the parameter's name. Groups are cut, so that each has one rate.
    """
    multiples = {p: rates.get(name, 1.0) for name, p in model.named_parameters()}
    for optimizer in optimizers:
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


def _add_gradients(
    module: nn.Module, parts: Sequence[Part], stopped: Callable[[], bool]
) -> Tensor | None:
    """Add up the gradients of the summed loss; return that loss and the number of targets, (2,).

    Return None if the run is to stop between two parts.
    """
    sums: list[Tensor] = []
    for index, part in enumerate(parts):
        if index and stopped():
            return None
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
    optimizers: Optimizers,
    parts: Sequence[Part],
    learning_rate: float,
    grad_clip: float,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[float, float] | None:
    """Take one step down the gradient of the mean loss over all targets, in all processes.

    Args:
        module: What `parallelize` returned.
        optimizers: The optimizers of its parameters.
        parts: The parts of this process's share of the update.
        learning_rate: The rate of this step; a group may have a multiple of it, its "rate".
        grad_clip: Largest norm of the gradient; a larger one is scaled down to it.
        stopped: Whether the run is to stop; asked between two parts, and the same in all processes.

    Returns:
        The mean loss over all targets of all parts, and the gradient's norm before it is scaled.
        None if the update was broken off, which leaves weights and statistics as they were.
    """
    kept = [buffer.clone() for buffer in module.buffers()] if len(parts) > 1 else []
    added = _add_gradients(module, parts, stopped)
    if added is None:
        # Running statistics have seen the parts before the stop.
        for buffer, value in zip(module.buffers(), kept, strict=True):
            buffer.copy_(value)
        return None
    # Reading a number from a GPU waits for all its work. It happens once per update, so that the
    # GPU computes while the CPU prepares the next part.
    loss_sum, count = total(added).tolist()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    # Processes hold the mean of their gradients, but the sum is needed.
    norm = _scale_and_clip(gradients, world_size() / count, grad_clip)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("rate", 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return loss_sum / count, norm
