"""Rows of files in any of the formats that data sets come in."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.arrow import pyarrow_for
from runtime.errors import fail
from runtime.files import json_lines, open_text
from runtime.listing import Listing, list_files, suffix_of
from runtime.rows import csv_rows
from runtime.splits import split_named

PACKED = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
SUFFIXES = (*PACKED, *(f"{suffix}.gz" for suffix in PACKED), ".parquet", ".arrow")
# Files that the Hub, `save_to_disk` and data.py write beside the rows.
ABOUT = (
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "corpus.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"),
)
ARROW_FILE = b"ARROW1"  # first bytes of Arrow's file format; its stream has none

Rows = Iterator[tuple[str, Mapping[str, Any]]]


def rows_of(path: Path) -> Rows:
    """Yield the place and the cells of each row by their columns, or stop."""
    readers: dict[str, Callable[[Path], Rows]] = {
        ".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": json_lines, ".ndjson": json_lines,
        ".json": _json_rows, ".parquet": _parquet_rows, ".arrow": _arrow_rows,
    }  # fmt: skip
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or not path.is_file():
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder of them.")
    yield from readers[suffix.removesuffix(".gz")](path)


def list_rows(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Listing:
    """Return the files with rows in a folder, and what is left out."""
    found = list_files(folder, suffixes)
    files = [path for path in found.files if path.name not in ABOUT]
    return Listing(folder, files, found.others, found.hidden)


def split_of_file(name: Path, *, anywhere: bool = True) -> str | None:
    """Return the split that a file's name, or else the name of a folder above it, stands for."""
    stem = name.name.partition(".")[0]
    splits = (split_named(part, anywhere=anywhere) for part in (stem, *reversed(name.parts[:-1])))
    return next((split for split in splits if split), None)


def columns_of(row: Mapping[str, Any]) -> str:
    """Return the columns of a row, for errors."""
    return ", ".join(map(repr, row))


def _csv_rows(path: Path) -> Rows:
    rows = csv_rows(path)
    _, names = next(rows, ("", []))
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        fail(f"{path} has several columns {twice.pop()!r}: give each a name of its own.")
    for place, cells in rows:
        yield place, dict(zip(names, cells, strict=True))


def _json_rows(path: Path) -> Rows:
    """Yield the objects of an array; many .json files hold an object a line instead."""
    with open_text(path) as stream:
        text = stream.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("["):
            fail(f"{path} cannot be read as JSON: {error}.")
        yield from json_lines(path)
        return
    # Some exporters wrap the array, as in {"data": [...]}.
    wrapped = list(content.values()) if isinstance(content, dict) else []
    if len(wrapped) == 1 and isinstance(wrapped[0], list):
        content = wrapped[0]
    rows = content if isinstance(content, list) else [content]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            fail(f"{path}, item {number}, is not a JSON object.")
        yield f"{path}, item {number},", row


def _parquet_rows(path: Path) -> Rows:
    arrow = pyarrow_for(path)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            yield from _batches(path, file.schema_arrow, file.iter_batches())
    except (OSError, ValueError, arrow.ArrowException) as error:
        fail(f"{path} cannot be read as Parquet: {_cause(error)}.")


def _arrow_rows(path: Path) -> Rows:
    """Yield the rows of Arrow's stream, as `save_to_disk` writes it, or of its file format."""
    arrow = pyarrow_for(path)
    try:
        with arrow.memory_map(str(path)) as source:
            if source.read(len(ARROW_FILE)) == ARROW_FILE:
                reader = arrow.ipc.open_file(source)
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
                yield from _batches(path, reader.schema, batches)
            else:
                source.seek(0)
                reader = arrow.ipc.open_stream(source)
                yield from _batches(path, reader.schema, reader)
    except (OSError, ValueError, arrow.ArrowException) as error:
        fail(f"{path} cannot be read as Arrow: {_cause(error)}.")


def _cause(error: Exception) -> str:
    """Return the message of a library's error, without the end of its last line."""
    return str(error).rstrip().rstrip(".") or type(error).__name__


def _batches(path: Path, schema: Any, batches: Any) -> Rows:
    """Yield the rows of batches; the number of a class becomes its name."""
    classes, number = _class_names(schema), 0
    for batch in batches:
        # Places in a damaged file would lead outside of its memory.
        batch.validate(full=True)
        for row in batch.to_pylist():
            number += 1
            for column, names in classes.items():
                value = row.get(column)
                if isinstance(value, int) and 0 <= value < len(names):
                    row[column] = names[value]
            yield f"{path}, row {number}", row


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of classes by column, which the Hub's library keeps beside the schema."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features", {}).items()
        found = {
            column: feature["names"]
            for column, feature in features
            if feature.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}
    return {c: names for c, names in found.items() if all(isinstance(n, str) for n in names)}
