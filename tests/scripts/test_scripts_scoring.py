"""The generated eval.py and infer.py, and the data that they read."""

from __future__ import annotations

import copy
import importlib
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.generated import TINY, Run, modules, write_package


def test_windows_score_every_token_but_the_first_once(code: dict[str, ModuleType]) -> None:
    np = importlib.import_module("numpy")
    for length in (2, 16, 17, 18, 24, 25, 26, 50):
        tokens = np.arange(length, dtype=np.uint8)
        scored = [
            int(t)
            for _, targets in code["data"].windows(tokens, 16, 8, 2)
            for t in targets.flatten()
            if t >= 0
        ]
        assert sorted(scored) == list(range(1, length)), length


def test_evaluation_prints_the_contract(run: Run, trained: Path) -> None:
    report = json.loads(run("eval", "--out", trained))
    assert report["split"] == "test"
    assert report["checkpoint_step"] == 6
    assert len(report["sha256"]) == 64
    bits, accuracy = report["metrics"]
    assert (bits["metric"], bits["title"]) == ("bits_per_byte", "bits per byte")
    assert report["n"] > 0
    assert "steps_unit" not in report
    assert not bits["higher_is_better"]
    assert 0 < bits["baselines"]["5-gram"] < bits["baselines"]["bigram"]
    assert bits["baselines"]["bigram"] < bits["baselines"]["unigram"] < 8
    assert bits["value"] > 0
    assert 0 <= accuracy["value"] <= 1
    assert accuracy["baselines"].keys() == bits["baselines"].keys()


def test_the_score_is_the_sum_over_all_bytes_with_enough_context(
    code: dict[str, ModuleType],
) -> None:
    module, np = code["eval"], importlib.import_module("numpy")
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    tokens = np.arange(15, dtype=np.uint8)
    bits, _, counts = module.score(model, tokens, 16, module.Config(), torch.device("cpu"))
    x = torch.arange(15)
    nats = model(x[None, :-1], x[None, 1:]).item() * 14
    assert bits.sum() == pytest.approx(nats / 0.6931471805599453, rel=1e-5)
    assert counts.sum() == 14


def test_ngram_probabilities_sum_to_one(code: dict[str, ModuleType]) -> None:
    model = code["eval"].NGram(3, b"abracadabra, abracadabra")
    for history in (b"", b"a", b"br", b"zz"):
        total = sum(model.probability(history, bytes([c])) for c in range(256))
        assert total == pytest.approx(1)
    assert model.probability(b"br", b"a") > 0.5


def test_inference_repeats_with_its_seed_and_differs_with_another(run: Run, trained: Path) -> None:
    options = ("--out", trained, "--prompt", "12 bott", "--temperature", "1")
    first = run("infer", *options, "--seed", 1)
    assert first.startswith("12 bott")
    assert len(first) > len("12 bott\n")
    assert run("infer", *options, "--seed", 1) == first
    assert run("infer", *options, "--seed", 2) != first


def test_greedy_decoding_is_the_likeliest_token_each_time(
    code: dict[str, ModuleType], trained: Path
) -> None:
    infer = code["infer"]
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    config = infer.Config(max_new_tokens=8, temperature=0.0)
    tokens = [1, 2, 3]
    for token in infer.generate(model, [1, 2, 3], config, torch.device("cpu")):
        assert token == int(model(torch.tensor([tokens]))[0, -1].argmax())
        tokens.append(token)
    assert len(tokens) == 11


def test_top_k_and_top_p_cut_the_tail(code: dict[str, ModuleType]) -> None:
    infer = code["infer"]
    logits = torch.log(torch.tensor([0.1, 0.5, 0.3, 0.1]))
    generator = torch.Generator().manual_seed(0)

    def drawn(**options: object) -> set[int]:
        config = infer.Config(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options)
        return {infer.draw(logits, config, generator) for _ in range(100)}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(top_k=2) == {1, 2}
    assert drawn(top_p=0.6) == {1, 2}
    assert drawn(top_p=0.5) == {1}
    assert drawn(temperature=0.0) == {1}


def test_the_bundled_corpus_has_no_paragraph_twice(code: dict[str, ModuleType]) -> None:
    paragraphs = code["data"].bundled_text().decode().split("\n\n")
    keys = [paragraph.strip() for paragraph in paragraphs]
    assert len(keys) > 1000
    assert len(keys) == len(set(keys))


def test_prepared_tokens_train_evaluate_and_decode(
    code: dict[str, ModuleType],
    tmp_path: Path,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = copy.deepcopy(TINY)
    sizes["model"]["vocab_size"] = 300
    sizes["data"]["tokenizer"] = "bpe"
    lines = text.read_text().splitlines()
    (tmp_path / "code").mkdir()
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in lines))
    monkeypatch.chdir(tmp_path)

    def script(name: str, *options: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        bpe[name].main()
        return capsys.readouterr().out

    with modules(write_package(tmp_path / "code", sizes)) as bpe:
        script("data", "prepare", "--data", "text.jsonl", "--out", "tokens")
        script("train", "--data", "tokens", "--steps", "2")
        report = json.loads(script("eval", "--data", "tokens"))
        assert script("infer", "--prompt", "bottles").startswith("bottles")
        tokenizer = bpe["runtime.tokenizer"].load_tokenizer("bpe", Path("out/checkpoint"))
    bits, accuracy = report["metrics"]
    assert (bits["metric"], accuracy["metric"]) == ("bits_per_byte", "next_token_accuracy")
    assert bits["baselines"] == {}
    tokens = tokenizer.encode(lines[0])
    assert len(tokens) < len(lines[0])
    assert tokenizer.decode(tokens) == lines[0]


def test_tokens_are_read_across_files(code: dict[str, ModuleType], tmp_path: Path) -> None:
    np = importlib.import_module("numpy")
    tokens = np.arange(1000, 1025, dtype=np.uint16)
    cuts = (0, 10, 10, 11, 25)
    for number, (first, last) in enumerate(itertools.pairwise(cuts)):
        tokens[first:last].tofile(tmp_path / f"train-{number:05}.bin")
    shards = code["data"].open_shards(tmp_path, "train", "uint16")
    assert len(shards) == 25
    for first, last in itertools.combinations_with_replacement(range(28), 2):
        assert list(shards[first:last]) == list(tokens[first:last])
    assert list(shards[-1:]) == [1024]
    assert list(shards[:]) == list(tokens)
