"""The generated eval.py and infer.py, and the data that they read."""

from __future__ import annotations

import copy
import importlib
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

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
    (bits,) = report["metrics"]
    assert (bits["metric"], bits["title"]) == ("bits_per_byte", "bits per byte")
    assert report["n"] > 0
    assert "steps_unit" not in report
    assert not bits["higher_is_better"]
    unigram, bigram, witten_bell, kneser_ney = bits["baselines"].values()
    assert 0 < kneser_ney < witten_bell < bigram < unigram < 8
    assert bits["value"] > 0


def test_passages_of_the_test_split_are_continued(code: dict[str, ModuleType]) -> None:
    module, np = code["eval"], importlib.import_module("numpy")
    model = code["model"].Model(code["model"].Config())
    text = "".join(f"This is line {number} of a text.\n" for number in range(30))
    tokenizer = importlib.import_module("runtime.tokenizer").ByteTokenizer()
    splits = {"test": np.frombuffer(text.encode(), np.uint8)}
    corpus = SimpleNamespace(splits=splits, tokenizer=tokenizer)
    figure = module.passages(model, corpus, 16, torch.device("cpu"))
    assert figure["columns"] == ["beginning", "there", "proxy"]
    assert len(figure["rows"]) == 3
    for beginning, there, drawn in figure["rows"]:
        assert beginning.replace(" ", "") + there.replace(" ", "") in "".join(text.split())
        assert drawn.isprintable()
    assert figure == module.passages(model, corpus, 16, torch.device("cpu"))


def test_the_score_is_the_sum_over_all_bytes_with_enough_context(
    code: dict[str, ModuleType],
) -> None:
    module, np = code["eval"], importlib.import_module("numpy")
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    tokens = np.arange(15, dtype=np.uint8)
    bits = module.score(model, tokens, 16, module.Config(), torch.device("cpu"))
    x = torch.arange(15)
    nats = model(x[None, :-1], x[None, 1:]).item() * 14
    assert len(bits) == 14
    assert bits.sum().item() == pytest.approx(nats / 0.6931471805599453, rel=1e-5)


@pytest.mark.parametrize("kneser_ney", [False, True])
def test_ngram_probabilities_sum_to_one(code: dict[str, ModuleType], kneser_ney: bool) -> None:
    model = code["eval"].NGrams(3, b"abracadabra, abracadabra", kneser_ney=kneser_ney)

    def probability(history: bytes, byte: int) -> float:
        return float(2 ** -model.bits(history + bytes([byte]))[-1])

    for history in (b"ca", b"br", b"zz", b"za"):
        assert sum(probability(history, c) for c in range(256)) == pytest.approx(1)
    assert probability(b"br", ord("a")) > 0.5


def test_ngrams_follow_their_formulas(code: dict[str, ModuleType]) -> None:
    # Two bytes follow an a, three times; the bytes before a b are a, twice, and c.
    text, uniform = b"abacbab", 1 / 256
    witten_bell = code["eval"].NGrams(2, text)
    unigram = (3 + 3 * uniform) / (7 + 3)
    assert 2 ** -witten_bell.bits(b"ab")[0] == pytest.approx((2 + 2 * unigram) / (3 + 2))
    kneser_ney = code["eval"].NGrams(2, text, kneser_ney=True)
    # Bigrams ab, ba: twice; ac, cb: once. Before an a is b, before a b are a and c, before c is a.
    discount, below = 2 / (2 + 2 * 2), 2 / (2 + 2 * 1)
    unigram = (2 - below + 3 * below * uniform) / 4
    bigram = (2 - discount + 2 * discount * unigram) / 3
    assert 2 ** -kneser_ney.bits(b"ab")[0] == pytest.approx(bigram)


def test_a_baseline_without_rare_ngrams_still_expects_new_bytes(
    code: dict[str, ModuleType],
) -> None:
    model = code["eval"].NGrams(3, b"ab" * 50, kneser_ney=True)
    assert model.bits(b"abz")[0] < 16


def test_a_text_is_scored_by_the_same_baselines_whatever_the_tokens_are(
    code: dict[str, ModuleType], text: Path
) -> None:
    scoring, data = code["eval"], code["data"]
    of_bytes = data.load_corpus(data.Config(), text, 256)
    of_tokens = data.load_corpus(data.Config(tokenizer="bpe"), text, 300)
    assert len(of_tokens.splits["test"]) < len(of_bytes.splits["test"])
    assert of_tokens.sha256 == of_bytes.sha256
    assert of_tokens.num_bytes == of_bytes.num_bytes
    assert [of_tokens.text(s) for s in data.SPLITS] == [of_bytes.text(s) for s in data.SPLITS]
    test = of_tokens.splits["test"][:].tolist()
    assert sum(of_tokens.tokenizer.lengths(test)) == of_tokens.num_bytes["test"]
    ours, theirs = (scoring.baselines(each, scoring.Config()) for each in (of_tokens, of_bytes))
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", None])
def test_the_likeliest_tokens_are_those_of_transformers(
    run: Run, trained: Path, dtype: str | None
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ours = run("infer", "--out", trained, "--prompt", "3 bottles", "--temperature", 0,
               *(["--dtype", dtype] if dtype else []))  # fmt: skip
    # A CPU computes in the format of the checkpoint, in both.
    kind = {"dtype": getattr(torch, dtype)} if dtype else {}
    model = AutoModelForCausalLM.from_pretrained(trained / "checkpoint", **kind)
    tokenizer = AutoTokenizer.from_pretrained(trained / "checkpoint")
    row = tokenizer("3 bottles", return_tensors="pt")
    theirs = model.generate(**row, max_new_tokens=12, do_sample=False)
    assert ours.removesuffix("\n") == tokenizer.decode(theirs[0], skip_special_tokens=True)


def test_quantized_weights_refuse_another_format(run: Run, trained: Path) -> None:
    options = ("--out", trained, "--prompt", "a", "--weight-bits", 8, "--dtype", "float32")
    assert "multiply bfloat16" in run("infer", *options, status=2)


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


@pytest.mark.parametrize("prepared", [True, False])
def test_tokens_train_evaluate_and_decode(
    code: dict[str, ModuleType],
    tmp_path: Path,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prepared: bool,
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
        path = "tokens" if prepared else "text.jsonl"
        if prepared:
            script("data", "prepare", "--data", "text.jsonl", "--out", path)
        script("train", "--data", path, "--steps", "1")
        script("train", "--data", path, "--steps", "2", "--resume")
        report = json.loads(script("eval", "--data", path))
        assert script("infer", "--prompt", "bottles").startswith("bottles")
        tokenizer = bpe["runtime.tokenizer"].load_tokenizer("bpe", Path("out/checkpoint"))
    (bits,) = report["metrics"]
    assert bits["metric"] == "bits_per_byte"
    assert len(bits["baselines"]) == 4
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
