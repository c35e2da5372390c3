"""MusicGen: published counts, transformers' outputs and gradients, cached decoding, its codec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import Held, modules_of, published, write_code
from helpers.musicgen_settings import MODEL, SIZES
from helpers.plain_desk import PlainDesk
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    EncodecConfig,
    EncodecModel,
    MusicgenDecoderConfig,
    MusicgenForCausalLM,
)

from metagen import families
from metagen.errors import SpecError
from metagen.families import encodec as closed
from metagen.families import musicgen, parts
from metagen.families.musicgen import FAMILY
from metagen.families.trend import rows
from metagen.sizing import devices, need
from metagen.tasks.audio_generation import hop
from metagen.units import CLIP

USUAL = {name: value for name, (value, _) in FAMILY.constants.items()}
# facebook/encodec_32khz, which MusicGen reads: 58 million parameters without its buffers.
CODEC = {"codec_filters": 64, "codec_dim": 128, "codebook_size": 2048}
TEXT = {"text_width": 768, "text_layers": 12, "text_heads": 12}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, FAMILY, SIZES)) as modules:
        yield modules


@pytest.fixture
def model(code: dict[str, ModuleType]) -> Any:
    torch.manual_seed(0)
    network = code["model"].Model(code["model"].Config())
    for head in network.decoder.lm_heads:
        torch.nn.init.normal_(head.weight)
    return network


def full(row: dict[str, str]) -> dict[str, Any]:
    names = {"d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "d_ff": "ffn"}
    dims = {ours: int(row[theirs]) for ours, theirs in names.items()}
    dims |= {"n_kv_heads": dims["n_heads"], "n_codebooks": int(row["codebooks"])}
    return {**USUAL, **CODEC, **TEXT, **dims, "max_seq_len": 1500}


def test_published_dimensions_give_the_published_counts() -> None:
    table = rows(published(FAMILY))
    assert len(table) >= 6
    counts = {row["model"]: FAMILY.size(full(dict(row))) for row in table}
    assert counts == {row["model"]: int(row["params_exact"]) for row in table}
    assert counts["musicgen-small"] == 419_584_000


def test_the_codec_counts_what_transformers_does() -> None:
    with torch.device("meta"):
        theirs = EncodecModel(encodec(USUAL | CODEC))
    assert musicgen.codec_count(64) == sum(p.numel() for p in theirs.parameters()) == 56_884_674


def encodec(m: dict[str, Any]) -> EncodecConfig:
    """Return the configuration of transformers' codec of the same form."""
    strides = [m[f"stride_{level}"] for level in (4, 3, 2, 1)]
    return EncodecConfig(
        sampling_rate=m["sample_rate"],
        hidden_size=m["codec_dim"],
        codebook_dim=m["codec_dim"],
        num_filters=m["codec_filters"],
        upsampling_ratios=strides,
        codebook_size=m["codebook_size"],
        num_lstm_layers=m["codec_lstm_layers"],
        use_causal_conv=False,
        use_conv_shortcut=False,
        pad_mode="constant",
        normalize=False,
        target_bandwidths=[m.get("n_codebooks", 4) * 10 * m["sample_rate"] / hop(m) / 1000],
    )


@pytest.mark.parametrize("captioned", [True, False])
def test_logits_and_gradients_are_those_of_transformers(model: Any, captioned: bool) -> None:
    theirs = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=8,
            num_codebooks=3,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=24,
            dropout=0.0,
            max_position_embeddings=64,
        )
    )
    names = {n if n.startswith("lm_heads") else f"model.decoder.{n}": p for n, p in own(model)}
    missing, unexpected = theirs.load_state_dict(names, strict=False)
    assert (missing, unexpected) == ([], [])
    moved = torch.randint(9, (2, 3, 11))
    text = torch.randn(2, 5, 16) if captioned else None
    ours = model.decoder(moved, model.decoder.captions(text))
    expected = theirs(moved.flatten(0, 1), encoder_hidden_states=text).logits.view(2, 3, 11, 8)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    weight = torch.randn_like(ours)
    for logits in (ours, expected):
        (logits * weight).sum().backward()
    others = dict(theirs.named_parameters())
    compared = 0
    for name, parameter in own(model):
        other = others[name if name.startswith("lm_heads") else f"model.decoder.{name}"]
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-4)
            compared += 1
    assert compared == len(others) - (0 if captioned else 2 * 6)


def own(model: Any) -> list[tuple[str, Tensor]]:
    return list(model.decoder.named_parameters())


def test_the_codec_is_that_of_transformers(model: Any) -> None:
    theirs = EncodecModel(encodec(MODEL))
    theirs.load_state_dict(renamed(model.codec), strict=False)
    wave = torch.randn(2, 1, 20 * hop(MODEL))
    passed = theirs(wave)
    codes = model.codec.encode(wave)
    # It counts ten bits for a codebook, and so has more of them; their entries are 0.
    assert torch.equal(codes, passed.audio_codes[0][:, :3])
    made = model.codec.decode(codes)
    torch.testing.assert_close(made, passed.audio_values, rtol=1e-4, atol=1e-5)
    for each in (made, passed.audio_values):
        each.square().sum().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    ours = renamed(model.codec, gradient=True)
    assert len(gradients) >= 20
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5)


def renamed(codec: Any, *, gradient: bool = False) -> dict[str, Tensor]:
    """Return weights, or their gradients, by the names of transformers."""
    inner = {"narrow": "block.1", "widen": "block.3"}
    weight = "parametrizations.weight.original"
    last = {"direction": f"conv.{weight}1", "length": f"conv.{weight}0", "bias": "conv.bias"}
    found = {}
    for name, parameter in codec.named_parameters():
        value = parameter.grad if gradient else parameter.detach()
        if name == "codebooks" or value is None:
            continue
        side, place, *rest = name.split(".")
        ends = [inner.get(word, last.get(word, word)) for word in rest]
        shaped = value[:, None, None] if rest[-1] == "length" else value
        found[".".join((side, "layers", place, *ends))] = shaped
    if not gradient:
        for place, book in enumerate(codec.codebooks.detach()):
            found[f"quantizer.layers.{place}.codebook.embed"] = book
    return found


