"""From a user's file to a checkpoint that transformers opens, and errors in one sentence."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import transformers
from helpers.encoders import (
    FAMILIES,
    modules,
    modules_of,
    output,
    records,
    write_jsonl,
    write_package,
)


@pytest.fixture(scope="module", params=FAMILIES)
def package(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, ModuleType]]]:
    folder = write_package(tmp_path_factory.mktemp(request.param), request.param)
    with modules(folder) as code:
        yield request.param, folder, code


def run(code: dict[str, ModuleType], script: str, *options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        line = [f"{script}.py", "--threads", 1, "--device", "cpu", *options]
        patch.setattr(sys, "argv", [str(part) for part in line])
        code[script].main()


def show(code: dict[str, ModuleType], *options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["data.py", *map(str, options)])
        code["data"].main()


def test_a_users_file_is_trained_on_scored_and_used(
    package: tuple[str, Path, dict[str, ModuleType]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, _, code = package
    data = write_jsonl(tmp_path / "mine.jsonl", records(name))
    run(code, "train", "--data", data, "--out", tmp_path, "--steps", 3)
    run(code, "eval", "--data", data, "--out", tmp_path)
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"] == "mine.jsonl"
    assert all(0 <= each["value"] <= 1 for each in report["metrics"] if each["unit"] == "share")
    run(code, "infer", "--data", data, "--out", tmp_path, "--prompt", "red blue")
    assert len(capsys.readouterr().out.splitlines()) in (1, 2, 3)
    opened(name, code, tmp_path / "checkpoint")


def opened(name: str, code: dict[str, ModuleType], checkpoint: Path) -> None:
    """Check that transformers' classes give what the package gives."""
    kinds = transformers.AutoModelForSequenceClassification, transformers.AutoModel
    kind = kinds[name == "sentence_embedder"]
    theirs = kind.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    config = code["model"].Config()
    mine = code["runtime.weights"].load_model(lambda: code["model"].Model(config), checkpoint)
    own = code["runtime.sequences"].read_tokenizer(checkpoint)
    pairs = name == "document_ranker"
    texts = [("Red [SEP]", "the blue one"), ("old", "x")] if pairs else ["Red [SEP] blue", "old"]
    tokens, segments = own.rows(texts, 24)
    columns = list(zip(*texts, strict=True)) if pairs else [texts]
    row = tokenizer(*map(list, columns), padding=True, return_tensors="pt")
    assert row["input_ids"].equal(tokens)
    assert row["token_type_ids"].equal(segments)
    assert (tokens == 2).sum(1).tolist() == [1 + pairs] * 2  # [SEP] in a text ends nothing
    with torch.no_grad():
        made = mine(tokens, segments) if pairs else mine(tokens)
        torch.testing.assert_close(made, output(name, theirs, tokens, segments))
    # Clients cut a long text where the package does.
    assert len(tokenizer("blue " * 90, truncation=True)["input_ids"]) == 24
    files = {path.name for path in checkpoint.rglob("*") if path.is_file()}
    assert ("modules.json" in files) == (name == "sentence_embedder")
    raw = {"activation_fn": "torch.nn.modules.linear.Identity"}
    assert getattr(theirs.config, "sentence_transformers", None) == (raw if pairs else None)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ""])
def test_each_format_gives_the_same_records(
    package: tuple[str, Path, dict[str, ModuleType]], tmp_path: Path, suffix: str
) -> None:
    name, _, code = package
    rows = records(name)
    columns = list(rows[0])
    read = code["runtime.records"]
    expected = read.cut(rows, columns[0], 0.2, 0.2)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".parquet":
        pytest.importorskip("pyarrow")
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        write_jsonl(path, rows)
    else:
        path.mkdir()
        for split, each in expected.items():
            write_jsonl(path / f"{split}.jsonl", each)
    assert read.read_splits(path, columns, columns[0], 0.2, 0.2) == expected


