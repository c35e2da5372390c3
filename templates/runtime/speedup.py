"""Gradient checkpointing, which trades time for memory, and compilation."""

import contextlib
import functools
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from runtime.errors import fail


def checkpoint_gradients(blocks: Iterable[nn.Module]) -> None:
    """Make blocks store only their inputs, and recompute the rest in the backward pass.

    Chen et al., 2016, arXiv:1604.06174. Only `forward` is replaced, so parameters keep their
    names, and checkpoints work with and without it.
    """
    for block in blocks:
        again = functools.partial(_contexts, block)
        forward = functools.partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=again
        )
        block.forward = forward


def _contexts(
    block: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Return the contexts in which a block computes for the first and for the second time."""
    return contextlib.nullcontext(), _statistics_frozen(block)


@contextlib.contextmanager
def _statistics_frozen(block: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of batch normalization, so that a batch counts once."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def compile_modules(modules: Iterable[nn.Module]) -> None:
    """Compile modules, or stop if this machine cannot.

    They are compiled in place, so that their parameters keep their names.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(1))
    # A missing compiler, header or driver each raises an exception of another kind.
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        fail(f"torch.compile does not work here ({reason}): train without --compile.")
    for module in modules:
        module.compile()
