"""Long arrays of integers, such as tokens, in files on the disk."""

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail

Array = NDArray[np.integer[Any]]


class Shards:
    """The integers of several files as one array that is mapped into memory, not loaded."""

    def __init__(self, paths: Sequence[Path], dtype: str) -> None:
        # An empty file cannot be mapped; a short corpus has a split without tokens.
        filled = [path for path in paths if path.stat().st_size]
        self._files = [np.memmap(path, dtype=dtype, mode="r") for path in filled]
        self._starts = [0]
        for file in self._files:
            self._starts.append(self._starts[-1] + len(file))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, part: slice) -> Array:
        """Return a copy of a range of integers, which may span several files."""
        start, stop, _ = part.indices(len(self))
        first = max(0, bisect.bisect_right(self._starts, start) - 1)
        files = zip(self._files[first:], self._starts[first:], strict=False)
        pieces = [file[max(0, start - at) : max(0, stop - at)] for file, at in files if at < stop]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint16)


def open_shards(folder: Path, split: str, dtype: str) -> Shards:
    """Return the integers of a split: SPLIT.bin, or SPLIT-00000.bin and so on, in that order."""
    paths = sorted([*folder.glob(f"{split}.bin"), *folder.glob(f"{split}-*.bin")])
    if not paths:
        fail(f"{folder} has no {split}.bin: make it with `data.py prepare`.")
    try:
        return Shards(paths, dtype)
    except (OSError, ValueError, TypeError) as error:
        fail(f"the {split} shards of {folder} cannot be read as {dtype}: {error}.")
