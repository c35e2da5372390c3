"""Records and texts from strangers: every format and packing, or a sentence with the next step."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.readers import Readers

ROWS = [{"text": f"Straße, «{n}»", "label": "ab"[n % 2]} for n in range(40)]
COLUMNS = ("text", "label")


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TEXTS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "csv": as_csv,
    "tsv": lambda rows: as_csv(rows, "\t"),
    "jsonl": as_lines,
    "ndjson": as_lines,
    "json": lambda rows: json.dumps(rows, indent=1),
}


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_of_text_gives_the_same_records(
    runtime: Readers, tmp_path: Path, suffix: str, encoding: str, packed: bool
) -> None:
    data = TEXTS[suffix](ROWS).encode(encoding)
    path = tmp_path / (f"rows.{suffix.upper()}.gz" if packed else f"rows.{suffix.upper()}")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert runtime.records.read_records(path, COLUMNS) == ROWS


def test_an_array_in_an_object_and_lines_named_json_are_read(
    runtime: Readers, tmp_path: Path
) -> None:
    for number, text in enumerate((json.dumps({"data": ROWS}), as_lines(ROWS))):
        path = tmp_path / f"{number}.json"
        path.write_text(text, encoding="utf-8")
        assert runtime.records.read_records(path, COLUMNS) == ROWS


def table(rows: list[dict[str, Any]]) -> Any:
    """Return a table of the Hub: the label is a number, and its names stand beside the schema."""
    pa = pytest.importorskip("pyarrow")
    numbers = [{**row, "label": "ab".index(row["label"])} for row in rows]
    feature = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    about = {b"huggingface": json.dumps({"info": {"features": feature}}).encode()}
    made = pa.Table.from_pylist(numbers)
    return made.replace_schema_metadata(about)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(rows), path)


def write_arrow(path: Path, rows: list[dict[str, Any]], kind: str = "new_stream") -> None:
    """Write what `save_to_disk` of the Hub's library writes."""
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    made = table(rows)
    with getattr(pa.ipc, kind)(str(path), made.schema) as writer:
        writer.write_table(made, max_chunksize=7)


def hub(folder: Path) -> None:
    write_parquet(folder / "data/train-00000-of-00002.parquet", ROWS[:20])
    write_parquet(folder / "data/train-00001-of-00002.parquet", ROWS[20:30])
    write_parquet(folder / "data/test-00000-of-00001.parquet", ROWS[30:])
    (folder / "README.md").write_text("# about")


def saved(folder: Path) -> None:
    write_arrow(folder / "train/data-00000-of-00001.arrow", ROWS[:30])
    write_arrow(folder / "test/data-00000-of-00001.arrow", ROWS[30:])
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (folder / "train/state.json").write_text('{"_fingerprint": "x"}')


