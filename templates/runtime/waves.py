"""Labelled series of a user's files: series of one or more channels, each with a class.

A .ts file is written as the archives of UCR and UEA are; a row of a table or of JSON is a series,
and a .npz file holds many.
"""

import math
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.fields import LABEL, label_of, named, picked, read_arrays
from runtime.files import open_text
from runtime.formats import SUFFIXES as ROWS
from runtime.formats import rows_of
from runtime.listing import suffix_of
from runtime.rows import csv_rows

INSTALL = "pip install --no-deps aeon==1.6.0"
SHIPPED = "aeon/datasets/data/OSULeaf/OSULeaf_{}.ts"
SERIES = ("series", "values", "x", "X")
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
NPZ, TS = ".npz", ".ts"
SUFFIXES = (*ROWS, NPZ, TS)
MISSING = frozenset({"?", "nan", "NaN", "NaT", ""})
LEAST_STEPS = 2  # A series of one step has no shape.
Numbers = NDArray[np.float64]


class Wave(NamedTuple):
    """A series of a file: its place, its channels (C, steps), and its class if one is asked for."""

    place: str
    channels: Numbers
    label: str | None


def shipped(split: str) -> Path:
    """Return the file of a split of the outlines of leaves, or stop if it is not installed."""
    try:
        path = Path(str(distribution("aeon").locate_file(SHIPPED.format(split))))
    except PackageNotFoundError:
        fail(f"the bundled series come with a library: {INSTALL}; or use --data.")
    if not path.is_file():
        fail(f"this version of aeon has no {path.name}: {INSTALL}.")
    return path


def read_waves(path: Path, *, labelled: bool) -> list[Wave]:
    """Return the series of a file with their gaps filled, or stop.

    Args:
        path: A .ts file, a table, a file of rows, or a .npz file.
        labelled: Whether each series must have a class.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or not path.is_file():
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder of them.")
    reader = {NPZ: _npz, TS: _archive, **dict.fromkeys(TABLES, _table)}.get(suffix, _rows)
    waves = [_checked(each) for each in reader(path, labelled)]
    if not waves:
        fail(f"{path} has no series: write one into each line.")
    check_channels(waves)
    return waves


def check_channels(waves: Sequence[Wave]) -> None:
    """Stop if series differ in their number of channels."""
    first = waves[0]
    for each in waves:
        if len(each.channels) != len(first.channels):
            fail(
                f"{each.place} has {len(each.channels)} channels, and {first.place} has "
                f"{len(first.channels)}: give all series the same."
            )


def _checked(wave: Wave) -> Wave:
    """Return a series whose missing values are on straight lines, or stop at one without shape."""
    steps = wave.channels.shape[1]
    if steps < LEAST_STEPS:
        fail(f"{wave.place} has a series of {steps} steps: it needs {LEAST_STEPS} at least.")
    if np.isinf(wave.channels).any():
        fail(f"{wave.place} has a value that is no finite number: correct it, or leave it empty.")
    return wave._replace(channels=np.stack([_filled(each, wave.place) for each in wave.channels]))


def _filled(values: Numbers, place: str) -> Numbers:
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        fail(f"{place} has a channel without a value: remove it.")
    return np.interp(np.arange(len(values)), known, values[known])


def _archive(path: Path, labelled: bool) -> Iterator[Wave]:
    """Yield the series of a .ts file: lines of `@` and `#`, then `channel:channel:label`."""
    named_classes, inside = False, False
    with open_text(path) as stream:
        for number, line in enumerate(map(str.strip, stream), start=1):
            words = line.lower().split()
            if not line or line.startswith("#"):
                continue
            if line.startswith("@"):
                inside = words[0] == "@data"
                named_classes |= words[:2] == ["@classlabel", "true"]
                if words[:2] == ["@timestamps", "true"]:
                    fail(f"{path}:{number}: values with times are not read: write values alone.")
                continue
            place = f"{path}:{number}"
            if not inside:
                fail(f"{place} is data before the line @data: is this a .ts file of series?")
            if labelled and not named_classes:
                fail(f"{path} has no line `@classLabel true`, so its series have no classes.")
            *channels, label = line.split(":") if named_classes else [*line.split(":"), ""]
            found = label_of(label, {"label": label}, place) if labelled else None
            yield Wave(place, _even([_cells(c.split(","), place) for c in channels], place), found)


def _table(path: Path, labelled: bool) -> Iterator[Wave]:
    """Yield the rows of a table: a class and a value for each step.

    With a line of names, the class is the column of that name; without one, as in the archive of
    UCR, it is the first cell.
    """
    rows = csv_rows(path)
    first, names = next(rows, ("", []))
    headed = not all(map(_is_number, names[1:]))
    at = [place for place, name in enumerate(names) if name.strip().lower() in LABEL]
    if headed and labelled and len(at) != 1:
        fail(f"{first} names {len(at)} columns {' or '.join(LABEL)}: name one, or no column.")
    column = (at[0] if at else None) if headed else 0
    every = rows if headed else _chain((first, names), rows)
    for place, cells in every:
        values = [cell for number, cell in enumerate(cells) if number != column]
        label = (
            label_of(_whole(cells[column]), {}, place) if labelled and column is not None else None
        )
        yield Wave(place, _cells(_unpadded(values), place)[None], label)


def _chain(first: tuple[str, list[str]], rest: Iterator[tuple[str, list[str]]]) -> Any:
    if first[1]:
        yield first
    yield from rest


def _unpadded(cells: Sequence[str]) -> Sequence[str]:
    """Return cells without missing ones at the end, which fill up a shorter series in a table."""
    known = [number for number, cell in enumerate(cells) if cell.strip() not in MISSING]
    return cells[: known[-1] + 1] if known else cells


def _whole(cell: str) -> str:
    """Return the name of a class; the archive writes some as 1.0000000e+00."""
    try:
        number = float(cell)
    except ValueError:
        return cell
    return str(int(number)) if number.is_integer() else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip() in MISSING
    return True


def _rows(path: Path, labelled: bool) -> Iterator[Wave]:
    """Yield the rows of a file: `series` has a list of values, or one for each channel."""
    for place, row in rows_of(path):
        place = place.rstrip(",")
        _, value = picked(row, SERIES, place)
        if value is None:
            fail(f'{place} has no "series"; it has {named(row)}.')
        label = label_of(picked(row, LABEL, place)[1], row, place) if labelled else None
        yield Wave(place, _channels(value, place), label)


def _channels(value: Any, place: str) -> Numbers:
    """Return a list of values, or of lists of values, as (C, steps)."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list) or not value:
        fail(f'{place}: "series" must be a list of numbers, or a list of them for each channel.')
    nested = [isinstance(each, list | np.ndarray) for each in value]
    return _even([_numbers(each, place) for each in (value if all(nested) else [value])], place)


