"""Clouds of points that a model draws for captions."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from runtime.diffusion import guided
from runtime.flow import sample


@torch.inference_mode()
def drawn(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    conditions: Callable[[Sequence[str]], Tensor],
    captions: Sequence[str],
    config: Any,
    points: int,
    device: torch.device,
    at_once: int,
) -> Tensor:
    """Return a cloud for each caption, (S, points, 3).

    Args:
        model: Returns the velocity of points (B, N, 3) at times (B,) for captions.
        conditions: Turns captions into what the model reads; the empty one stands for none.
        captions: The captions.
        config: Has `sampling_steps`, `guidance` and `seed`.
        points: Points of a cloud.
        device: Where the model is.
        at_once: Clouds that are drawn together.
    """
    # Noise is drawn on the CPU, so that every device starts from the same noise.
    generator = torch.Generator().manual_seed(config.seed)
    parts = []
    for start in range(0, len(captions), at_once):
        some = captions[start : start + at_once]
        noise = torch.randn(len(some), points, 3, generator=generator).to(device)
        given, nothing = (conditions(each).to(device) for each in (some, [""] * len(some)))
        # Guidance runs the model twice per step, with and without the caption.
        predict = guided(model, given, nothing, config.guidance)
        parts.append(sample(predict, noise, config.sampling_steps, 1.0).cpu())
    return torch.cat(parts)
