"""How many floating-point operations (FLOPs) a training step takes."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def training_flops(loss: Callable[[], Tensor]) -> int:
    """Return the FLOPs of a forward and a backward pass; a multiply-add counts as two.

    The model has no gradient checkpointing here: what is computed again is no progress, and MFU
    does not count it. On `meta` this takes no memory.
    """
    with FlopCounterMode(display=False) as counter:
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