def _numbers(values: Any, place: str) -> Numbers:
    """Return a list of numbers; None is a missing one."""
    if not all(each is None or type(each) in (int, float) for each in values):
        fail(f'{place}: "series" has a value that is no number: correct it, or write null.')
    return np.array([math.nan if each is None else each for each in values], np.float64)


def _cells(cells: Sequence[str], place: str) -> Numbers:
    """Return the numbers of some cells; `?` and nan are missing ones."""
    words = [cell.strip() for cell in cells]
    wrong = next((word for word in words if not _is_number(word)), None)
    if wrong is not None:
        fail(f"{place} has {wrong[:40]!r}, which is no number: correct it, or leave it empty.")
    return np.array([math.nan if word in MISSING else float(word) for word in words], np.float64)


def _even(channels: Sequence[Numbers], place: str) -> Numbers:
    """Return channels as one array, or stop if their lengths differ."""
    lengths = [len(each) for each in channels]
    if not lengths or len(set(lengths)) > 1:
        fail(f"{place} has channels of {lengths} steps: give all channels of a series the same.")
    return np.stack(channels)


def _npz(path: Path, labelled: bool) -> Iterator[Wave]:
    """Yield the series of a .npz file: X (series, channels, steps) or (series, steps), and y."""
    arrays = read_arrays(path)
    _, values = picked(arrays, SERIES, str(path))
    _, labels = picked(arrays, LABEL, str(path))
    if values is None or values.ndim not in (2, 3) or values.dtype.kind not in "biuf":
        fail(f"{path} has no numbers X (series, channels, steps); it has {named(arrays)}.")
    if labelled and (labels is None or labels.shape[:1] != values.shape[:1]):
        fail(f"{path} has {len(values):,} series, and not as many labels: give y one for each.")
    for number, each in enumerate(values.astype(np.float64)):
        place = f"{path}, series {number}"
        label = label_of(labels[number], arrays, place) if labelled else None
        yield Wave(place, each.reshape(-1, each.shape[-1]), label)
