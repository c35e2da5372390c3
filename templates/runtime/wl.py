"""Weisfeiler and Leman's colours of nodes, by which graphs of the same form are recognized.

In each round, a node's new colour is a digest of its own and of those of its neighbours, in no
order (Weisfeiler & Leman, 1968; Shervashidze et al., 2011, JMLR 12:2539). Graphs that are equal but
for the order of their nodes have the same colours.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.digests import digest
from runtime.graphs import Cells, Packed

ROUNDS = 3  # A colour then says what lies up to three edges away.
Colours = NDArray[np.uint64]


def colours(graphs: Packed, rounds: int = ROUNDS) -> Iterator[Colours]:
    """Yield the colours of all nodes before the first round and after each: (nodes,)."""
    begin, end = graphs.everywhere
    own, edges = _hashed(graphs.nodes), _hashed(graphs.edges)
    yield own
    for _ in range(rounds):
        near = np.zeros_like(own)
        # A sum has no order, as the neighbours of a node have none.
        np.add.at(near, end, _mixed(own[begin] * np.uint64(0x9E3779B97F4A7C15) + edges))
        own = _mixed(own * np.uint64(0xD6E8FEB86659FD93) + near)
        yield own


def forms(graphs: Packed) -> list[str]:
    """Return a digest of each graph that does not depend on the order of its nodes and edges."""
    *_, last = colours(graphs)
    owner = np.repeat(np.arange(len(graphs)), graphs.node_counts)
    sums = np.zeros(len(graphs), np.uint64)
    np.add.at(sums, owner, _mixed(last))
    both = zip(graphs.node_counts.tolist(), sums.tolist(), strict=True)
    return [f"{nodes} {total:016x}" for nodes, total in both]


def _hashed(cells: Cells) -> Colours:
    """Return a number for each row of features; equal rows have equal numbers."""
    total = np.zeros(len(cells), np.uint64)
    # Adding zero turns -0.0 into 0.0, whose bits differ.
    bits = [
        (column + np.float32(0)).view(np.uint32).astype(np.uint64)
        for column in np.ascontiguousarray(cells.numbers.T)
    ]
    for column in (*bits, *map(_of_words, cells.words.T)):
        total = _mixed(total * np.uint64(0x9E3779B97F4A7C15) + column)
    return total


def _of_words(column: NDArray[np.object_]) -> Colours:
    names, places = np.unique(column.astype(str), return_inverse=True)
    numbers = [int(digest(name.encode())[:16], 16) for name in names]
    return np.array(numbers, np.uint64)[places]


def _mixed(x: Colours) -> Colours:
    """Return numbers whose bits all depend on all bits of x (Steele et al., 2014, SplitMix)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
