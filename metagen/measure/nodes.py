"""How many machines and devices share an update of training."""

from __future__ import annotations

GPUS_OF_A_NODE = 8  # the usual server has eight


def machines(count: int, batch: int) -> tuple[int, int]:
    """Return nodes and devices per node: the most declared devices that share a batch equally."""
    sizes = range(1, min(count, GPUS_OF_A_NODE) + 1)
    choices = [
        (n, size) for size in sizes for n in range(1, count // size + 1) if batch >= n * size
    ]
    fair = [(n, size) for n, size in choices if batch % (n * size) == 0]
    return max(fair, key=lambda pair: (pair[0] * pair[1], pair[1]))
