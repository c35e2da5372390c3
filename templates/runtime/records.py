"""Records of text: rows of a CSV, JSONL or Parquet file, or of a folder with a file per split."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.digests import digest, split_of
from runtime.errors import fail
from runtime.files import json_lines
from runtime.rows import csv_rows, parquet_table
from runtime.splits import SPLITS, require_samples

SUFFIXES = (".csv", ".jsonl", ".parquet")

Record = dict[str, str]
Rows = Iterator[tuple[str, Mapping[str, Any]]]


def read_splits(
    path: Path, columns: Sequence[str], key: str, val_fraction: float, test_fraction: float
) -> dict[str, list[Record]]:
    """Return the records of each split, or stop.

    Args:
        path: A file to cut into splits, or a folder with a file for each split, such as train.csv.
        columns: The columns to read; each record must have all of them.
        key: The column that decides the split: records with equal values stay together.
        val_fraction: Share of a file for validation during training.
        test_fraction: Share of a file that only eval.py reads.
    """
    if path.is_dir():
        splits = {split: read_records(one_of(path, split), columns) for split in SPLITS}
    else:
        splits = cut(read_records(path, columns), key, val_fraction, test_fraction)
    require_samples(str(path), "records", {split: len(each) for split, each in splits.items()})
    return splits


def cut(
    records: Iterable[Record], key: str, val_fraction: float, test_fraction: float
) -> dict[str, list[Record]]:
    """Return records by split; a digest of the key decides, so new records move no old ones."""
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for record in records:
        splits[split_of(record[key], val_fraction, test_fraction)].append(record)
    return splits


def read_records(path: Path, columns: Sequence[str]) -> list[Record]:
    """Return the rows of a file, as text, or stop; no value may be missing."""
    readers = {".csv": _csv_records, ".jsonl": json_lines, ".parquet": _parquet_records}
    if path.suffix not in readers or not path.is_file():
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder of them.")
    return [
        {column: _value(row, column, place) for column in columns}
        for place, row in readers[path.suffix](path)
    ]


def one_of(folder: Path, name: str) -> Path:
    """Return the only file of a folder with this name and a suffix of records, or stop."""
    files = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(files) != 1:
        fail(f"{folder} must hold one of {', '.join(name + suffix for suffix in SUFFIXES)}.")
    return files[0]


def records_digest(splits: Mapping[str, Sequence[Record]]) -> str:
    """Return the sha256 of all records and of the splits that they are in."""
    return digest(json.dumps(splits, sort_keys=True, ensure_ascii=False).encode())


def write_splits(folder: Path, splits: Mapping[str, Sequence[Record]]) -> None:
    """Write records as one JSONL file for each split."""
    for split, records in splits.items():
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _value(row: Mapping[str, Any], column: str, place: str) -> str:
    """Return the text of a cell, or stop if it has none."""
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        fail(f'{place} has no "{column}" that is a text or a number.')
    text = str(value).strip()
    if not text:
        fail(f'{place} has an empty "{column}".')
    # JSON can contain half of a surrogate pair, which tokenizers and UTF-8 files reject.
    if any("\ud800" <= c <= "\udfff" for c in text):
        fail(f'{place} has half a character in "{column}": it is not valid Unicode.')
    return text


def _csv_records(path: Path) -> Rows:
    rows = csv_rows(path)
    _, names = next(rows, ("", []))
    for place, cells in rows:
        yield place, dict(zip(names, cells, strict=True))


def _parquet_records(path: Path) -> Rows:
    for number, row in enumerate(parquet_table(path).to_pylist(), start=1):
        yield f"{path}, row {number}", row
