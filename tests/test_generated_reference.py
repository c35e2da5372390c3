"""The generated decoders compute what transformers' reference implementations compute."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.generated import LOCAL_MODEL, TINY, modules, write_package
from helpers.turns import in_turn
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

PLAIN = TINY["model"] | {"n_layers": 3, "vocab_size": 97, "rope_theta": 5000.0, "norm_eps": 1e-6}
LOCAL = PLAIN | {"window": 6, "global_every": 3, "n_layers": 5}
SHAPES = {
    "tied": PLAIN,
    "untied": PLAIN | {"tie_embeddings": False},
    "one KV head for all": PLAIN | {"n_kv_heads": 1},
    "one KV head each": PLAIN | {"n_kv_heads": 4},
    "heads wider than the model": PLAIN | {"n_heads": 8, "n_kv_heads": 4, "head_dim": 14},
    "heads that do not divide the model": PLAIN | {"n_heads": 6, "n_kv_heads": 3, "head_dim": 14},
    "local": LOCAL,
    "local, untied, all local": LOCAL | {"tie_embeddings": False, "global_every": 9},
    "local, all global": LOCAL | {"global_every": 1},
}
CLOSE = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with modules(write_package(tmp_path_factory.mktemp("plain"))) as found:
        yield found["model"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    sizes = TINY | {"model": LOCAL_MODEL}
    with modules(write_package(tmp_path_factory.mktemp("local"), sizes)) as found:
        yield found["model"]


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Our model and transformers' with the same weights, larger than drawn so that errors show."""
    shape = SHAPES[request.param]
    module = request.getfixturevalue("local" if "window" in shape else "plain")
    torch.manual_seed(0)
    ours = module.Model(module.Config(**shape))
    with torch.no_grad():
        for weight in ours.parameters():
            weight.copy_(weight * 1.5 if weight.dim() == 2 else 1 + 0.3 * torch.randn_like(weight))
    known = shape | ours.checkpoint_config() | {"eos_token_id": None}
    config = AutoConfig.for_model(known.pop("model_type"), **known)
    config._attn_implementation = "eager"  # the plain formula, not a kernel that we use too
    reference = AutoModelForCausalLM.from_config(config)
    weights = {ours.checkpoint_name(name): p for name, p in ours.named_parameters()}
    missing, unexpected = reference.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert missing == (["lm_head.weight"] if shape["tie_embeddings"] else [])
    reference.tie_weights()
    return ours, reference


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(97, shape, generator=torch.Generator().manual_seed(0))


def test_the_counterpart_is_the_class_that_config_json_names(pair: tuple[Any, Any]) -> None:
    ours, reference = pair
    assert [type(reference).__name__] == ours.checkpoint_config()["architectures"]
    assert sum(p.numel() for p in reference.parameters()) == ours.num_params()


@pytest.mark.parametrize("length", [1, 5, 6, 7, 13, 40, 64])
def test_logits_equal(pair: tuple[Any, Any], length: int) -> None:
    ours, reference = pair
    tokens = random_tokens(3, length)
    with torch.no_grad():
        expected = reference(tokens).logits
        assert expected.std() > 0.5
        torch.testing.assert_close(ours(tokens), expected, **CLOSE)


def test_loss_and_gradients_equal(pair: tuple[Any, Any]) -> None:
    ours, reference = pair
    tokens = random_tokens(4, 31)
    labels = tokens.clone()
    labels[0, 20:] = labels[2, :4] = -100
    ours.zero_grad()
    reference.zero_grad()
    # transformers shifts the labels itself, and calls what has no target -100.
    expected = reference(tokens, labels=labels).loss
    targets = labels[:, 1:].masked_fill(labels[:, 1:] == -100, -1)
    loss = ours(tokens[:, :-1], targets)
    torch.testing.assert_close(loss, expected, **CLOSE)
    expected.backward()
    loss.backward()
    theirs = dict(reference.named_parameters())
    for name, parameter in ours.named_parameters():
        expected = theirs[ours.checkpoint_name(name)].grad
        assert expected.abs().max() > 1e-3, name
        torch.testing.assert_close(parameter.grad, expected, **CLOSE)


@pytest.mark.parametrize("chunks", [(9, 1, 1, 20, 1), (1,) * 32, (32,)])
def test_decoding_with_our_cache_equals_their_full_pass(
    pair: tuple[Any, Any], chunks: tuple[int, ...]
) -> None:
    ours, reference = pair
    tokens = random_tokens(2, 32)
    cache = ours.new_cache(2, 32)
    with torch.no_grad():
        parts = [ours(part, cache=cache) for part in tokens.split(list(chunks), dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), reference(tokens).logits, **CLOSE)


