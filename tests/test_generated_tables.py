"""The reader of tables: what it takes, notes, and refuses with file, line and reason."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from helpers.readers import Readers

Read = Callable[..., tuple[dict[str, list[Any]] | None, str]]


@pytest.fixture
def read(runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Read:
    """Write a file and read it: its columns (None if it is refused), and what is said."""

    def run(content: str | bytes, name: str = "t.csv") -> tuple[dict[str, list[Any]] | None, str]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            columns = runtime.tables.read_table(path)
        except SystemExit:
            return None, capsys.readouterr().err
        table = {n: [None if v != v else v for v in c.tolist()] for n, c in columns.items()}
        return table, capsys.readouterr().err

    return run


PLAIN = {"town": ["Köln", "Zoë", "Köln"], "pay": [1.5, None, -3.0]}
TEXT = "town,pay\nKöln,1.5\nZoë,\nKöln,-3\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (TEXT.encode(), "T.CSV"),
        (TEXT.encode("utf-8-sig"), "t.csv"),
        (TEXT.encode("utf-16"), "t.csv"),
        (gzip.compress(TEXT.encode(), mtime=0), "t.csv.gz"),
        (gzip.compress(TEXT.encode("utf-16"), mtime=0), "t.csv"),
        (TEXT.replace(",", "\t").encode(), "t.tsv"),
        (TEXT.replace(",", ";").encode(), "t.csv"),
        (TEXT.replace(",", "|").encode(), "t.tsv"),
        (b"sep=;\r\n" + TEXT.replace(",", ";").replace("\n", "\r\n").encode(), "t.csv"),
        (json.dumps([{"town": "Köln", "pay": 1.5}, {"town": "Zoë"}, {"town": "Köln", "pay": -3}])
         .encode("utf-8-sig"), "t.json"),
        ('{"town": "Köln", "pay": 1.5}\n{"town": "Zoë", "pay": null}\n\n'
         '{"town": "Köln", "pay": "-3"}\n'.encode(), "t.JSONL"),
    ],
)  # fmt: skip
def test_a_table_is_the_same_in_every_form(content: bytes, name: str, read: Read) -> None:
    assert read(content, name) == (PLAIN, "")


def test_a_table_of_windows_1252_is_read_with_a_note(read: Read) -> None:
    columns, said = read(TEXT.encode("cp1252"))
    assert columns == PLAIN
    assert "t.csv:2 is not UTF-8, so the file is read as cp1252" in said


NUMBERS = {
    "1,234 12,345,678.5": [1234, 12345678.5],
    "1.234,5 7,25": [1234.5, 7.25],
    "1.234.567,0 2": [1234567, 2],
    "1'234 5": [1234, 5],
    "12,34,567 3": [1234567, 3],
    "12.5% -3%": [0.125, -0.03],
    "$1,234.50 -$5 ($2)": [1234.5, -5, -2],
    "12,5€ 3,0€": [12.5, 3],
    "\u22123,5 4": [-3.5, 4],
    "0,250 0,125": [0.25, 0.125],
    "1e3 2": [1000, 2],
    "1\u00a0234 5": [1234, 5],
}


@pytest.mark.parametrize("cells", NUMBERS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_numbers_are_numbers_however_they_are_written(
    cells: str, separator: str, read: Read
) -> None:
    rows = [f'"{cell}"{separator}x' for cell in cells.split(" ")]
    columns, said = read("\n".join([f"a{separator}b", *rows]))
    assert columns is not None
    assert columns["a"] == pytest.approx(NUMBERS[cells])
    assert ("has numbers such as" in said) == (cells != "1e3 2")


def test_a_comma_before_three_digits_is_what_the_file_shows(read: Read) -> None:
    columns, said = read('a,b\n"1,234",x\n"20,500",y\n')
    assert columns is not None
    assert columns["a"] == [1234, 20500]
    assert "'20,500', read as 20500" in said
    assert read("a;b\n1,234;x\n20,500;y\n")[1].endswith(
        "column 'a': '1,234' is 1234 or 1.234: write it without separators of thousands, and with "
        "a decimal point.\n"
    )
    columns, said = read("a;b\n1,234;7,5\n20,500;8\n")
    assert columns == {"a": [1.234, 20.5], "b": [7.5, 8]}
    assert "this column may have points between thousands" in read("a;b\n1.234;7,5\n2.500;8\n")[1]


MANY = "".join(f"{n},x\n" for n in range(100))


@pytest.mark.parametrize(
    ("text", "kept", "sentence"),
    [
        ("a,b\n" + MANY + "not stated,x\n", False, "t.csv:102: 'not stated' is no number, but "
         "100 of 101 cells of column 'a' are: correct it, or leave it empty"),
        ("a,b\n1,x\n2,x\nG,x\n", True, "t.csv:4: 'G' is no number, but 2 of 3 cells of column "
         "'a' are: the column is read as words"),
        ("a,b\n$5,x\n€6,x\n", False, "writes numbers in two ways, '$5' and '€6'"),
        ("a;b\n1,5;x\n2.75;x\n", False, "writes numbers in two ways, '2.75' and '1,5'"),
        ("a,b\n9007199254740993,x\n1,x\n", True, "whole numbers beyond 2^53"),
        ("a,b\n007,x\n1,x\n", True, "so '007' and '7' are equal"),
        ("5.1,3.5,1\n4.9,3.0,1\n", True, "t.csv:1 names the columns, but '5.1' is a number"),
        ("a,b,\n1,2,\n", True, "column 3 has neither a name nor a value: it is left out"),
        ("a,,b\n1,2,3\n", False, "column 2 has no name"),
        ("a,a\n1,2\n", False, "each column needs a name of its own"),
        ("a,b\n1,2,3\n", False, "t.csv:2 has 3 cells, but the first line names 2 columns"),
        ('a,b\n1,"x\n2,y\n', False, "t.csv:3 cannot be read as a table: unexpected end of data"),
        ("a\n1\n\n3\n", False, "t.csv:3 is blank"),
        ("a,b;c\n1,2;3\n", False, "cells that ',' or ';' may separate"),
        ("a,b\n1,inf\n", False, "column 'b' has an infinite number"),
        ("a,b\n", False, "has no rows"),
    ],
)  # fmt: skip
def test_what_is_other_than_it_seems_is_said(
    text: str, kept: bool, sentence: str, read: Read
) -> None:
    columns, said = read(text)
    assert (columns is not None) == kept
    assert sentence in said


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("t.csv"))
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("xl/workbook.xml"), "x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\n1,2\n\0,3\n", "t.csv:3 has a NUL: it is no text"),
        (_tar(), "is no text, but a tar archive: unpack it"),
        (gzip.compress(_tar(), mtime=0), "is no text, but a tar archive: unpack it"),
        (_zip(), "is no text, but a spreadsheet"),
        (b"PAR1" + bytes(9), "is no text, but a Parquet file"),
        (b"<!DOCTYPE html><p>404", "is a page of HTML"),
        ("ü,b\n1,2\n".encode() + b"\xfc,3\n", "t.csv:3 cannot be read as UTF-8 text"),
        (b"a,b\n\x81,3\n", "t.csv:2 cannot be read as UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv:1 has a NUL"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(
    content: bytes, sentence: str, read: Read
) -> None:
    columns, said = read(content)
    assert columns is None
    assert sentence in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"a": [1, 2]}', "item 1, is not a JSON object"),
        ('{"a": {"0": 1}, "b": {"0": 2}}', "'a' holds {\"0\": 1}, but a cell is"),
        ("[1, 2]", "item 1, is not a JSON object"),
        ('[{"a": 1}, {"a": [1]}]', "item 2, 'a' holds [1], but a cell is"),
        ('[{"a": 1}', "cannot be read as JSON"),
    ],
)
def test_json_that_is_no_table_is_refused(content: str, sentence: str, read: Read) -> None:
    columns, said = read(content, "t.json")
    assert columns is None
    assert sentence in said


def test_parquet_keeps_numbers_and_words(read: Read, tmp_path: Path) -> None:
    def written(**columns: Any) -> bytes:
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "made.parquet")
        return (tmp_path / "made.parquet").read_bytes()

    columns, said = read(
        written(a=[1, None], b=[0.5, 2.0], c=[True, False], d=["x", None]), "t.PARQUET"
    )
    assert columns == {"a": [1, None], "b": [0.5, 2], "c": ["True", "False"], "d": ["x", ""]}
    assert not said
    columns, said = read(written(a=[2**53 + 1, 2]), "t.parquet")
    assert columns == {"a": ["9007199254740993", "2"]}
    assert "beyond 2^53" in said
    table = pyarrow.table({"a": [1.5, 2.5], "__index_level_0__": [7, 3]})
    about = {b"pandas": b'{"index_columns": ["__index_level_0__"], "columns": []}'}
    pyarrow.parquet.write_table(table.replace_schema_metadata(about), tmp_path / "i.parquet")
    columns, _ = read((tmp_path / "i.parquet").read_bytes(), "t.parquet")
    assert columns == {"": [7, 3], "a": [1.5, 2.5]}
    assert [*columns] == ["", "a"]
    assert "but a cell is a number or a text" in read(written(a=[[1], [2]]), "t.parquet")[1]


Folder = Callable[..., tuple[dict[str, list[Any]] | None, str]]


@pytest.fixture
def read_folder(runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    """Write files and read them as one table: its columns (None if refused), and what is said."""

    def run(**files: str | bytes | dict[str, list[Any]]) -> Any:
        for name, content in files.items():
            path = tmp_path / "parts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, dict):
                pyarrow.parquet.write_table(pyarrow.table(content), path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            paths = runtime.parts.table_files(tmp_path / "parts")
            columns = runtime.tables.read_parts(tmp_path / "parts", paths)
        except SystemExit:
            return None, capsys.readouterr().err
        table = {n: [None if v != v else v for v in c.tolist()] for n, c in columns.items()}
        return table, capsys.readouterr().err

    return run


TWO = {"a/part-1.csv": "x,y\n2,b\n", "a/part-0.csv": "x,y\n1,a\n"}
ONE_TABLE = {"x": [1.0, 2.0], "y": ["a", "b"]}


@pytest.mark.parametrize(
    "files",
    [
        TWO,
        {"0.csv": "x,y\n1,a\n", "1.csv.gz": gzip.compress(b"y,x\nb,2\n", mtime=0)},
        {**TWO, ".hidden.csv": "z\n1\n", "a/.~lock.csv": "z\n1\n", "README.md": "parts"},
        {"0.jsonl": '{"x": 1, "y": "a"}\n', "1.jsonl": '{"y": "b", "x": 2}\n'},
        {"0.parquet": {"x": [1], "y": ["a"]}, "1.parquet": {"x": [2.0], "y": ["b"]}},
        {"y=2024/0.parquet": {"x": [1], "y": ["a"]}, "y=2025/0.parquet": {"y": ["b"], "x": [2]}},
    ],
)
def test_parts_of_a_table_are_read_as_one(read_folder: Folder, files: dict[str, Any]) -> None:
    assert read_folder(**files) == (ONE_TABLE, "")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"0.csv": "x,y\n1,a\n", "1.csv": "x,z\n2,b\n"}, "other columns than 0.csv: more ['z']"),
        ({"0.csv": "x,y\n1,a\n", "1.jsonl": '{"x": 1}\n'}, "parts in several formats: keep one of"),
        ({"0.csv": "x,y\n1,a\n", "1.csv": "x;y\n2;b\n"}, "separate cells by other characters"),
        ({"0.parquet": {"x": [1]}, "1.parquet": {"x": ["one"]}}, "whose columns differ in type"),
        ({"0.parquet": {"x": [1]}, "1.parquet": b"PAR1"}, "1.parquet cannot be read as Parquet"),
        ({"table.xlsx": b"PK"}, "has no part of a table"),
        ({".hidden.csv": "x\n1\n"}, "left out, hidden or junk"),
        (
            {"0.csv": "x,y\n" + "".join(f"{n}.5,a\n" for n in range(30)), "1.csv": "x,y\noops,b\n"},
            "1.csv:2: 'oops' is no number",
        ),
    ],
)
def test_a_folder_that_is_no_one_table_is_refused(
    read_folder: Folder, files: dict[str, Any], sentence: str
) -> None:
    table, said = read_folder(**files)
    assert table is None
    assert sentence in said


def test_an_index_of_each_part_and_names_of_splits_are_noted(read_folder: Folder) -> None:
    table, said = read_folder(**{"train.csv": ",x\n0,5\n1,6\n", "test.csv": ",x\n0,7\n"})
    assert table == {"x": [7.0, 5.0, 6.0]}
    assert "column '' counts the rows of each file: it is left out" in said
    assert "the names of files name splits, which are not followed" in said


def test_a_part_that_changes_changes_the_digest(runtime: Readers, tmp_path: Path) -> None:
    for name in ("0.csv", "1.csv"):
        (tmp_path / name).write_text(f"x,y\n{name[0]},2\n")
    first = runtime.columns.rows_of(tmp_path, None).sha256
    (tmp_path / "1.csv").write_text("x,y\n1,3\n")
    assert runtime.columns.rows_of(tmp_path, None).sha256 != first