@pytest.mark.parametrize("write", [hub, saved])
def test_folders_of_the_hub_are_read_with_their_splits_and_the_names_of_classes(
    runtime: Readers, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    pytest.importorskip("pyarrow")
    write(tmp_path)
    splits = runtime.records.read_splits(tmp_path, COLUMNS, "text", 0.2, 0.5)
    assert splits["test"] == ROWS[30:]
    assert sorted(row["text"] for row in (*splits["train"], *splits["val"])) == sorted(
        row["text"] for row in ROWS[:30]
    )
    assert splits["val"]
    files = runtime.texts.text_files(tmp_path)
    documents = {split: list(runtime.texts.documents(each)) for split, each in files.items()}
    assert documents == {
        "train": [row["text"] for row in ROWS[:30]],
        "test": [row["text"] for row in ROWS[30:]],
    }


def test_arrows_file_format_is_read(runtime: Readers, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_arrow(tmp_path / "rows.arrow", ROWS, "new_file")
    assert runtime.records.read_records(tmp_path / "rows.arrow", COLUMNS) == ROWS


def test_true_and_false_are_labels(runtime: Readers, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": true}\n{"text": "y", "label": false}\n')
    labels = [row["label"] for row in runtime.records.read_records(path, COLUMNS)]
    assert labels == ["true", "false"]


def test_columns_of_other_names_are_listed_and_can_be_named(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("review,sentiment\ngood,1\n")
    with pytest.raises(SystemExit):
        runtime.records.read_records(path, COLUMNS, {})
    said = capsys.readouterr().err
    assert "its columns are 'review', 'sentiment'" in said
    assert "--text-column" in said
    names = {"text": "review", "label": "sentiment"}
    assert runtime.records.read_records(path, COLUMNS, names) == [{"text": "good", "label": "1"}]


def test_training_records_that_val_or_test_hold_too_are_counted(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in (("train", ROWS), ("dev", ROWS[:3]), ("test", ROWS[3:5])):
        (tmp_path / f"{name}.jsonl").write_text(as_lines(rows), encoding="utf-8")
    runtime.records.read_splits(tmp_path, COLUMNS, "text", 0.1, 0.1)
    assert '5 records of train have the "text" of one in val or test' in capsys.readouterr().err


BAD = {
    "rows.json": ('[{"text": "a", "label": "b"}, 3]', "item 2, is not a JSON object"),
    "cut.json": ('[{"text": "a"}, {"te', "cannot be read as JSON"),
    "twice.csv": ("text,text,label\na,b,c\n", "has several columns 'text'"),
    "null.jsonl": ('{"text": null, "label": "a"}\n', 'has no "text" that is a text'),
    "list.jsonl": ('{"text": ["a"], "label": "a"}\n', 'has no "text" that is a text'),
    "nan.jsonl": ('{"text": "x", "label": NaN}\n', 'has no "label" that is a text'),
    "rows.xlsx": ("x", "is neither a .csv"),
    "rows.parquet": ("no parquet", "cannot be read as Parquet"),
    "rows.arrow": ("no arrow", "cannot be read as Arrow"),
    "page.csv": ("<!DOCTYPE html><p>404", "is a page of HTML"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_record_is_refused_in_one_sentence(
    runtime: Readers, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, sentence = BAD[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as ended:
        runtime.records.read_records(tmp_path / name, COLUMNS)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


# Texts


def documents(runtime: Readers, path: Path) -> list[str]:
    files = runtime.texts.text_files(path)
    return [text for each in files.values() for text in runtime.texts.documents(each)]


TURNS = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
SHARED = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]
DOCUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "messages": ({"messages": TURNS}, "user: Where?\nassistant: Here."),
    "conversations": ({"conversations": SHARED}, "human: Where?\ngpt: Here."),
    "completion": ({"prompt": "Where?", "completion": "Here."}, "Where?\nHere."),
    "turns": ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "user: Where?\nassistant: Here."),
    "instruction": ({"instruction": "Add.", "input": "", "output": "2"}, "Add.\n2"),
    "content": ({"content": "def f(): ...", "path": "a.py"}, "def f(): ..."),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_rows_of_turns_and_contents_are_documents_aloud(
    runtime: Readers, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row, text = DOCUMENTS[case]
    path = tmp_path / "a.jsonl"
    path.write_text(as_lines([row] * 3))
    assert documents(runtime, path) == [text] * 3
    said = capsys.readouterr().err
    assert f"{path}: each document is" in said
    if case != "content":
        assert "the loss is of all of" in said


def test_an_array_of_json_is_texts(runtime: Readers, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"text": "one"}, {"text": "two"}]))
    assert documents(runtime, tmp_path / "a.json") == ["one", "two"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_text_is_read_packed_or_not(runtime: Readers, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "A.TXT").write_bytes("Straße\n".encode(encoding))
    (tmp_path / "b.md.gz").write_bytes(gzip.compress("Weg\n".encode(encoding)))
    (tmp_path / ".hidden.txt").write_text("no")
    assert documents(runtime, tmp_path) == ["Straße\n", "Weg\n"]


def test_documents_about_tests_are_no_splits(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("intro.md", "test.md", "train.md"):
        (tmp_path / name).write_text(name)
    assert documents(runtime, tmp_path) == ["intro.md", "test.md", "train.md"]
    assert "is read as one text" in capsys.readouterr().err


def test_documents_in_forms_that_are_not_read_are_named(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.txt", "paper.pdf", "more.tar.gz", "notes.log"):
        (tmp_path / name).write_text("text")
    assert documents(runtime, tmp_path) == ["text"]
    assert "2 files are not read: more.tar.gz, paper.pdf" in capsys.readouterr().err


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as file:
            file.addfile(tarfile.TarInfo("a.txt"))
    else:
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a.txt", "text")
    return buffer.getvalue()


NO_TEXTS: dict[str, tuple[bytes, str]] = {
    "wds.tar": (archive("tar"), "is neither a text file"),
    "tar.txt": (archive("tar"), "is no text, but a tar archive"),
    "zip.txt": (archive("zip"), "a zip archive"),
    "tar.txt.gz": (gzip.compress(archive("tar")), "is no text, but a tar archive"),
    "late.txt": (b"text " * 300_000 + b"\0", "has a NUL"),
    "latin.txt": ("Straße".encode("latin-1"), "cannot be read as UTF-8"),
    "nul.jsonl": (b'{"text": "a\\u0000b"}\n', "has a NUL"),
    "cut.txt.gz": (gzip.compress(b"text " * 9999)[:40], "cannot be read"),
    "notes.xyz": (b"text", "is neither a text file"),
    "noname": (b"text", "is neither a text file"),
    "body.jsonl": (b'{"body": "x", "n": 1}\n', "its columns are 'body', 'n'"),
    "strings.json": (b'["one", "two"]', "is not a JSON object"),
    "roles.jsonl": (b'{"messages": [{"text": "x"}]}\n', "turns that each have a role and a text"),
}


@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_text_is_refused_in_one_sentence(
    runtime: Readers, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, sentence = NO_TEXTS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SystemExit) as ended:
        documents(runtime, tmp_path / name)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said.splitlines()[-1]