BAD = [
    ('{"text": "a"}\n', 'mine.jsonl:1 has no "label"'),
    ('{"text": "  ", "label": "b"}\n', 'mine.jsonl:1 has an empty "text"'),
    ('\n{"text": 1\n', "mine.jsonl:2 is not a JSON object"),
    ('{"text": "a", "label": "b"}\n', "has too few records"),
    ("".join(f'{{"text": "t{n}", "label": "{n}"}}\n' for n in range(40)), "has 40 labels"),
    ("".join(f'{{"text": "t{n}", "label": "one"}}\n' for n in range(40)), "has 1 labels"),
]


classifier = modules_of("text_classifier")


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_bad_data_ends_in_one_sentence(
    classifier: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    sentence: str,
) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(SystemExit) as ended:
        show(classifier, "--data", tmp_path / "mine.jsonl")
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said
    assert said.count("\n") == 1


def test_a_text_with_a_bare_comma_is_refused_and_not_cut_short(
    classifier: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("text,label\nred,a\nred, blue,b\n")
    with pytest.raises(SystemExit) as ended:
        show(classifier, "--data", tmp_path / "mine.csv")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "mine.csv:3 has 3 cells, but the first line names 2 columns" in error


def test_prepared_texts_train_as_their_source_does(
    classifier: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = write_jsonl(tmp_path / "mine.jsonl", records("text_classifier"))
    prepared = tmp_path / "prepared"
    show(classifier, "prepare", "--data", data, "--out", prepared, "--size", "proxy")
    config, model = classifier["data"].Config(), classifier["model"].Config()
    one, two = (classifier["data"].load_dataset(config, p, model) for p in (data, prepared))
    assert one.sha256 == two.sha256
    assert one.tokenizer.json == two.tokenizer.json


def test_splits_of_the_bundled_texts_share_no_text(classifier: dict[str, ModuleType]) -> None:
    pytest.importorskip("django")
    found = classifier["data"].load_records(classifier["data"].Config(), None)
    texts = {split: {record["text"] for record in each} for split, each in found.items()}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))
    assert len({record["label"] for record in found["test"]}) == 20


def test_columns_of_other_names_are_prepared_and_shown(
    classifier: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records("text_classifier")
    mine, other = write_jsonl(tmp_path / "mine.jsonl", rows), tmp_path / "other.jsonl"
    write_jsonl(other, [{"review": row["text"], "stars": row["label"]} for row in rows])
    named = ("--data", other, "--text-column", "review", "--label-column", "stars")
    show(classifier, "prepare", *named, "--out", tmp_path / "prepared", "--size", "proxy")
    show(classifier, *named)
    assert "other.jsonl, sha256" in capsys.readouterr().out
    config, model = classifier["data"].Config(), classifier["model"].Config()
    load = classifier["data"].load_dataset
    one, two = (load(config, path, model) for path in (mine, tmp_path / "prepared"))
    assert one.sha256 == two.sha256


def test_labels_that_are_kept_secret_are_no_class(
    classifier: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records("text_classifier")
    write_jsonl(tmp_path / "train.jsonl", rows[:-9])
    write_jsonl(tmp_path / "test.jsonl", [row | {"label": "-1"} for row in rows[-9:]])
    with pytest.raises(SystemExit):
        show(classifier, "--data", tmp_path)
    assert "each label of test is -1, which stands for an unknown one" in capsys.readouterr().err
    write_jsonl(tmp_path / "test.jsonl", [row | {"label": rows[0]["label"]} for row in rows[-9:]])
    show(classifier, "--data", tmp_path)
    out, err = capsys.readouterr()
    assert f"train is {tmp_path / 'train.jsonl'}" in out
    assert "has no test text of the class" in err


ranker = modules_of("document_ranker")


def test_true_and_false_are_relevances(
    ranker: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records("document_ranker")
    truths = [row | {"relevance": float(row["relevance"]) > 0} for row in rows]
    numbers = [row | {"relevance": str(int(row["relevance"]))} for row in truths]
    judged = []
    for name, each in (("truths", truths), ("numbers", numbers)):
        path = write_jsonl(tmp_path / f"{name}.jsonl", each)
        found = ranker["data"].load_records(ranker["data"].Config(), path)
        judged.append({s: ranker["data"].judgements(r, name) for s, r in found.items()})
    assert judged[0] == judged[1]
