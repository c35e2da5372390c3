"""The diffusion Transformer of talking heads: diffusers' outputs, what a step hears, designs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.plain_desk import PlainDesk
from helpers.talking_settings import MODEL, SETTINGS
from helpers.wan import their_state
from torch import nn

from metagen import families, paths
from metagen.families import effects
from metagen.families.talking_head_dit import FAMILY
from metagen.families.trend import rows
from metagen.sizing import search
from metagen.spec import load

TABLE = {row["model"]: row for row in rows(published(FAMILY))}
SPEC = paths.specs() / "video/video_realtime_avatar.yaml"
THEIR_TEXT = 512  # places of a text that diffusers tells from those of an image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with modules_of(write_code(tmp_path_factory.mktemp("heads"), FAMILY, SETTINGS)) as modules:
        yield modules["model"]


@pytest.mark.parametrize("name", ["OmniAvatar-1.3B", "Hallo3", "Wan2.2-S2V-14B"])
def test_the_table_counts_blocks_of_our_form_as_diffusers_builds_them(name: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    row = TABLE[name]
    width = int(row["d_model"])
    with torch.device("meta"):
        theirs = diffusers.WanTransformer3DModel(
            num_attention_heads=int(row["n_heads"]),
            attention_head_dim=width // int(row["n_heads"]),
            ffn_dim=int(row["ffn"]),
            num_layers=int(row["n_layers"]),
            added_kv_proj_dim=width,
        )
    counted = sum(weight.numel() for weight in theirs.blocks.parameters())
    assert counted == int(row["params_of_blocks"])
    dims = {**MODEL, "d_model": width, "n_layers": int(row["n_layers"]), "d_ff": int(row["ffn"])}
    assert FAMILY.size(dims) == counted


def test_the_table_has_models_that_hear_with_a_source_for_each() -> None:
    hearing = [row for row in TABLE.values() if "without sound" not in row["dims_source"]]
    assert len(hearing) >= 5
    assert all(row["dims_source"] and row["params_published"] for row in hearing)
    for row in TABLE.values():
        d, f = int(row["d_model"]), int(row["ffn"])
        block = 10 * d * d + 2 * d * f + 24 * d + f
        assert int(row["params_of_blocks"]) == int(row["n_layers"]) * block


def wan(ours: Any) -> Any:
    """Return diffusers' Wan with our weights, whose image is what a step hears."""
    diffusers = pytest.importorskip("diffusers")
    c = ours.config
    theirs = diffusers.WanTransformer3DModel(
        patch_size=(c.patch_frames, c.patch_size, c.patch_size),
        num_attention_heads=c.n_heads,
        attention_head_dim=c.d_model // c.n_heads,
        in_channels=2 * c.image_channels,
        out_channels=c.image_channels,
        text_dim=c.text_width,
        freq_dim=c.time_dim,
        ffn_dim=c.d_ff,
        num_layers=c.n_layers,
        added_kv_proj_dim=c.d_model,
    )
    theirs.condition_embedder.image_embedder = nn.Identity()
    own = {n: t for n, t in ours.state_dict().items() if "audio_in" not in n}
    state = {n: t for n, t in own.items() if "text_encoder" not in n and n != "audio_places"}
    theirs.load_state_dict(their_state(state))
    return theirs


def test_outputs_and_gradients_are_those_of_diffusers(model: ModuleType) -> None:
    torch.manual_seed(0)
    ours = model.Model(model.Config(**{**MODEL, "text_length": THEIR_TEXT}))
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.2)
    theirs, c = wan(ours), ours.config
    portrait, given = torch.randn(2, 3, 12, 8), torch.randn(2, 3, 2, 12, 8)
    noisy, t = torch.randn(2, 3, 4, 12, 8), torch.tensor([0.3, 0.9])
    caption = model.conditions(c, ["a face", "another one"])
    # Where all is zero, each step hears the same: the places of what it hears.
    sound = torch.zeros(2, 8, 4, c.bands)
    heard = ours.heard(sound)
    assert torch.equal(heard, heard[:, :1].expand_as(heard))
    found = ours(portrait, given, noisy, t, sound, caption)
    frames = torch.cat((portrait[:, :, None].repeat(1, 1, 2, 1, 1), given, noisy), dim=2)
    frames = torch.cat((frames, portrait[:, :, None].expand_as(frames)), dim=1)
    # The patches of the portrait and of given frames have the time 0; a step has six patches.
    times = torch.cat((torch.zeros(2, 12), 1000 * t[:, None].expand(2, 12)), dim=1)
    text = ours.text_encoder(caption)
    whole = theirs(frames, times, text, heard[:, 0], return_dict=False)[0]
    expected = (noisy - portrait[:, :, None] - whole[:, :, 4:]) / t.view(2, 1, 1, 1, 1)
    assert found.shape == noisy.shape
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    weights = torch.randn_like(found)
    own = dict(ours.named_parameters())
    named = [n for n in own if "encoder" not in n and "audio_in" not in n and n != "audio_places"]
    mine = torch.autograd.grad((found * weights).sum(), [own[n] for n in named], retain_graph=True)
    (expected * weights).sum().backward()
    gradients = dict(theirs.named_parameters())
    for name, gradient in their_state(dict(zip(named, mine, strict=True))).items():
        their_own = gradients[name].grad
        torch.testing.assert_close(gradient, their_own, atol=1e-2, rtol=5e-3, msg=name)


