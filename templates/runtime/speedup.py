"""Gradient checkpointing, which trades time for memory, and compilation."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    noop_context_fn,
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


def checkpoint_gradients(blocks: Iterable[nn.Module], mode: str, compiled: bool = False) -> None:
    """Make blocks keep less for the backward pass, which recomputes the rest.

    Only `forward` is replaced, so parameters keep their names, and checkpoints work with and
    without it.

    Args:
        blocks: The repeated parts of a model.
        mode: `full`: a block keeps only its input (Chen et al., 2016, arXiv:1604.06174);
            `selective`: it also keeps what `Selection` does.
        compiled: Whether the blocks will be compiled.
    """
    for block in blocks:
        contexts = {"selective": _selected, "full": noop_context_fn}[mode]
        if _norms(block):
            if compiled:
                fail("recomputed batch normalization cannot be compiled: leave out one of the two.")
            contexts = functools.partial(_frozen, block, contexts)
        block.forward = functools.partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=contexts
        )


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


Contexts = tuple[contextlib.AbstractContextManager[Any], contextlib.AbstractContextManager[Any]]


def _selected() -> Contexts:
    """Return the contexts in which a block computes for the first and for the second time."""
    create: Callable[[Selection], Contexts] = create_selective_checkpoint_contexts
    return create(Selection())


def _frozen(block: nn.Module, contexts: Callable[[], Contexts]) -> Contexts:
    """Return such contexts where the second one also leaves running statistics alone."""
    first, again = contexts()
    return first, _statistics_frozen(block, again)


@contextlib.contextmanager
def _statistics_frozen(
    block: nn.Module, context: contextlib.AbstractContextManager[Any]
) -> Iterator[None]:
    """Freeze the running statistics of batch normalization, so that a batch counts once."""
    norms = _norms(block)
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        with context:
            yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _norms(block: nn.Module) -> list[_BatchNorm]:
    return [module for module in block.modules() if isinstance(module, _BatchNorm)]


def compile_modules(modules: Iterable[nn.Module], options: dict[str, Any] | None = None) -> None:
    """Compile modules, or stop if this machine cannot.

    They are compiled in place, so that their parameters keep their names.

    Args:
        modules: The modules.
        options: Those of torch.compile's compiler.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(1))
    # A missing compiler, header or driver each raises an exception of another kind.
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        fail(f"torch.compile does not work here ({reason}): omit --compile.")
    for module in modules:
        module.compile(options=options)
