"""The parts of a table: files of one folder with equal columns, as exports and the Hub cut it."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from runtime.errors import fail
from runtime.formats import list_rows, split_of_file
from runtime.listing import say_unread, suffix_of
from runtime.notes import note

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
PACKED = tuple(f"{suffix}.gz" for suffix in SUFFIXES[:-1])
INDEX = re.compile(r"|Unnamed: ?\d+(_level_\d+)?|index")
"""Names under which pandas and R write the numbers of rows, beside none."""
UNREAD = (".arrow", ".feather", ".orc", ".xls", ".xlsx", ".ods", ".txt", ".dat", ".zip")


@dataclass(frozen=True)
class Texts:
    """A table as text.

    Attributes:
        columns: The names and the cells of the columns.
        place: Returns the place of a row, for errors.
        comma: Whether commas separate cells.
    """

    columns: list[tuple[str, Sequence[str]]]
    place: Callable[[int], str]
    comma: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [name for name, _ in self.columns]


def table_files(path: Path) -> list[Path]:
    """Return the files of a table: itself, or the parts in a folder in the order of names; or stop.

    Hidden files are no parts. Names of splits have no meaning here, which a note says.
    """
    if not path.is_dir():
        return [path]
    found = list_rows(path, (*SUFFIXES, *PACKED))
    say_unread(found, UNREAD, "Write them as CSV or Parquet.")
    if not found.files:
        left_out = "; ".join(found.left_out())
        fail(f"{path} has no part of a table ({', '.join(SUFFIXES)}): {left_out or 'it is empty'}.")
    kinds = {suffix_of(file).removesuffix(".gz") for file in found.files}
    if len(kinds) > 1:
        fail(f"{path} has parts in several formats: keep one of {', '.join(sorted(kinds))}.")
    splits = {split_of_file(file.relative_to(path)) for file in found.files} - {None}
    if len(splits) > 1:
        note(
            f"{path}: the names of files name splits, which are not followed: all rows are one "
            "table, and a digest of its cells puts each into a split."
        )
    return found.files


def require_equal(names: Sequence[Sequence[str]], files: Sequence[Path]) -> None:
    """Stop at the first file that has other columns than the first file."""
    for each, file in zip(names, files, strict=True):
        if sorted(each) != sorted(names[0]):
            more = sorted(set(each) - set(names[0])) or "none"
            less = sorted(set(names[0]) - set(each)) or "none"
            fail(
                f"{file} has other columns than {files[0].name}: more {more}, less {less}; the "
                "files of a folder are parts of one table."
            )


def _counts(part: Texts) -> bool:
    """Return whether the first column of a part is an index of its rows, as pandas writes it."""
    name, cells = part.columns[0] if part.columns else ("none", ())
    numbers = [cell.strip() for cell in cells]
    return bool(INDEX.fullmatch(name)) and numbers == [str(n) for n in range(len(numbers))]


def joined(texts: Sequence[Texts], files: Sequence[Path]) -> Texts:
    """Return the parts of a table as one, or stop if their columns differ."""
    if len(texts) == 1:
        return texts[0]
    require_equal([part.names for part in texts], files)
    if len({part.comma for part in texts}) > 1:
        fail(f"{files[0].parent} has files that separate cells by other characters: keep one kind.")
    cells = [dict(part.columns) for part in texts]
    if all(map(_counts, texts)):
        index = texts[0].names[0]
        note(f"{files[0].parent}: column {index!r} counts the rows of each file: it is left out.")
        cells = [{name: part[name] for name in part if name != index} for part in cells]
    columns: list[tuple[str, Sequence[str]]] = [
        (name, [cell for part in cells for cell in part[name]]) for name in cells[0]
    ]
    ends = [*accumulate(len(next(iter(part.values()), ())) for part in cells)]

    def place(row: int) -> str:
        part = bisect_right(ends, row)
        return texts[part].place(row - (ends[part - 1] if part else 0))

    return Texts(columns, place, texts[0].comma)
