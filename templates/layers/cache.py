"""The KV cache: keys and values of past positions, for decoding."""

from collections.abc import Callable

import torch
from torch import Tensor


class KVCache:
    """Keys and values of a layer's past positions, allocated once; for use without gradients."""

    def __init__(self, batch: int, n_kv_heads: int, size: int, head_dim: int, like: Tensor) -> None:
        self.store = like.new_zeros(2, batch, n_kv_heads, size, head_dim)  # keys, then values
        self.size, self.length = size, 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """Keep T new positions, and return attention to them and to those before.

        q is (B, H, T, D), k and v are (B, K, T, D); `attend` takes all keys and values.
        """
        return attend(q, *self.extend(k, v))

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Write keys and values of T new positions, (B, K, T, D), and return all so far."""
        start, end = self.length, self.length + k.size(2)
        assert end <= self.size, f"the KV cache has room for {self.size} positions, not {end}"
        self.store[:, :, :, start:end] = torch.stack((k, v))
        self.length = end
        return tuple(self.store[:, :, :, :end])  # twice (B, K, length, D)


class RollingKVCache(KVCache):
    """Keys and values of the newest positions only: position p is stored at p modulo the size."""

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Write T new positions, (B, K, T, D); return them after the past that they need."""
        start, self.length = self.length, self.length + k.size(2)
        if k.size(2) == 1:  # A single token attends to all, so neither order nor mask matters.
            self.store[:, :, :, start % self.size] = torch.stack((k, v))[:, :, :, 0]
            return tuple(self.store[:, :, :, : min(self.length, self.size)])
        old = torch.arange(max(0, start - self.size + 1), start) % self.size
        new = torch.arange(max(start, self.length - self.size), self.length) % self.size
        both = torch.cat((self.store[:, :, :, old], torch.stack((k, v))), dim=3)
        self.store[:, :, :, new] = both[:, :, :, -new.numel() :]
        return tuple(both)  # twice (B, K, min(start, size - 1) + T, D)
