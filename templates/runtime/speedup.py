"""Gradient checkpointing, which trades time for memory, and compilation."""

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from runtime.errors import fail

_aten = torch.ops.aten
ATTENTION = frozenset(
    {
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
    }
)
PRODUCTS = frozenset(
    {_aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.convolution.default}
)


def checkpoint_gradients(blocks: Iterable[nn.Module], mode: str) -> None:
    """Make blocks keep less for the backward pass, which recomputes the rest.

    Only `forward` is replaced, so parameters keep their names, and checkpoints work with and
    without it.

    Args:
        blocks: The repeated parts of a model.
        mode: `full`: a block keeps only its input (Chen et al., 2016, arXiv:1604.06174);
            `selective`: it also keeps what `Selection` does.
    """
    for block in blocks:
        again = functools.partial(_contexts, block, mode)
        forward = functools.partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=again
        )
        block.forward = forward


class Selection:
    """What a block keeps: attention, and every other matrix product or convolution.

    Both cost most to compute again. This is the selective mode of torchtitan (Liang et al., 2024,
    arXiv:2410.06511).
    """

    def __init__(self) -> None:
        self._products = {False: 0, True: 0}  # seen by the first pass, and by the second

    def __call__(self, context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        kept = self.keeps(operator, bool(context.is_recompute))
        return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

    def keeps(self, operator: Any, again: bool = False) -> bool:
        """Return whether a block keeps the result of the operator that it computes next."""
        self._products[again] += operator in PRODUCTS
        return operator in ATTENTION or (operator in PRODUCTS and self._products[again] % 2 == 1)


def _contexts(
    block: nn.Module, mode: str
) -> tuple[contextlib.AbstractContextManager[Any], contextlib.AbstractContextManager[Any]]:
    """Return the contexts in which a block computes for the first and for the second time."""
    if mode == "full":
        return contextlib.nullcontext(), _statistics_frozen(block)
    first, again = create_selective_checkpoint_contexts(Selection())
    return first, _both(again, _statistics_frozen(block))


@contextlib.contextmanager
def _both(
    outer: contextlib.AbstractContextManager[Any], inner: contextlib.AbstractContextManager[Any]
) -> Iterator[None]:
    with outer, inner:
        yield


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