def test_codebooks_are_delayed_by_a_frame_each_and_come_back(code: dict[str, ModuleType]) -> None:
    codes = torch.arange(1, 9).view(1, 2, 4)
    moved = code["model"].delayed(codes, 0)
    assert moved.tolist() == [[[1, 2, 3, 4, 0], [0, 5, 6, 7, 8]]]
    assert torch.equal(code["model"].aligned(moved), codes)


def test_a_token_depends_on_those_before_it_in_the_delayed_order(model: Any) -> None:
    codes, text = torch.randint(8, (1, 3, 9)), torch.zeros(1, 6, dtype=torch.int64)
    before = model(codes, text)
    codes[0, 1, 4] = (codes[0, 1, 4] + 1) % 8  # at position 4 + 1
    changed = (model(codes, text) != before).any(-1)[0]  # (K, P)
    assert not changed[:, :6].any()
    assert changed[:, 6:].all()


def test_decoding_with_a_cache_draws_what_passes_over_all_tokens_predict(
    code: dict[str, ModuleType], model: Any
) -> None:
    start, text = torch.randint(8, (1, 3, 4)), torch.randint(257, (1, 6))
    codes = code["model"].generate(model.eval(), start, text, 7, temperature=0)
    assert codes.shape == (1, 3, 11)
    assert torch.equal(codes[..., :4], start)
    best = model(codes, text).argmax(-1)  # (1, K, T + K - 1)
    assert torch.equal(code["model"].aligned(best)[..., 4:], codes[..., 4:])


def test_a_long_clip_is_decoded_in_pieces_that_fit(
    code: dict[str, ModuleType], model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code["infer"], "PIECE", 64)
    codes = torch.randint(8, (3, 100))
    sound = code["infer"].sound(model, codes)
    whole = model.codec.decode(codes[None])[0, 0].detach().numpy()
    assert sound.shape == whole.shape == (100 * hop(MODEL),)
    assert abs(sound - whole).max() < 0.01 * abs(whole).max()


def test_the_codec_takes_the_operations_and_the_numbers_of_its_closed_form(model: Any) -> None:
    frames = 40
    with torch.device("meta"):
        outline = type(model)(model.config)
        wave = torch.zeros(1, 1, frames * hop(MODEL))
        codes = torch.zeros(1, 3, frames, dtype=torch.int64)
    for each, made in (
        (lambda: outline.codec.encode(wave), (closed.encoder, closed.books)),
        (lambda: outline.codec.decode(codes), (closed.decoder,)),
    ):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            each()
        expected = parts.flops(part for one in made for part in one(MODEL, frames))
        assert counter.get_total_flops() == expected
    with torch.no_grad(), Held([*model.parameters()]) as held:
        model.codec.decode(torch.zeros(1, 3, 512, dtype=torch.int64))
    planned = 4 * max(p.numbers for p in FAMILY.peaks({**MODEL, "max_seq_len": 512}))
    assert 0.9 <= held.most / planned <= 1.1


def test_a_frame_costs_what_one_more_position_takes(model: Any) -> None:
    with torch.device("meta"):
        outline = type(model)(model.config)
        text = torch.zeros(1, 6, dtype=torch.int64)
        cache = outline.decoder.new_cache(1, 32)
        captions = outline.read(text)
        moved = torch.zeros(1, 3, 20, dtype=torch.int64)
        outline.decoder(moved, captions, cache)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            outline.decoder(moved[..., :1], captions, cache)
    assert counter.get_total_flops() == parts.flops(musicgen.transformer(MODEL, 1, 20))


def test_a_frame_is_worth_tokens_and_seconds_of_sound() -> None:
    m = full({**dict(rows(published(FAMILY))[1])})
    worth = FAMILY.demand(m).worth
    assert worth == {"tok/s": 4, CLIP: pytest.approx(60 / 50)}


@pytest.mark.parametrize("inputs", [("audio",), ("text",), ("text", "audio")])
def test_audio_from_audio_or_text_leads_here(inputs: tuple[str, ...]) -> None:
    keys = {"modality.inputs": inputs, "modality.outputs": ("audio",), "task.type": "generation"}
    assert families.route(keys.get) == "musicgen"
    silent = "text" not in inputs
    assert FAMILY.fixed(keys.get) == (dict.fromkeys(musicgen.TEXT, 0) if silent else {})


def test_a_rate_of_sound_is_one_of_frames_and_another_thing_is_refused(tmp_path: Path) -> None:
    m = full({**dict(rows(published(FAMILY))[1])})
    spec = "constraints: {device: RTX-4090, throughput: %s}\n"
    used = {}
    for rate in ("30s clip/min", "25 tok/s"):
        desk = PlainDesk(spec % rate, tmp_path)
        (limit,) = need.limits(desk, FAMILY, devices.target(desk))[1:]
        used[rate] = limit.used(FAMILY.demand(m)) / limit.allowed
        assert "to read for each frame" in limit.text(FAMILY.demand(m))
    # Half a second of sound a second is 25 frames, which are 100 tokens.
    assert used["30s clip/min"] == pytest.approx(4 * used["25 tok/s"])
    with pytest.raises(SpecError, match="counted in tok/s or s clip/min"):
        need.limits(PlainDesk(spec % "2 img/s", tmp_path), FAMILY, None)
