"""How many operations a training step takes."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def training_flops(loss: Callable[[], Tensor]) -> int:
    """Return the operations of a forward and a backward pass; a multiply-add counts as two.

    What is computed again to save memory is no progress and is not counted. The model may be on
    `meta`, where this takes no memory.
    """
    with FlopCounterMode(display=False) as counter:
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
