"""Rows of CSV files; all readers of this format use this module."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.errors import fail
from runtime.files import open_text

LARGEST_CELL = 2**30  # characters; the csv module's own limit is too small for some documents
DELIMITERS = ("\t", ",", ";", "|")
LOOKED_AT = 100  # rows that decide between two delimiters


def csv_rows(path: Path, delimiter: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the cells of each row, or stop; the first one names the columns.

    A row with more or fewer cells than the first one is refused: usually a text with a comma lacks
    its quotes, which moves all later cells to wrong columns. Blank lines are skipped.

    Args:
        path: The file; packed by gzip or not, in UTF-8, UTF-16 with its mark, or Windows-1252.
        delimiter: What separates cells; None: what `delimiter_of` finds.
    """
    csv.field_size_limit(LARGEST_CELL)
    delimiter, width, blank = delimiter or delimiter_of(path), 0, ""
    # Spreadsheets for Western Europe still write Windows-1252.
    with open_text(path, newline="", legacy="cp1252") as stream:
        lines = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            for cells in lines:
                place = f"{path}:{lines.line_num}"
                if not cells or (not width and _names_delimiter(cells, delimiter)):
                    blank = blank or place if width == 1 else ""
                    continue
                width = width or len(cells)
                if blank:
                    fail(f'{blank} is blank: if its cell has no value, write "" (or nan) there.')
                if len(cells) != width:
                    fail(
                        f"{place} has {len(cells)} cells, but the first line names {width} columns."
                    )
                yield place, cells
        except csv.Error as error:
            fail(f"{path}:{lines.line_num} cannot be read as a table: {error}.")


def delimiter_of(path: Path) -> str:
    """Return what separates the cells of a file, or stop if two characters may do so.

    It splits the first line, and all rows into as many cells. Excel may name it in a line of its
    own, such as `sep=;`.
    """
    with open_text(path, newline="", legacy="cp1252") as stream:
        lines = list(itertools.islice((line for line in stream if line.strip()), LOOKED_AT))
    first = lines[0].rstrip("\r\n") if lines else ""
    if _names_delimiter([first], ""):
        return first[-1]
    widths = {each: _widths(lines, each) for each in DELIMITERS}
    found = [each for each in DELIMITERS if widths[each] and widths[each][0] > 1]
    even = [each for each in found if len(set(widths[each])) == 1] or found
    # No one writes tabs into names, but commas and semicolons.
    if len(even) > 1 and "\t" not in even:
        fail(
            f"{path} has cells that {' or '.join(map(repr, even))} may separate: quote those that "
            "hold one of them."
        )
    return even[0] if even else ","


def _widths(lines: Sequence[str], delimiter: str) -> list[int]:
    """Return how many cells rows have; a quoted cell may go on beyond the last line."""
    try:
        return [len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells]
    except csv.Error:
        return []


def _names_delimiter(cells: Sequence[str], delimiter: str) -> bool:
    """Return whether a first line is Excel's `sep=;`, which its own delimiter cuts."""
    line = delimiter.join(cells)
    return line.startswith("sep=") and line[4:] in DELIMITERS
