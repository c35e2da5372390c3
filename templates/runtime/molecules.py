"""Molecules of an SDF file with a label, as graphs of their atoms and bonds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runtime.errors import fail
from runtime.graphs import Cells, Graph
from runtime.sdf import INSTALL, Block, blocks, elements, value_of

LABEL = "SOL_classification"
# What the column of charges in a connection table stands for; 4 is a radical.
CHARGES = {0: 0, 1: 3, 2: 2, 3: 1, 4: 0, 5: -1, 6: -2, 7: -3}


def molecules(path: Path) -> Iterator[Graph]:
    """Yield the molecules of an SDF file with the label of their property, `(A) low`."""
    for number, block in enumerate(blocks(path)):
        place = f"{path.name}, molecule {number}"
        try:
            yield _molecule(block, place)
        except (ValueError, IndexError, KeyError) as error:
            fail(f"{place} cannot be read as a connection table: {error}; {INSTALL}.")


def _molecule(block: Block, place: str) -> Graph:
    """Return a molecule of a V2000 connection table.

    An atom has its element, its number of bonds, its charge, and the sum of the orders of its
    bonds; a bond has its order. Hydrogen is left out, as in the file.
    """
    atoms, bonds = int(block[3][:3]), int(block[3][3:6])
    lines = block[4 : 4 + atoms]
    table = [(int(b[:3]) - 1, int(b[3:6]) - 1, int(b[6:9])) for b in block[4 + atoms :][:bonds]]
    index = np.array([bond[:2] for bond in table], np.int64).reshape(-1, 2)
    orders = np.array([bond[2] for bond in table], np.int64)
    degrees = np.bincount(index.ravel(), minlength=atoms)
    valences = np.bincount(index.ravel(), np.repeat(orders, 2), atoms)
    charges = [CHARGES[int(line[36:39])] for line in lines]
    words = np.empty((atoms, 2), object)
    words[:, 0] = elements(block)
    words[:, 1] = [f"{degree} bonds" for degree in degrees]
    numbers = np.array([charges, valences], np.float32).T
    # A bond passes messages in both directions.
    kinds = np.array([str(order) for order in np.tile(orders, 2)], object).reshape(-1, 1)
    return Graph(
        place,
        Cells((True, True, False, False), numbers, words),
        np.concatenate([index, index[:, ::-1]]).T,
        Cells((True,), np.zeros((2 * bonds, 0), np.float32), kinds),
        value_of(block, LABEL).partition(")")[2].strip(),
    )
