"""How training varies the classifier's texts: tokens taken apart, and runs of long ones."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.encoders import modules_of, records, write_jsonl
from tokenizers import Tokenizer

WORDS = [f"{a}{b}" for a in ("regen", "sonnen", "winter") for b in ("schirm", "schein", "tag")]
TEXT = " ".join(WORDS)


code = modules_of("text_classifier")


@pytest.fixture(scope="module")
def tokenizer(code: dict[str, ModuleType]) -> Any:
    return code["runtime.sequences"].train_tokenizer([TEXT] * 4, 320)


def varied(tokenizer: Any, text: str, max_len: int, split: float, seed: int = 0) -> list[int]:
    row: list[int] = tokenizer.varied([text], max_len, split, [random.Random(seed)])[0].tolist()
    return row


def test_without_a_split_training_reads_what_is_scored(tokenizer: Any) -> None:
    texts = [TEXT, "regen", "tag", ""]
    tokens = tokenizer.varied(texts, 64, 0.0, [random.Random(n) for n in range(4)])
    assert tokens.equal(tokenizer.rows(texts, 64)[0])


def test_tokens_taken_apart_are_the_same_text_in_smaller_pieces(tokenizer: Any) -> None:
    library = Tokenizer.from_str(tokenizer.json)
    whole = varied(tokenizer, TEXT, 200, 0.0)
    bytes_alone = varied(tokenizer, TEXT, 200, 1.0)
    assert len(bytes_alone) == len(f" {TEXT}") + 2  # [CLS] and [SEP] stay
    for seed in range(20):
        row = varied(tokenizer, TEXT, 200, 0.5, seed)
        assert library.decode(row) == library.decode(whole)
        assert len(whole) < len(row) < len(bytes_alone)


def test_a_share_of_merged_tokens_is_taken_apart(tokenizer: Any) -> None:
    word = varied(tokenizer, "regenschirm", 64, 0.0)
    assert len(word) == 3  # one token, between [CLS] and [SEP]
    kept = sum(varied(tokenizer, "regenschirm", 64, 0.3, seed) == word for seed in range(400))
    assert kept / 400 == pytest.approx(0.7, abs=0.07)


def test_of_a_text_that_is_too_long_any_run_of_tokens_may_be_read(tokenizer: Any) -> None:
    whole = varied(tokenizer, TEXT, 64, 0.0)[1:-1]
    assert len(whole) == len(WORDS)
    starts = set()
    for seed in range(200):
        first, *run, last = varied(tokenizer, TEXT, 6, 0.0, seed)
        assert (first, last) == (1, 2)
        starts.add(whole.index(run[0]))
        assert run == whole[whole.index(run[0]) :][:4]
    assert starts == set(range(len(whole) - 3))


def test_samples_are_varied_by_their_position_alone(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "mine.jsonl", records("text_classifier"))
    data, config, model = code["data"], code["data"].Config(), code["model"].Config()
    assert config.token_split > 0
    loaded = data.load_dataset(config, path, model)
    batch_at = code["runtime.text_batches"].batch_at
    given = loaded.splits["train"], loaded.tokenizer
    tokens, labels = batch_at(*given, 0, 8, config, 1)
    later, their = batch_at(*given, 5, 3, config, 1)
    width = later.size(1)
    assert torch.equal(tokens[5:, :width], later)
    assert torch.equal(labels[5:], their)
    assert not tokens[5:, width:].any()
    plain, _ = batch_at(*given, 0, 8, replace(config, token_split=0.0), 1)
    assert (tokens > 0).sum() > (plain > 0).sum()
