"""What starting an operation costs: the CPU time of tiny operators, one after the other.

    python benchmarks/launches.py

Two figures, on one thread: operators that are called directly, and those of modules as a model has
them. The tensors are so small that their arithmetic takes no time. They are the rows of
`metagen/data/launches.csv` that were measured here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metagen.measure.probe_worker import Dispatches

WIDTH, BLOCKS, CALLS, ROUNDS = 8, 20, 20, 30


class Block(nn.Module):
    """A residual block of a norm, two linear layers and an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.rise, self.fall = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fall(torch.relu(self.rise(self.norm(x))))


def bare(x: Tensor) -> Tensor:
    """Return the input after as many additions as the blocks have operators."""
    for _ in range(5 * BLOCKS):
        x = torch.add(x, x)
    return x


def seconds(work: Callable[[Tensor], Tensor]) -> float:
    """Return the least CPU time of an operator."""
    x = torch.randn(1, WIDTH)
    with torch.inference_mode():
        with Dispatches() as counter:
            work(x)
        rounds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            for _ in range(CALLS):
                work(x)
            rounds.append((time.process_time() - start) / CALLS)
    return min(rounds) / counter.count


def main() -> None:
    """Print both figures."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    blocks = nn.Sequential(*(Block() for _ in range(BLOCKS))).eval()
    for name, work in (("called directly", bare), ("in modules", blocks)):
        print(f"{name}: {1e6 * seconds(work):.2f} us an operator")


if __name__ == "__main__":
    main()
