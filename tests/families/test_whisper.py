"""Whisper: published counts, transformers' outputs and gradients, cached decoding, its searches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.plain_desk import PlainDesk
from helpers.whisper_settings import MODEL, SIZES, WITHOUT
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from metagen.families import parts
from metagen.families.trend import rows
from metagen.families.whisper import FAMILY, cache_bytes, encoder
from metagen.sizing import architecture
from metagen.spec import load


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, FAMILY, SIZES)) as modules:
        yield modules


def made(code: dict[str, ModuleType], **changed: int) -> Any:
    torch.manual_seed(0)
    network = code["model"].Model(code["model"].Config(**{**MODEL, **changed})).eval()
    # Biases and gains matter only where they are not 0 and 1.
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


@pytest.fixture
def model(code: dict[str, ModuleType]) -> Any:
    return made(code)


def full(row: dict[str, str]) -> dict[str, Any]:
    names = {"d_model": "d_model", "n_heads": "n_heads", "d_ff": "ffn", "n_mels": "mel_bands"}
    names |= {"n_encoder_layers": "n_layers", "n_decoder_layers": "decoder_layers"}
    names |= {"vocab_size": "vocab", "audio_positions": "audio_positions"}
    dims = {ours: int(row[theirs]) for ours, theirs in names.items()}
    return {**FAMILY.task.defaults, **dims, "text_length": int(row["text_positions"])}


def test_published_dimensions_give_the_published_counts() -> None:
    table = rows(published(FAMILY))
    assert len(table) >= 6
    counts = {row["model"]: FAMILY.count(full(dict(row))) for row in table}
    assert counts == {row["model"]: int(row["params_exact"]) for row in table}
    assert counts["whisper-tiny"] == 37_184_640
    assert counts["whisper-large-v3"] == 1_541_570_560


def test_transformers_counts_the_same_and_its_table_of_the_encoders_places() -> None:
    row = next(dict(each) for each in rows(published(FAMILY)) if each["model"] == "whisper-base")
    dims = full(row)
    with torch.device("meta"):
        theirs = WhisperForConditionalGeneration(configuration(dims))
    held = parts.state(encoder(dims))
    assert held == theirs.model.encoder.embed_positions.weight.numel()
    assert FAMILY.count(dims) + held == sum(p.numel() for p in theirs.parameters())


def configuration(m: dict[str, Any]) -> WhisperConfig:
    return WhisperConfig(
        vocab_size=m["vocab_size"],
        num_mel_bins=m["n_mels"],
        d_model=m["d_model"],
        encoder_layers=m["n_encoder_layers"],
        decoder_layers=m["n_decoder_layers"],
        encoder_attention_heads=m["n_heads"],
        decoder_attention_heads=m["n_heads"],
        encoder_ffn_dim=m["d_ff"],
        decoder_ffn_dim=m["d_ff"],
        max_source_positions=m["audio_positions"],
        max_target_positions=m["text_length"],
        dropout=0.0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=0,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )


def of_transformers(model: Any) -> Any:
    """Return transformers' model with our weights."""
    theirs = WhisperForConditionalGeneration(configuration(MODEL)).eval()
    names = {model.checkpoint_name(name): each for name, each in model.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(names, strict=False)
    assert (missing, unexpected) == (["proj_out.weight"], [])
    theirs.tie_weights()
    return theirs


def clips(count: int = 2) -> torch.Tensor:
    return torch.randn(count, MODEL["n_mels"], 2 * MODEL["audio_positions"])


def test_logits_and_gradients_are_those_of_transformers(model: Any) -> None:
    theirs = of_transformers(model)
    audio, tokens = clips(), torch.randint(2, 20, (2, 6))
    ours = model(audio, tokens)
    expected = theirs(input_features=audio, decoder_input_ids=tokens).logits
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(ours)
    for logits in (ours, expected):
        (logits * weight).sum().backward()
    others = dict(theirs.named_parameters())
    compared = 0
    for name, parameter in model.named_parameters():
        other = others.pop(model.checkpoint_name(name))
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-3)
        compared += 1
    # The encoder's positions are a table there, which is not trained.
    assert compared > 30
    assert [*others] == ["model.encoder.embed_positions.weight"]


def test_the_features_are_those_of_whisper(code: dict[str, ModuleType]) -> None:
    theirs = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    time = torch.arange(32_000) / 16_000
    wave = 0.3 * (2 * torch.pi * (300 + 900 * time) * time).sin() + 0.01 * torch.randn(32_000)
    wave[20_000:] = 0
    expected = theirs(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    own = code["data"].log_mel_features(wave[None], 16_000, 400, 160, 80)
    torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-3)


def test_decoding_with_a_cache_writes_what_full_passes_predict(
    code: dict[str, ModuleType], model: Any
) -> None:
    audio, start = clips(3), code["model"].START
    texts = code["model"].transcribe(model, audio)
    assert any(texts)
    for clip, text in zip(audio, texts, strict=True):
        tokens = torch.tensor([[start, *text]])[:, : MODEL["text_length"]]
        best = model(clip[None], tokens).argmax(-1)[0].tolist()
        ended = [*text, code["model"].END_OF_TEXT][: MODEL["text_length"]]
        assert best == ended


