"""A KV cache in 8 bits, whose keys and values are read in blocks."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

BLOCK = 8192  # most positions that are unpacked at once
PAIRS = 512 * 512  # most pairs of a query and a key that a head scores at once


class Int8KVCache:
    """Keys and values of the newest positions in 8 bits, in the place of a `KVCache`.

    The numbers of a head share a scale, their largest magnitude / 127, so D take D + 2 bytes.
    Position p is stored at p modulo the size.
    """

    def __init__(self, store: Tensor) -> None:
        # The replaced store is (keys and values, B, K, size, D).
        self.numbers = torch.zeros_like(store, dtype=torch.int8)
        self.scales = store.new_zeros(*store.shape[:-1], 1, dtype=torch.bfloat16)
        self.size, self.length = store.size(3), 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, _: Callable[..., Tensor]) -> Tensor:
        """Return causal attention to the newest `size` positions, and keep T new ones.

        q is (B, H, T, D), k and v are (B, K, T, D).
        """
        positions = torch.arange(self.length, self.length + q.size(2), device=q.device)
        new = (k.float(), v.float(), positions)
        blocks = itertools.chain(self._past(q.size(2)), [new])
        y = blockwise_attention(q, positions, blocks, self.size)
        self._write(torch.stack((k, v)), positions)
        return y

    def _past(self, queries: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield keys, values and positions so far, as many at once as so many queries allow."""
        end, step = min(self.length, self.size), max(1, min(BLOCK, PAIRS // queries))
        for start in range(0, end, step):
            yield self._block(start, min(start + step, end))

    def _block(self, start: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, values and positions of some places, in float32."""
        both = self.numbers[:, :, :, start:end].float().mul_(self.scales[:, :, :, start:end])
        places, last = torch.arange(start, end, device=both.device), self.length - 1
        return both[0], both[1], last - (last - places) % self.size

    def _write(self, both: Tensor, positions: Tensor) -> None:
        """Store keys and values, (2, B, K, T, D); of more than `size` positions, the newest."""
        self.length += both.size(3)
        both, slots = both[:, :, :, -self.size :].float(), positions[-self.size :] % self.size
        scales = (both.abs().amax(-1, keepdim=True) / 127).bfloat16()
        numbers = both.div_(scales).nan_to_num_(0).round_().clamp_(-127, 127)
        self.scales[:, :, :, slots] = scales
        self.numbers[:, :, :, slots] = numbers.to(torch.int8)


def blockwise_attention(
    q: Tensor, positions: Tensor, blocks: Iterable[tuple[Tensor, Tensor, Tensor]], window: int
) -> Tensor:
    """Return causal attention to the newest `window` positions, over keys that come in blocks.

    The sums of the softmax are corrected where a block has a larger score than those before
    (Milakov & Gimelshein, 2018, arXiv:1805.02867, algorithm 3), so one block is held at a time.

    Args:
        q: (B, H, T, D).
        positions: (T) where the queries stand.
        blocks: Keys and values, (B, K, S, D) in float32, and where they stand, (S). Each query
            sees a key in the last of them, its own.
        window: How many positions a query sees, its own included.
    """
    top = q.new_full((*q.shape[:3], 1), -math.inf, dtype=torch.float32)  # the largest score
    weight = torch.zeros_like(top)  # the sum of exp(score - top)
    total = torch.zeros_like(q, dtype=torch.float32)  # the same sum, times values
    for k, v, places in blocks:
        back = positions[:, None] - places  # (T, S)
        unseen = (back < 0) | (back >= window)
        # The heads of a group are rows, so keys need no copy for each of them.
        rows = q.float().reshape(q.size(0), k.size(1), -1, q.size(3))  # (B, K, H / K * T, D)
        scores = (rows @ k.transpose(2, 3)).mul_(q.size(3) ** -0.5)
        scores = scores.view(*q.shape[:3], -1).masked_fill_(unseen, -math.inf)  # (B, H, T, S)
        new = torch.maximum(top, scores.amax(-1, keepdim=True)).clamp(min=torch.finfo().min)
        scores, kept = scores.sub_(new).exp_(), (top - new).exp()
        weight = weight * kept + scores.sum(-1, keepdim=True)
        values = scores.view(*rows.shape[:3], -1) @ v  # (B, K, H / K * T, D)
        total, top = total * kept + values.view_as(total), new
        del k, v, scores, values  # They would be held beside those of the next block.
    return (total / weight).to(q.dtype)