def test_a_new_model_draws_the_portrait(model: ModuleType) -> None:
    ours = model.Model(model.Config(**MODEL))
    portrait, sound = torch.randn(1, 3, 12, 8), torch.randn(1, 8, 4, ours.config.bands)
    given, noisy = torch.randn(1, 3, 2, 12, 8), torch.randn(1, 3, 4, 12, 8)
    caption = model.conditions(ours.config, ["a face"])
    velocity = ours(portrait, given, noisy, torch.ones(1), sound, caption)
    torch.testing.assert_close(noisy - velocity, portrait[:, :, None].expand_as(noisy))
    soon = ours(portrait, given, noisy, torch.tensor([0.01]), sound, caption)
    torch.testing.assert_close(soon, velocity / model.LEAST_TIME)


def test_a_step_hears_its_frames_and_some_around_them(model: ModuleType) -> None:
    torch.manual_seed(0)
    ours = model.Model(model.Config(**MODEL))
    sound = torch.randn(1, 8, 4, ours.config.bands)
    heard = ours.heard(sound)
    assert heard.shape == (1, 4, 16, 32)
    assert torch.equal(heard[:, :1], ours.heard(torch.zeros_like(sound))[:, :1])
    for step, first in ((1, 0), (2, 2), (3, 4)):
        own = ours.audio_in(sound[:, first : first + 4].flatten(1, 2)) + ours.audio_places
        torch.testing.assert_close(heard[:, step], own)


def test_patches_read_the_sound_of_their_step_alone(model: ModuleType) -> None:
    torch.manual_seed(0)
    config = model.Config(**MODEL)
    read, x = model.Read(config), torch.randn(1, 4, 6, 32)
    text, audio = torch.randn(1, 10, 32), torch.randn(1, 4, 16, 32)
    changed = audio.clone()
    changed[:, 2] += 1
    moved = (read(x, text, changed) - read(x, text, audio)).abs().sum(-1)[0] > 1e-6
    assert moved[2].all()
    assert not moved[[0, 1, 3]].any()
    assert ((read(x, text + 1, audio) - read(x, text, audio)).abs().sum(-1) > 1e-6).all()


def test_the_full_model_fills_its_budget_and_its_window_and_its_limits_are_judged() -> None:
    found = search.solution(PlainDesk.of(SPEC))
    design = found.design
    assert 0.99 * 20e9 <= design.parameters <= 20e9
    assert FAMILY.context(design.dims) == 2**20
    assert design.dims["num_frames"] // design.dims["patch_frames"] + 1 == 4096
    # Twenty billion weights in bf16 and a million patches exceed every limit of the spec.
    assert not design.fits
    assert design.demand.weights > 12e9
    assert design.formats == {"sampling_steps": 10}
    assert design.dims["factorized"]


def test_a_small_model_of_short_chunks_keeps_up_with_its_frames(tmp_path: Path) -> None:
    budget = "parameter_budget: {max: 50M}, device: consumer_gpu, image_size: 128"
    limits = "context_window: 512, throughput: 30fps, memory_budget: 12GB"
    spec = "modality: {inputs: [text, image, audio], outputs: [video, audio]}\n"
    spec += "task: {type: generation}\n" + f"constraints: {{{budget}, {limits}}}\n"
    design = search.solution(PlainDesk(spec, tmp_path)).design
    assert design.fits
    made = design.dims["num_frames"] - design.dims["given_frames"]
    assert design.demand.worth == {"fps": made}


def test_the_spec_is_told_what_it_does_not_get() -> None:
    key = load(SPEC).key
    assert families.route(key) == "talking_head_dit"
    unused = {each.key: each.reason for each in effects.unused(FAMILY, key)}
    assert "no sound is generated" in unused["modality.outputs"]
    assert "autoregressive over chunks" in unused["training.objective"]
    assert "hybrid" in unused["architecture.family"]
    plain = FAMILY.task.left_out({"modality.outputs": ("video",)}.get)
    assert "modality.outputs" not in plain
