"""Records of text: rows of a file, or of a folder with files for each split."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.digests import digest, divided
from runtime.errors import fail
from runtime.formats import SUFFIXES, columns_of, list_rows, rows_of, split_of_file
from runtime.listing import Listing, shown, suffix_of
from runtime.notes import note
from runtime.preparation import column_option
from runtime.splits import SPLITS, copies, require_samples, shares_left

Record = dict[str, str]
Names = Mapping[str, str]
"""The column of a file from which a column of records is read, if they differ."""


def read_splits(
    path: Path,
    columns: Sequence[str],
    key: str,
    val_fraction: float,
    test_fraction: float,
    names: Names | None = None,
) -> dict[str, list[Record]]:
    """Return the records of each split, or stop.

    Args:
        path: A file, or a folder of files; a split that no name stands for is cut from the others.
        columns: The columns to read; each record must have all of them.
        key: The column that decides the split: records with equal values stay together.
        val_fraction: Share of a file for validation during training.
        test_fraction: Share of a file that only eval.py reads.
        names: The columns that a file has under other names.
    """
    files = split_files(list_rows(path)) if path.is_dir() else {"train": [path]}
    if not files["train"]:
        fail(f"{path} has no file of rows ({', '.join(SUFFIXES)}).")
    found = {
        split: [record for each in paths for record in read_records(each, columns, names or {})]
        for split, paths in files.items()
    }
    train = found.pop("train")
    splits = cut(train, key, *shares_left(found, val_fraction, test_fraction)) | found
    require_samples(str(path), "records", {split: len(each) for split, each in splits.items()})
    _say_copies(path, splits, key)
    return splits


def _say_copies(path: Path, splits: Mapping[str, Sequence[Record]], key: str) -> None:
    """Say how many training records val or test hold too, which makes a score too good."""
    twice = copies({split: [each[key] for each in some] for split, some in splits.items()})
    if twice:
        note(f'{path}: {twice:,} records of train have the "{key}" of one in val or test.')


def cut(
    records: Iterable[Record], key: str, val_fraction: float, test_fraction: float
) -> dict[str, list[Record]]:
    """Return records by split; a digest of the key decides, so new records move no old ones."""
    return divided(records, lambda record: record[key], val_fraction, test_fraction)


def read_records(path: Path, columns: Sequence[str], names: Names | None = None) -> list[Record]:
    """Return the rows of a file, as text, or stop; no value may be missing.

    Args:
        path: The file.
        columns: The columns to read.
        names: The columns that the file has under other names; None if no option gives them.
    """
    sources = {column: (names or {}).get(column, column) for column in columns}
    records = []
    for place, row in rows_of(path):
        for column, source in sources.items():
            if source not in row:
                prepare = f" or run `data.py prepare` with {column_option(column)}"
                fail(
                    f'{place} has no "{source}"; its columns are {columns_of(row)}: rename one'
                    f"{'' if names is None else f',{prepare}'}."
                )
        records.append({c: _value(row[source], c, place) for c, source in sources.items()})
    return records


def records_digest(splits: Mapping[str, Sequence[Record]]) -> str:
    """Return the sha256 of all records and of the splits that they are in."""
    return digest(json.dumps(splits, sort_keys=True, ensure_ascii=False).encode())


def report(path: Path | None) -> Iterator[str]:
    """Yield what data.py prints of a user's path: the files of each split, and what is left out."""
    if path is None or not path.is_dir():
        return
    found = list_rows(path)
    for split, paths in split_files(found).items():
        kinds = Counter(each.suffix for each in paths)
        names = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        yield f"{split} is read from {names} files" if len(paths) > 1 else f"{split} is {paths[0]}"
    yield from found.left_out()


def split_files(found: Listing) -> dict[str, list[Path]]:
    """Return the files of each split, or all as "train" if no name is that of a split; or stop.

    A split has one file or several, in one format: train.csv, Train/rows.jsonl,
    data/train-00000-of-00002.parquet as the Hub names them, or train/data-00000-of-00001.arrow of
    `save_to_disk`.
    """
    named: dict[str, list[Path]] = {split: [] for split in SPLITS}
    others: list[Path] = []
    for path in found.files:
        split = split_of_file(path.relative_to(found.folder))
        (named[split] if split else others).append(path)
    if not any(named.values()):
        return {"train": others}
    if not named["train"]:
        fail(f"{found.folder} has no file for train: give it a name such as train.csv.")
    if others:
        names = shown(found.folder, others)
        note(f"{found.folder} has files that name no split, and are not read: {names}.")
    for split, paths in named.items():
        suffixes = {suffix_of(path) for path in paths}
        if len(suffixes) > 1:
            names = shown(found.folder, paths)
            fail(f"{found.folder} has {split} in several formats: keep one of {names}.")
    return {split: paths for split, paths in named.items() if paths}


def write_splits(folder: Path, splits: Mapping[str, Sequence[Record]]) -> None:
    """Write records as one JSONL file for each split."""
    for split, records in splits.items():
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _value(value: Any, column: str, place: str) -> str:
    """Return the text of a cell, or stop if it has none."""
    if isinstance(value, bool):
        return str(value).lower()
    missing = isinstance(value, float) and math.isnan(value)
    if missing or not isinstance(value, str | int | float):
        fail(f'{place} has no "{column}" that is a text or a number.')
    text = str(value).strip()
    if not text:
        fail(f'{place} has an empty "{column}".')
    # JSON can contain half of a surrogate pair, which tokenizers and UTF-8 files reject.
    if any("\ud800" <= c <= "\udfff" for c in text):
        fail(f'{place} has half a character in "{column}": it is not valid Unicode.')
    return text
