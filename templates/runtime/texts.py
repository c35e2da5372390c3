"""Documents from files of text, and from rows of data sets that hold texts."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import fail
from runtime.files import open_text
from runtime.formats import SUFFIXES as ROWS
from runtime.formats import columns_of, list_rows, rows_of, split_of_file
from runtime.listing import Listing, say_unread, shown, suffix_of
from runtime.notes import note
from runtime.splits import SPLITS

PLAIN = (".txt", ".text", ".md", ".markdown", ".rst", ".py")
SUFFIXES = (*PLAIN, *(f"{suffix}.gz" for suffix in PLAIN), *ROWS)
# Texts that a reader would have to guess from layout or markup, and archives.
UNREAD = (
    *(".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".html", ".htm", ".xml", ".tex", ".ipynb"),
    *(".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".bz2", ".xz", ".zst", ".xlsx"),
)
KINDS = ".txt, .md, .jsonl, .json, .csv, .parquet and the like"
COLUMNAR = (".parquet", ".arrow")
# Columns that make a document together, in their order; the first set that a row has is read.
TEXTS = (
    ("text",),
    ("messages",),
    ("conversations",),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "input", "output"),
    ("instruction", "output"),
    ("question", "answer"),
    ("content",),
)


def text_files(path: Path) -> dict[str, list[Path]]:
    """Return the files of each split, or all as "train" if not each name is a split; or stop.

    Args:
        path: A file, or a folder whose files are read in the order of their names.
    """
    if not path.is_dir():
        if suffix_of(path) not in SUFFIXES or not path.is_file():
            fail(f"{path} is neither a text file nor a folder of them ({KINDS}).")
        return {"train": [path]}
    found = list_texts(path)
    say_unread(found, UNREAD, "Save their text as .txt, or unpack them.")
    if not found.files:
        kinds = "; ".join((KINDS, *found.left_out()))
        fail(f"{path} is neither a text file nor a folder of them ({kinds}).")
    named: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for file in found.files:
        # A document may be about tests; rows are stored under the name of their split.
        anywhere = suffix_of(file) in ROWS
        split = split_of_file(file.relative_to(path), anywhere=anywhere)
        if split:
            named[split].append(file)
    if named["train"] and sum(map(len, named.values())) == len(found.files):
        return {split: files for split, files in named.items() if files}
    if sum(map(bool, named.values())) > 1:
        loose = set(found.files) - {file for files in named.values() for file in files}
        note(
            f"{path} is read as one text in the order of its files' names, though some names are "
            f"of splits: {shown(path, sorted(loose) or found.files)} are not, or train is missing."
        )
    return {"train": found.files}


def list_texts(folder: Path) -> Listing:
    """Return the files with texts in a folder, and what is left out.

    Beside Parquet and Arrow files, texts only describe the data set.
    """
    found = list_rows(folder, SUFFIXES)
    columnar = [path for path in found.files if suffix_of(path) in COLUMNAR]
    if not columnar:
        return found
    others = [path for path in found.files if path not in set(columnar)]
    return Listing(folder, columnar, sorted([*found.others, *others]), found.hidden)


def documents(files: Iterable[Path]) -> Iterator[str]:
    """Yield the documents of files, or stop: a row of a data set is one, and any other file."""
    for file in files:
        if suffix_of(file).removesuffix(".gz") in PLAIN:
            with open_text(file) as stream:
                yield stream.read()
        else:
            for place, row in rows_of(file):
                yield _document(file, place, row)


def _document(file: Path, place: str, row: Mapping[str, Any]) -> str:
    """Return the text of a row, or stop."""
    columns = next((each for each in TEXTS if row.keys() >= set(each)), None)
    if columns is None:
        fail(
            f"{_lacks(place, file, 'text')}; its columns are {columns_of(row)}: rename the one "
            'that holds the text to "text".'
        )
    if len(columns) > 1:
        note(
            f"{file}: each document is {' and '.join(columns)} of a row, on lines of their own; "
            "the loss is of all of it."
        )
    elif columns != ("text",):
        note(f'{file}: each document is the "{columns[0]}" of a row.')
    parts = [_text(file, _lacks(place, file, column), row[column]) for column in columns]
    text = "\n".join(part for part in parts if part)
    if "\0" in text:
        fail(f"{place} has a NUL: it is no text.")
    return text


def _lacks(place: str, file: Path, column: str) -> str:
    what = "is not a JSON object with a" if ".json" in file.name.lower() else "has no"
    return f'{place} {what} "{column}"'


def _text(file: Path, problem: str, value: Any) -> str:
    """Return a text, or the turns of a conversation as lines `role: text`; or stop."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        fail(f"{problem} that is a text.")
    note(
        f"{file}: turns of conversations are read as lines of `role: text`; the loss is of all of "
        "them, also of the user's."
    )
    return "\n".join(_turn(turn, problem) for turn in value)


def _turn(turn: Any, problem: str) -> str:
    if isinstance(turn, Mapping):
        role = turn.get("role", turn.get("from"))
        text = turn.get("content", turn.get("value"))
        if isinstance(role, str) and isinstance(text, str):
            return f"{role}: {text}"
    fail(f"{problem} of turns that each have a role and a text.")
