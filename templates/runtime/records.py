"""Rows of text from a CSV, JSONL or Parquet file, or from a folder of three; cut into splits."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import fail

SPLITS = ("train", "val", "test")
SUFFIXES = (".csv", ".jsonl", ".parquet")

Record = dict[str, str]


def read_splits(
    path: Path, columns: Sequence[str], key: str, val_fraction: float, test_fraction: float
) -> dict[str, list[Record]]:
    """Return the records of each split, or stop.

    Args:
        path: A file that is cut here, or a folder with one for each split: train.csv and so on.
        columns: What a record must have, and all that is read of it.
        key: The column by which a file is cut: records with the same value stay together.
        val_fraction: Share of a file on which training is watched.
        test_fraction: Share of a file that only eval.py reads.
    """
    if path.is_dir():
        splits = {split: read_records(_split_file(path, split), columns) for split in SPLITS}
    else:
        splits = cut(read_records(path, columns), key, val_fraction, test_fraction)
    for split, records in splits.items():
        if not records:
            fail(f"{path} is too little data: its {split} split is empty.")
    return splits


def cut(
    records: Iterable[Record], key: str, val_fraction: float, test_fraction: float
) -> dict[str, list[Record]]:
    """Return records by split, which a digest of the key tells; more data moves none of them."""
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for record in records:
        place = int.from_bytes(hashlib.sha256(record[key].encode()).digest()[:8], "big") / 2**64
        held_out = "val" if place < test_fraction + val_fraction else "train"
        splits["test" if place < test_fraction else held_out].append(record)
    return splits


def read_records(path: Path, columns: Sequence[str]) -> list[Record]:
    """Return the rows of a file, or stop; a value is its text, and none may be missing."""
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    if path.suffix not in readers or not path.is_file():
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder of them.")
    try:
        return [
            {column: _value(row, column, place) for column in columns}
            for place, row in readers[path.suffix](path)
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fail(f"{path} cannot be read: {error}.")


def records_digest(splits: Mapping[str, Sequence[Record]]) -> str:
    """Return the sha256 of all records and of the splits that they are in."""
    text = json.dumps(splits, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_splits(folder: Path, splits: Mapping[str, Sequence[Record]]) -> None:
    """Write records as one JSONL file for each split."""
    for split, records in splits.items():
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _split_file(folder: Path, split: str) -> Path:
    found = [folder / f"{split}{suffix}" for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) != 1:
        fail(f"{folder} must hold one of {split}{f', {split}'.join(SUFFIXES)}.")
    return found[0]


def _value(row: Mapping[str, Any], column: str, place: str) -> str:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        fail(f'{place} has no "{column}" that is a text or a number.')
    text = str(value).strip()
    if not text:
        fail(f'{place} has an empty "{column}".')
    if any("\ud800" <= c <= "\udfff" for c in text):
        fail(f'{place} has half a character in "{column}": it is no Unicode text.')
    return text


Rows = Iterator[tuple[str, Mapping[str, Any]]]


def _csv_rows(path: Path) -> Rows:
    csv.field_size_limit(2**30)  # the library's own limit is shorter than some documents
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            yield f"{path}:{reader.line_num}", row


def _jsonl_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                fail(f"{path}:{number} is not a JSON object.")
            yield f"{path}:{number}", row


def _parquet_rows(path: Path) -> Rows:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError:
        fail(f"reading {path} needs pyarrow: pip install pyarrow.")
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        fail(f"{path} cannot be read as Parquet: {error}.")
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}, row {number}", row