def test_greedy_continuations_equal(pair: tuple[Any, Any]) -> None:
    """Their `generate` uses their cache; ours is one forward pass a token through our cache."""
    ours, reference = pair
    prompt = random_tokens(1, 11)
    theirs = reference.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20,
        do_sample=False, pad_token_id=0,
    )  # fmt: skip
    cache, tokens, found = ours.new_cache(1, 31), prompt, prompt
    with torch.no_grad():
        for _ in range(20):
            tokens = ours(tokens, cache=cache)[:, -1:].argmax(-1)
            found = torch.cat((found, tokens), 1)
    assert found.tolist() == theirs.tolist()


@pytest.mark.parametrize(
    "shape", ["tied", "heads that do not divide the model", "local, untied, all local"]
)
@pytest.mark.parametrize("tokenizer", in_turn(["byte", "bpe"]))
def test_a_trained_checkpoint_opens_in_transformers(
    shape: str, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = copy.deepcopy(TINY)
    sizes["model"] = SHAPES[shape] | {"vocab_size": 256 if tokenizer == "byte" else 300}
    sizes["data"]["tokenizer"] = tokenizer
    (tmp_path / "code").mkdir()
    (tmp_path / "text.txt").write_text("".join(f"{n} bottles of water.\n" for n in range(300)))
    monkeypatch.chdir(tmp_path)

    def script(name: str, *options: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        code[name].main()

    with modules(write_package(tmp_path / "code", sizes)) as code:
        data = "text.txt"
        if tokenizer == "bpe":
            script("data", "prepare", "--data", data, "--out", "tokens")
            data = "tokens"
        script("train", "--data", data, "--steps", "2", "--threads", "1")
        ours = code["model"].Model(code["model"].Config())
        folder = Path("out/checkpoint")
        code["runtime.weights"].load_weights(ours, folder)
        encode = code["runtime.tokenizer"].load_tokenizer(tokenizer, folder).encode

    theirs = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert type(theirs).__name__ == ours.checkpoint_config()["architectures"][0]
    reader = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = "7 bottles of water and <|endoftext|> \N{SNOWMAN}."
    tokens = reader(text, return_tensors="pt")["input_ids"]
    assert tokens[0].tolist() == encode(text)
    assert theirs.config.eos_token_id == reader.eos_token_id
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, ours(tokens), **CLOSE)
    assert theirs.generate(tokens, max_new_tokens=5).shape[1] > tokens.shape[1]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_what_transformers_saves_is_continued_scored_and_trained(
    tokenizer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = copy.deepcopy(TINY)
    sizes["model"]["vocab_size"] = 256 if tokenizer == "byte" else 300
    sizes["data"]["tokenizer"] = tokenizer
    (tmp_path / "code").mkdir()
    (tmp_path / "text.txt").write_text("".join(f"{n} bottles of water.\n" for n in range(300)))
    (tmp_path / "other.txt").write_text("".join(f"{n} doors open.\n" for n in range(400)))
    monkeypatch.chdir(tmp_path)

    def script(name: str, *options: str) -> str:
        threads = () if name == "data" else ("--threads", "1")
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *threads, *options])
        capsys.readouterr()
        code[name].main()
        return capsys.readouterr().out

    with modules(write_package(tmp_path / "code", sizes)) as code:
        script("train", "--data", "text.txt", "--steps", "2")
        model = AutoModelForCausalLM.from_pretrained("out/checkpoint", local_files_only=True)
        model.save_pretrained("saved")
        AutoTokenizer.from_pretrained("out/checkpoint").save_pretrained("saved")
        draw = ("--prompt", "7 bottles", "--temperature", "0", "--max-new-tokens", "9")
        assert script("infer", "--checkpoint", "saved", *draw) == script("infer", *draw)
        ours, theirs = (
            json.loads(script("eval", "--data", "text.txt", "--checkpoint", folder))
            for folder in ("out/checkpoint", "saved")
        )
        assert (ours.pop("checkpoint_step"), theirs.pop("checkpoint_step")) == (2, None)
        assert ours == theirs
        begin = ("--init-from", "saved", "--data", "other.txt", "--out", "tuned")
        script("train", *begin, "--steps", "1", "--schedule-steps", "2")
        script("train", "--resume", "--data", "other.txt", "--out", "tuned", "--steps", "2")
        encode = [
            code["runtime.tokenizer"].load_tokenizer(tokenizer, Path(folder)).encode
            for folder in ("saved", "tuned/checkpoint")
        ]
        assert encode[0]("7 bottles") == encode[1]("7 bottles")
        if tokenizer == "bpe":
            script("data", "prepare", "--data", "other.txt", "--out", "tokens")
            with pytest.raises(SystemExit):
                script("train", "--init-from", "saved", "--data", "tokens", "--out", "new")
            assert "tokens of another tokenizer than saved" in capsys.readouterr().err
