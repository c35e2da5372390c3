"""The fields of a sample in a user's file, under any of their usual names, and its class."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.listing import printable

LABEL = ("label", "y")


def named(row: Mapping[str, Any]) -> str:
    """Return the names of the fields that are there, for errors."""
    return ", ".join(printable(str(key)) for key in row) or "nothing"


def picked(row: Mapping[str, Any], names: Sequence[str], place: str) -> tuple[str, Any]:
    """Return the name and the value of what may have several names; None if it is not there."""
    there = [name for name in names if row.get(name) is not None]
    if len(there) > 1:
        fail(f"{place} has both {' and '.join(there)}, which say the same: keep one.")
    return (there[0], row[there[0]]) if there else ("", None)


def label_of(value: Any, row: Mapping[str, Any], place: str) -> str:
    """Return the name of a class, or stop if there is none, or several."""
    while isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
        value = value[0]
    if isinstance(value, list | tuple | np.ndarray):
        fail(f"{place} has {len(value)} labels: a sample has one class.")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or isinstance(value, float) or not isinstance(value, str | int):
        fail(f'{place} has no "label" that is a word or a whole number; it has {named(row)}.')
    text = str(value).strip()
    if not text or any("\ud800" <= c <= "\udfff" for c in text):
        fail(f'{place} has a "label" that is empty, or no valid Unicode.')
    return text


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file; objects, which would be unpickled, are refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        fail(
            f"{path} cannot be read as arrays of numbers and words, and objects are never "
            "unpickled: write it with numpy.savez, from plain arrays."
        )