def of_full_passes(code: ModuleType, model: Any, clip: torch.Tensor, beams: int) -> list[int]:
    """Search as the family does, with a pass over all of each text for each of its tokens."""
    texts, ended = [(0.0, [code.START])], []
    for length in range(1, MODEL["text_length"] + 1):
        found = []
        for score, text in texts:
            logits = model(clip, torch.tensor([text]))[0, -1].log_softmax(-1).tolist()
            found += [(score + each, [*text, token]) for token, each in enumerate(logits)]
        found = sorted(found, key=lambda each: -each[0])[: 2 * beams]
        ended += [(s / length, t[1:-1]) for s, t in found if t[-1] == code.END_OF_TEXT]
        texts = [each for each in found if each[1][-1] != code.END_OF_TEXT][:beams]
        if len(ended) >= beams:
            break
    return max(ended or [(s, t[1:]) for s, t in texts])[1]


def test_a_beam_finds_what_a_search_of_full_passes_finds(
    code: dict[str, ModuleType], model: Any
) -> None:
    for clip in clips(3):
        (own,) = code["model"].transcribe(model, clip[None], 3)
        assert own == of_full_passes(code["model"], model, clip[None], 3)


def test_a_beam_ends_with_the_likeliest_text_where_greedy_search_does_not(
    code: dict[str, ModuleType], model: Any
) -> None:
    def chance(clip: torch.Tensor, text: list[int]) -> float:
        tokens = torch.tensor([[code["model"].START, *text]])
        after = torch.tensor([*text, code["model"].END_OF_TEXT])
        logits = model(clip, tokens)[0].log_softmax(-1)
        return float(logits[torch.arange(len(after)), after].mean())

    for clip in clips(4):
        one, many = (code["model"].transcribe(model, clip[None], beams)[0] for beams in (1, 20))
        if len(one) < MODEL["text_length"] and len(many) < MODEL["text_length"]:
            assert chance(clip[None], many) >= chance(clip[None], one) - 1e-5


@pytest.fixture
def listener(code: dict[str, ModuleType]) -> Any:
    return made(code, **WITHOUT)


def test_an_encoder_alone_has_no_decoder_and_writes_by_its_positions(
    code: dict[str, ModuleType], listener: Any
) -> None:
    assert listener.decoder is None
    assert listener.num_params() == FAMILY.count({**MODEL, **WITHOUT})
    assert cache_bytes({**MODEL, **WITHOUT}) == 0
    assert listener(clips()).shape == (2, MODEL["audio_positions"], MODEL["vocab_size"])
    texts = code["model"].transcribe(listener, clips())
    assert all(token != code["model"].END_OF_TEXT for text in texts for token in text)


def test_the_greedy_text_of_positions_joins_repeats_and_leaves_blanks_out(
    code: dict[str, ModuleType],
) -> None:
    path = torch.tensor([0, 3, 3, 0, 3, 5, 5, 0])
    chances = torch.nn.functional.one_hot(path, 6).float()
    assert code["model"].collapsed(chances) == [3, 3, 5]


def test_a_prefix_search_finds_the_text_with_the_likeliest_paths(
    code: dict[str, ModuleType],
) -> None:
    torch.manual_seed(3)
    for _ in range(5):
        chances = (2 * torch.randn(4, 3)).log_softmax(-1)
        sums: dict[tuple[int, ...], float] = {}
        for path in itertools.product(range(3), repeat=4):
            text = tuple(key for key, _ in itertools.groupby(path) if key)
            chance = float(sum(chances[place, token] for place, token in enumerate(path)))
            sums[text] = sums.get(text, 0.0) + torch.tensor(chance).exp().item()
        best = max(sums, key=lambda text: sums[text])
        assert code["model"].prefixes(chances, 20) == list(best)
        # torch's loss is of the same sum.
        loss = torch.nn.functional.ctc_loss(
            chances[:, None],
            torch.tensor([best or (1,)]),
            torch.tensor([4]),
            torch.tensor([len(best)]),
            reduction="sum",
        )
        assert float(loss) == pytest.approx(-torch.tensor(sums[best]).log().item(), rel=1e-4)


def test_the_objective_says_whether_there_is_a_decoder(tmp_path: Path) -> None:
    def fixed(objective: str) -> dict[str, Any]:
        spec = tmp_path / "spec.yaml"
        head = 'metagen_version: "1.0"\nname: a\nmodality: {inputs: [audio], outputs: [text]}\n'
        spec.write_text(f"{head}training: {{objective: {objective}}}\n")
        return FAMILY.fixed(load(spec).key)

    assert fixed("[ctc]") == {"n_decoder_layers": 0, "text_length": 0}
    assert fixed("[autoregressive]") == fixed("[autoregressive, ctc]") == {}


def test_writing_reads_the_decoder_for_each_token_and_the_encoder_once() -> None:
    m = {**FAMILY.task.defaults, **MODEL}
    one, two = (FAMILY.demand({**m, "text_length": n}).first for n in (8, 9))
    head = m["vocab_size"] * m["d_model"]
    weights = FAMILY.count({**m, "text_length": 8}) - parts.count(encoder(m))
    cached = cache_bytes({**m, "text_length": 8})
    assert one.calls == 8
    assert one.bytes == 2 * parts.count(encoder(m)) + 8 * (2 * weights + cached)
    assert two.bytes > one.bytes
    assert weights > head


def test_a_spec_of_ctc_alone_is_designed_without_a_decoder(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    head = 'metagen_version: "1.0"\nname: a\nmodality: {inputs: [audio], outputs: [text]}\n'
    spec.write_text(
        f"{head}constraints: {{parameter_budget: {{max: 5M}}}}\ntraining: {{objective: [ctc]}}\n"
    )
    desk = PlainDesk.of(spec)
    desk.package |= architecture.work(desk)
    whole = desk.entry("blueprint/architecture.yaml")
    assert whole["model"]["n_decoder_layers"] == whole["proxy"]["model"]["n_decoder_layers"] == 0
    assert whole["train"]["ctc_share"] == whole["proxy"]["train"]["ctc_share"] == 0.0
