"""What training asks the document ranker: crops, words left out, and nothing that is held out."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.encoders import modules_of, records, write_jsonl

PASSAGE = " ".join(f"w{n}" for n in range(60))


code = modules_of("document_ranker")


def test_a_crop_is_a_run_of_words_which_the_passage_mostly_lacks(
    code: dict[str, ModuleType],
) -> None:
    data, kept = code["data"], 0
    for seed in range(400):
        query, rest = data.cropped(PASSAGE, random.Random(seed))
        words = query.split()
        assert data.SHORTEST_CROP <= len(words) <= data.LONGEST_CROP
        assert f" {query} " in f" {PASSAGE} "
        without = " ".join(word for word in PASSAGE.split() if word not in words)
        assert rest in (PASSAGE, without)
        kept += rest == PASSAGE
    assert kept / 400 == pytest.approx(data.KEPT, abs=0.08)
    short = "six words are far too few"
    assert data.cropped(short, random.Random(0)) == (short, short)


def test_a_query_loses_its_share_of_words_and_never_all(code: dict[str, ModuleType]) -> None:
    without = code["data"].without_some
    left = [len(without(PASSAGE, 0.2, random.Random(n)).split()) for n in range(200)]
    assert sum(left) / 200 == pytest.approx(48, abs=1)
    assert without(PASSAGE, 0.0, random.Random(0)) == PASSAGE
    assert all(without("one two", 0.9, random.Random(n)) for n in range(50))


def test_samples_are_drawn_by_their_position_alone(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "mine.jsonl", records("document_ranker"))
    data, config, model = code["data"], code["data"].Config(), code["model"].Config()
    assert config.crop_share > 0
    assert config.word_drop > 0
    loaded = data.load_dataset(config, path, model)
    whole = data.batch_at(loaded, 0, 8, 3, config, 1)
    part = data.batch_at(loaded, 5, 3, 3, config, 1)
    width = part[0].size(2)
    assert torch.equal(whole[0][5:, :, :width], part[0])
    assert not whole[0][5:, :, width:].any()


def test_training_reads_docstrings_and_no_sentence_that_is_held_out(
    code: dict[str, ModuleType],
) -> None:
    data, pydocs = code["data"], code["runtime.pydocs"]
    config = data.Config()
    found = data.load_records(config, None)
    topics = data.cut(
        data.paragraphs(pydocs.topic_paragraphs()),
        "first",
        config.val_fraction,
        config.test_fraction,
    )
    held_out = {
        sentence
        for split in ("val", "test")
        for record in topics[split]
        for sentence in record["all"].split("\n")
    }
    assert [record["query"] for record in found["test"]] == [
        each["first"] for each in topics["test"]
    ]
    assert held_out.isdisjoint(record["query"] for record in found["train"])
    of_topics = {s for record in topics["train"] for s in record["all"].split("\n")}
    assert any(record["query"] not in of_topics for record in found["train"])


def test_a_paragraph_with_a_sentence_of_a_split_is_left_out(code: dict[str, ModuleType]) -> None:
    data = code["data"]
    known = data.paragraphs([["a first one", "a second one"]])
    new = data.paragraphs([["another", "a second one"], ["another", "and its rest"]])
    assert data._unknown(new, known) == new[1:]


def test_the_first_attention_finds_a_tokens_like(code: dict[str, ModuleType]) -> None:
    """In the first layer a token scores its like as the model's constant says, others 0."""
    model = code["model"]
    torch.manual_seed(0)
    config = model.Config(d_model=64, n_layers=3, n_heads=4, d_ff=64)
    made = model.Model(config)
    first, last = made.layers[0], made.layers[-1]
    x = torch.nn.functional.layer_norm(torch.randn(500, 64), (64,))
    q, k = (part(x).unflatten(-1, (4, 16)) for part in (first.q_proj, first.k_proj))
    scores = torch.einsum("ihd,jhd->hij", q, k) / 16**0.5
    assert float(scores.detach().diagonal(dim1=1, dim2=2).mean()) == pytest.approx(
        model.LIKENESS, rel=0.1
    )
    assert abs(float(scores.detach()[:, 0, 1:].mean())) < 0.1 * model.LIKENESS
    assert not torch.equal(last.q_proj.weight, last.k_proj.weight)
