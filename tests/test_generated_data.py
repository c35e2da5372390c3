"""`data.py prepare`: a tokenizer trained on the user's text, and the tokens of each split."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.generated import TINY, modules, write_package
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

VOCABULARY = 400


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    sizes = copy.deepcopy(TINY)
    sizes["model"]["vocab_size"] = VOCABULARY
    sizes["data"]["tokenizer"] = "bpe"
    with modules(write_package(tmp_path_factory.mktemp("code"), sizes)) as found:
        yield found["data"]


@pytest.fixture(scope="module")
def documents() -> list[str]:
    draw = random.Random(0)
    words = ["der", "Fluß", "wächst", "河", "<|endoftext|>", "\u2028", "naïve", "🚲", "it's", "42"]
    return [" ".join(draw.choices(words, k=draw.randint(1, 300))) for _ in range(60)]


@pytest.fixture(scope="module")
def tokens(
    data: ModuleType, documents: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("text")
    lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n\n" for text in documents)
    (folder / "text.jsonl").write_text("".join(lines), encoding="utf-8")
    data.prepare(folder / "text.jsonl", folder / "tokens", VOCABULARY, data.Config())
    return folder / "tokens"


def split_ids(folder: Path) -> dict[str, list[int]]:
    facts = json.loads((folder / "corpus.json").read_text())
    files = {s: folder / f"{s}.bin" for s in ("train", "val", "test")}
    return {s: np.fromfile(f, dtype=facts["dtype"]).tolist() for s, f in files.items()}


def test_the_tokens_of_all_splits_are_the_documents_again(
    tokens: Path, documents: list[str]
) -> None:
    library = Tokenizer.from_file(str(tokens / "tokenizer.json"))
    end = json.loads((tokens / "corpus.json").read_text())["end_of_text"]
    found, current = [], []
    for token in [t for ids in split_ids(tokens).values() for t in ids]:
        if token == end:
            found.append(library.decode(current, skip_special_tokens=False))
            current = []
        else:
            current.append(token)
    assert current == []
    assert found == documents  # also the text `<|endoftext|>` in them, which ends nothing


def test_splits_have_their_shares_and_know_their_bytes(tokens: Path, documents: list[str]) -> None:
    facts = json.loads((tokens / "corpus.json").read_text())
    assert facts["dtype"] == "uint16"
    total = sum(len(text.encode()) for text in documents)
    assert sum(facts["num_bytes"].values()) == total
    assert facts["num_bytes"]["test"] / total == pytest.approx(0.1, abs=0.01)
    assert facts["num_bytes"]["val"] / total == pytest.approx(0.05, abs=0.01)


def test_the_tokenizer_has_learned_from_the_training_split_only(
    data: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("aaaa bbbb " * 500 + "zqzqzq " * 120)
    data.prepare(tmp_path / "text.txt", tmp_path / "tokens", VOCABULARY, data.Config())
    vocabulary = Tokenizer.from_file(str(tmp_path / "tokens" / "tokenizer.json")).get_vocab()
    assert "aaaa" in vocabulary
    assert "zq" not in vocabulary


def test_pieces_are_the_whole_whatever_their_size(data: ModuleType, tmp_path: Path) -> None:
    text = "one two  three\n\nfour five " * 40 + "x" * 90
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.md").write_text("")
    (tmp_path / "c.md").write_text("the end")
    parts = {"train": slice(0, 700), "val": slice(700, 701), "test": slice(701, None)}
    for size in (7, 64, 10**6):
        pieces = list(data._pieces(tmp_path, parts, size))
        assert "".join(piece for _, piece, _ in pieces) == text + "the end"
        assert [piece for split, piece, _ in pieces if split == "val"] == [text[700]]
        assert [piece for _, piece, last in pieces if last][-1].endswith("the end")
        assert sum(last for _, _, last in pieces) == 2
        assert max(len(piece) for _, piece, _ in pieces) <= size


def test_cutting_a_text_before_its_words_changes_no_token(
    data: ModuleType, documents: list[str], tmp_path: Path
) -> None:
    library = data.train_bpe(documents, VOCABULARY)
    text = " ".join(documents)
    (tmp_path / "a.txt").write_text(text)
    pieces = data._pieces(tmp_path, {"all": slice(0, None)}, 50)
    found = [t for _, piece, _ in pieces for t in library.encode(piece).ids]
    assert found == library.encode(text).ids


def test_a_large_vocabulary_takes_four_bytes_a_token(data: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text " * 100)
    parts = data._parts(tmp_path / "a.txt", data.Config())
    tokenizer = data._trained(tmp_path / "a.txt", parts, VOCABULARY)
    for entries, dtype in ((2**16, "uint16"), (2**16 + 1, "uint32")):
        tokenizer.vocab_size = entries
        shards = {split: io.BytesIO() for split in data.SPLITS}
        pieces = list(data._pieces(tmp_path / "a.txt", parts))
        assert data._write_shards(shards, iter(pieces), tokenizer)["dtype"] == dtype
        first = tokenizer.encode(pieces[0][1])
        assert np.frombuffer(shards["train"].getvalue(), dtype).tolist() == first


def test_tokens_that_are_made_at_the_start_are_those_that_prepare_writes(
    data: ModuleType, tokens: Path
) -> None:
    made = data.load_corpus(data.Config(tokenizer="bpe"), tokens.parent / "text.jsonl", VOCABULARY)
    prepared = data.load_corpus(data.Config(tokenizer="bpe"), tokens, VOCABULARY)
    assert made.tokenizer.json == prepared.tokenizer.json
    assert (made.name, made.num_bytes) == ("text.jsonl", prepared.num_bytes)
    for corpus in (made, prepared):
        assert {s: list(t[:]) for s, t in corpus.splits.items()} == split_ids(tokens)
    assert made.sha256 == prepared.sha256


def test_the_digest_tells_documents_apart_and_not_tokens(data: ModuleType, tmp_path: Path) -> None:
    texts = {"one": ["some text\n\nmore text " * 20], "two": ["some text", "more text " * 20]}
    digests = {}
    for name, parts in texts.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": part}) + "\n" for part in parts))
        kinds = [data.Config(seq_len=4, tokenizer=kind) for kind in ("byte", "bpe")]
        (digests[name],) = {data.load_corpus(kind, path, VOCABULARY).sha256 for kind in kinds}
    assert digests["one"] != digests["two"]


def test_files_of_splits_are_the_splits_and_what_lacks_is_the_end_of_train(
    data: ModuleType, tmp_path: Path
) -> None:
    texts = {"Train": ["one two " * 40, "three"], "validation": ["four", "five six"], "test": []}
    for name, parts in texts.items():
        rows = (json.dumps({"text": part}) + "\n" for part in parts)
        (tmp_path / f"{name}-00000-of-00001.jsonl").write_text("".join(rows))
    (tmp_path / "test-00000-of-00001.jsonl").unlink()
    end = bytes([data.ByteTokenizer.end_of_text])
    byte, bpe = (data.Config(seq_len=4, tokenizer=kind) for kind in ("byte", "bpe"))
    corpus = data.load_corpus(byte, tmp_path, VOCABULARY)
    found = {split: tokens.tobytes() for split, tokens in corpus.splits.items()}
    train = end.join(part.encode() for part in texts["Train"]) + end
    assert found["train"] + found["test"] == train
    assert len(found["test"]) == int(len(train) * byte.test_fraction)
    assert found["val"] == end.join((b"four", b"five six"))
    assert data.load_corpus(bpe, tmp_path, VOCABULARY).num_bytes["val"] == 12
    (tmp_path / "test-00000-of-00001.jsonl").write_text('{"text": "seven"}\n')
    corpus = data.load_corpus(byte, tmp_path, VOCABULARY)
    assert [corpus.splits[split].tobytes() for split in ("train", "val", "test")] == [
        train, end.join((b"four", b"five six", b"")), b"seven"
    ]  # fmt: skip


def test_a_checkpoint_brings_its_tokenizer(data: ModuleType, tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("another text " * 50)
    config = data.Config(seq_len=4, tokenizer="bpe")
    corpus = data.load_corpus(config, tmp_path / "other.txt", VOCABULARY, checkpoint=tokens)
    assert corpus.tokenizer.json == (tokens / "tokenizer.json").read_text()


def test_a_large_text_is_to_be_prepared(
    data: ModuleType, tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "IN_MEMORY", 100)
        error = stopped(data, capsys, "--data", str(tokens.parent / "text.jsonl"))
    assert "is large: run `data.py prepare" in error


def test_tokens_of_another_size_are_refused_with_the_option_that_makes_them(
    data: ModuleType, tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        data.load_corpus(data.Config(tokenizer="bpe"), tokens, 257)
    assert "`--size proxy`" in capsys.readouterr().err


def test_preparing_twice_gives_the_same_bytes(data: ModuleType, tokens: Path) -> None:
    before = {path.name: path.read_bytes() for path in tokens.iterdir()}
    assert set(before) == {"corpus.json", "tokenizer.json", "train.bin", "val.bin", "test.bin"}
    data.prepare(tokens.parent / "text.jsonl", tokens, VOCABULARY, data.Config())
    assert {path.name: path.read_bytes() for path in tokens.iterdir()} == before


def stopped(data: ModuleType, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["data.py", *options])
        with pytest.raises(SystemExit) as stop:
            data.main()
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"text": "a"}\n{"text": 5}\n', 'text.jsonl:2 is not a JSON object with a "text"'),
        (b'{"text": "a"}\n["text"]\n', "text.jsonl:2 is not a JSON object."),
        (b'{"text": "a"}\n{"text": \n', "text.jsonl:2 is not a JSON object."),
        (b'{"text": "\xff"}\n', "text.jsonl:1 cannot be read as UTF-8 text"),
        (b"\n\n", "text.jsonl has no text"),
    ],
)
def test_text_that_cannot_be_prepared_is_named_and_leaves_nothing(
    data: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: bytes, words: str
) -> None:
    (tmp_path / "text.jsonl").write_bytes(text)
    options = ("prepare", "--data", f"{tmp_path}/text.jsonl", "--out", f"{tmp_path}/tokens")
    assert words in stopped(data, capsys, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["text.jsonl"]


def test_a_folder_of_other_files_is_not_replaced(
    data: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work " * 100)
    error = stopped(data, capsys, "prepare", "--out", str(tmp_path))
    assert "has other files" in error
    assert (tmp_path / "thesis.txt").read_text().startswith("years of work")


def test_a_full_disk_leaves_the_last_tokens(
    data: ModuleType,
    capsys: pytest.CaptureFixture[str],
    tokens: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {path.name: path.read_bytes() for path in tokens.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(data.np, "array", full)
    text = tokens.parent / "text.jsonl"
    error = stopped(data, capsys, "prepare", "--data", str(text), "--out", str(tokens))
    assert "cannot be written: No space left on device" in error
    assert {path.name: path.read_bytes() for path in tokens.iterdir()} == before
    assert not list(tokens.parent.glob("*.new"))


def test_a_byte_vocabulary_needs_no_preparation(
    data: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        data.prepare(None, tmp_path / "tokens", 256, data.Config())
    assert "use byte tokens" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tokenizer.json", "corpus.json", "train.bin"])
@pytest.mark.parametrize("content", [None, b"\x80\x04pickle", b"{}"])
def test_damaged_tokens_are_refused_in_a_sentence(
    data: ModuleType,
    capsys: pytest.CaptureFixture[str],
    tokens: Path,
    tmp_path: Path,
    name: str,
    content: bytes | None,
) -> None:
    folder = shutil.copytree(tokens, tmp_path / "tokens")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert len(stopped(data, capsys, "--data", str(folder))) < 300


@pytest.fixture(scope="module", params=["byte", "bpe"])
def both(
    request: pytest.FixtureRequest,
    data: ModuleType,
    tokens: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, Any]:
    """Return the tokenizer of a checkpoint as the package opens it, and as transformers does."""
    from transformers import AutoTokenizer

    folder, config = tmp_path_factory.mktemp(request.param), data.Config(tokenizer=request.param)
    corpus = data.load_corpus(config, tokens if request.param == "bpe" else None, VOCABULARY)
    tokenizer = sys.modules[data.BPETokenizer.__module__]
    for name, text in tokenizer.tokenizer_files(corpus.tokenizer.json, 64).items():
        (folder / name).write_text(text)
    return tokenizer.load_tokenizer(request.param, folder), AutoTokenizer.from_pretrained(folder)


SPECIAL = ("<|endoftext|>", "\u0100", "\u00ff")  # names of tokens, which are text in a text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text() | st.sampled_from(SPECIAL), max_size=5).map("".join))
@example("".join(SPECIAL))
def test_transformers_reads_any_text_as_the_package_does(both: tuple[Any, Any], text: str) -> None:
    ours, theirs = both
    found = ours.encode(text)
    assert theirs(text)["input_ids"] == found
    assert theirs.decode(found) == text == ours.decode(found)
    assert ours.padding not in found
    assert ours.end_of_text not in found or "\0" in text


def test_a_checkpoint_has_the_tokens_that_clients_need(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    assert theirs.eos_token_id == ours.end_of_text
    assert theirs.pad_token_id == ours.padding != ours.end_of_text
    assert theirs.model_max_length == 64
    assert theirs(["a", "a longer text"], padding=True)["input_ids"][0][-1] == ours.padding
    assert theirs.decode([ours.end_of_text, ours.padding], skip_special_tokens=True) == ""
