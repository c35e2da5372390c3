"""Memory against time, and time against start-up: gradient checkpointing and compilation."""

import functools
from collections.abc import Iterable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from runtime.errors import fail


def checkpoint_gradients(blocks: Iterable[nn.Module]) -> None:
    """Let blocks keep their inputs only, and compute the rest again in the backward pass.

    Chen et al., 2016, arXiv:1604.06174. The blocks stay what they are: no name changes.
    """
    for block in blocks:
        forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        block.forward = forward


def compile_modules(modules: Iterable[nn.Module]) -> None:
    """Compile modules in place, or stop where this machine cannot.

    In place, so that the names of their parameters do not change.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(1))
    except Exception as error:  # whatever the compiler lacks, of many kinds
        reason = str(error).strip().splitlines()[0]
        fail(f"torch.compile does not work here ({reason}): train without --compile.")
    for module in modules:
        module.compile()
