"""Floating-point operations (FLOPs) of a training step."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def training_flops(loss: Callable[[], Tensor]) -> int:
    """Return the FLOPs of a forward and a backward pass; a multiply-add counts as two.

    The model has no gradient checkpointing here, because MFU does not count what is computed twice.
    On `meta` this takes no memory.
    """
    with FlopCounterMode(display=False) as counter:
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def sample_flops(loss: Callable[[int], Tensor]) -> int:
    """Return the FLOPs of a training step for each of its samples.

    Args:
        loss: Returns the loss of so many dummy samples.
    """
    # Batch normalization refuses a single sample, so that two are counted.
    return training_flops(lambda: loss(2)) // 2
