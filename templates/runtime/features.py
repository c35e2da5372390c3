"""Columns that describe users, items or interactions, as numbers for a linear layer."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.listing import printable
from runtime.notes import note
from runtime.numbers import Column
from runtime.tables import is_numeric

MOST_WORDS = 64  # words of a column that each become a column of 0 and 1, the most frequent
NAMES = 0.5  # a column with more different words than this share of its rows holds names
SHOWN = 8  # words in a line of data.py


@dataclass(frozen=True)
class Features:
    """How columns become numbers; learned from training rows and stored in the checkpoint.

    Attributes:
        numeric: Mean and standard deviation of each column of numbers.
        words: The words of each other column, each of which becomes a column of 0 and 1.
    """

    numeric: dict[str, tuple[float, float]]
    words: dict[str, list[str]]

    @classmethod
    def of(cls, columns: Mapping[str, Column], known: NDArray[Any], place: str) -> "Features":
        """Return the scales and words of some rows, and note the columns that are left out.

        Args:
            columns: The columns by name.
            known: The rows that training sees.
            place: Name of the data, for notes.
        """
        numeric, words = {}, {}
        for name, column in columns.items():
            rows = column[known]
            if is_numeric(column):
                numeric[name] = _scale(rows)
            elif (counts := Counter(rows[rows != ""].tolist())) and len(counts) > max(
                MOST_WORDS, NAMES * len(rows)
            ):
                note(f"{place}: column {name!r} has a word of its own in most rows: left out.")
            else:
                words[name] = sorted(word for word, _ in counts.most_common(MOST_WORDS))
        return cls(numeric, words)

    @property
    def width(self) -> int:
        """The numbers of a row."""
        return len(self.numeric) + sum(map(len, self.words.values()))

    def lines(self) -> Iterator[str]:
        """Yield what data.py prints of each column."""
        for name, (mean, std) in self.numeric.items():
            yield f"{printable(name)}: numbers, mean {mean:.4g}, deviation {std:.4g}"
        for name, words in self.words.items():
            shown = ", ".join(map(printable, words[:SHOWN])) + (", ..." if words[SHOWN:] else "")
            yield f"{printable(name)}: {len(words):,} words ({shown})"

    def encoded(self, columns: Mapping[str, Column], count: int) -> NDArray[np.float32]:
        """Return rows as numbers, (count, width), or stop if a column is missing.

        A missing number is the mean. A word that training did not keep is 0 in all columns.
        """
        rows = np.zeros((count, self.width), np.float32)
        for place, (name, (mean, std)) in enumerate(self.numeric.items()):
            values = _taken(columns, name, numeric=True)
            rows[:, place] = np.nan_to_num((values - mean) / std)
        place = len(self.numeric)
        for name, words in self.words.items():
            at = {word: place + number for number, word in enumerate(words)}
            found = [at.get(word, -1) for word in _taken(columns, name, numeric=False).tolist()]
            places = np.array(found, np.int64)
            rows[places >= 0, places[places >= 0]] = 1
            place += len(words)
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Any) -> "Features":
        """Return the features of an entry of config.json; KeyError or the like if it is none."""
        numeric = {str(k): (float(mean), float(std)) for k, (mean, std) in entry["numeric"].items()}
        return cls(numeric, {str(k): [*map(str, v)] for k, v in entry["words"].items()})


def _scale(rows: Column) -> tuple[float, float]:
    known = rows[~np.isnan(rows)]
    return (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0.0, 1.0)


def _taken(columns: Mapping[str, Column], name: str, *, numeric: bool) -> Column:
    column = columns.get(name)
    if column is None:
        fail(f"the data has no column {name!r}, which the model was trained with: add it.")
    if numeric and not is_numeric(column):
        fail(f"column {name!r} has text, but the model was trained on numbers: correct it.")
    return column if numeric or not is_numeric(column) else column.astype(str).astype(object)
