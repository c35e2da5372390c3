"""The video diffusion Transformer: published counts, diffusers' outputs and gradients, windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, published, write_code
from helpers.plain_desk import PlainDesk, spec_of
from helpers.video_settings import MODEL, SETTINGS
from helpers.wan import their_state
from torch import nn

from metagen import families
from metagen.families.trend import rows
from metagen.families.video_dit import FAMILY
from metagen.sizing import search

TABLE = {row["model"]: row for row in rows(published(FAMILY))}
TEXT = 4096  # numbers of a token of Wan's text encoder
LATENT = {"image_height": 64, "image_width": 64, "num_frames": 8, "given_frames": 2}
WAN = {"Wan2.1-T2V-1.3B": 16, "Wan2.1-T2V-14B": 16, "Wan2.2-TI2V-5B": 48}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with modules_of(write_code(tmp_path_factory.mktemp("video"), FAMILY, SETTINGS)) as modules:
        yield modules["model"]


@pytest.mark.parametrize("name", WAN)
def test_published_dimensions_give_the_published_count(name: str) -> None:
    row = TABLE[name]
    d, layers = int(row["d_model"]), int(row["n_layers"])
    dims = {
        **{**MODEL, **LATENT, "patch_frames": 1, "patch_size": 2, "image_channels": WAN[name]},
        **{"d_model": d, "n_layers": layers, "n_heads": int(row["n_heads"])},
        **{"d_ff": int(row["ffn"]), "time_dim": 256},
    }
    # Wan's two layers on a text, and in each block attention to it with three norms' gains.
    text = TEXT * d + d + d * d + d + layers * (4 * (d * d + d) + 2 * d + 2 * d)
    assert FAMILY.count(dims) == int(row["params_without_text"])
    assert FAMILY.count(dims) + text == int(row["params_exact"])
    assert TABLE["Wan2.1-T2V-1.3B"]["params_exact"] == "1418996800"


def test_the_table_of_latte_has_its_closed_form() -> None:
    for name in ("Latte-S/2", "Latte-B/2", "Latte-L/2", "Latte-XL/2"):
        row = TABLE[name]
        d, layers = int(row["d_model"]), int(row["n_layers"])
        time, last = 256 * d + d + d * d + d, 2 * d * d + 2 * d + 32 * d + 32
        assert 16 * d + d + time + layers * (18 * d * d + 15 * d) + last == int(row["params_exact"])


def wan(ours: Any) -> Any:
    """Return diffusers' Wan with our weights, in which the text adds nothing."""
    diffusers = pytest.importorskip("diffusers")
    c = ours.config
    theirs = diffusers.WanTransformer3DModel(
        patch_size=(c.patch_frames, c.patch_size, c.patch_size),
        num_attention_heads=c.n_heads,
        attention_head_dim=c.d_model // c.n_heads,
        in_channels=c.image_channels,
        out_channels=c.image_channels,
        text_dim=4,
        freq_dim=c.time_dim,
        ffn_dim=c.d_ff,
        num_layers=c.n_layers,
    )
    lacking, unknown = theirs.load_state_dict(their_state(ours.state_dict()), strict=False)
    assert not unknown
    assert all("attn2" in n or "norm2" in n or "text_embedder" in n for n in lacking)
    for block in theirs.blocks:
        for weight in block.attn2.to_out[0].parameters():
            nn.init.zeros_(weight)
    return theirs


def test_outputs_and_gradients_are_those_of_diffusers(model: ModuleType) -> None:
    torch.manual_seed(0)
    ours = model.Model(model.Config(**MODEL))
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.2)
    theirs, c = wan(ours), ours.config
    given, noisy, t = torch.randn(2, 3, 2, 12, 8), torch.randn(2, 3, 4, 12, 8), torch.rand(2)
    # Given patches have the time 0, and each of the six of a step the same time.
    times = torch.cat((torch.zeros(2, 6), 1000 * t[:, None].expand(2, 12)), dim=1)
    text = torch.zeros(2, 1, 4)
    found = ours(given, noisy, t)
    whole = theirs(torch.cat((given, noisy), 2), times, text, return_dict=False)[0]
    assert found.shape == noisy.shape
    torch.testing.assert_close(found, whole[:, :, c.given_frames :], atol=1e-5, rtol=1e-4)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (whole[:, :, c.given_frames :] * weights).sum().backward()
    gradients = dict(theirs.named_parameters())
    own = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    assert len(own) == len(list(ours.parameters()))
    for name, gradient in their_state(own).items():
        expected = gradients[name].grad
        torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=1e-3, msg=name)


def test_factorized_blocks_see_a_step_and_then_a_place(model: ModuleType) -> None:
    torch.manual_seed(0)
    config = model.Config(**{**MODEL, "n_layers": 1, "factorized": True})
    x, rotary = torch.randn(1, 3, 6, 32), model.rotary_table(config, 3, torch.device("cpu"))
    for along, (step, place) in (("space", (1, slice(None))), ("time", (slice(None), 4))):
        attention = model.Attention(config, along)
        changed = x.clone()
        changed[:, 1, 4] += 1
        moved = (attention(changed, rotary) - attention(x, rotary)).abs().sum(-1)[0] > 1e-6
        seen = torch.zeros_like(moved)
        seen[step, place] = True
        assert torch.equal(moved, seen)


def test_a_new_model_predicts_nothing_and_each_block_adds_nothing(model: ModuleType) -> None:
    ours = model.Model(model.Config(**MODEL))
    clips = torch.randn(1, 3, 2, 12, 8), torch.randn(1, 3, 4, 12, 8)
    assert not ours(*clips, torch.rand(1)).any()
    x, time = torch.randn(1, 3, 6, 32), torch.zeros(1, 3, 6, 32)
    rotary = model.rotary_table(ours.config, 3, x.device)
    assert torch.equal(ours.layers[0](x, time, rotary), x)


def design(tmp_path: Path, *lines: str) -> Any:
    """Return the design for a spec with further lines."""
    (route,) = (each for each in families.ROUTES if each.family == "video_dit")
    desk = PlainDesk(spec_of(route) + "".join(f"{line}\n" for line in lines), tmp_path)
    return search.solution(desk).design


def test_a_window_of_patches_is_reached_with_the_fewest_frames(tmp_path: Path) -> None:
    budget = "parameter_budget: {max: 300M}"
    found = design(tmp_path, f"constraints: {{{budget}, context_window: 2000}}")
    assert FAMILY.context(found.dims) == 2048
    assert (found.dims["num_frames"], found.dims["given_frames"]) == (16, 4)
    found = design(
        tmp_path, f"constraints: {{{budget}, context_window: infinite, memory_budget: 1GB}}"
    )
    assert found.fits
    assert FAMILY.context(found.dims) > 4096
    longer = {**found.dims, **found.formats, "num_frames": 2 * found.dims["num_frames"]}
    assert FAMILY.demand(longer).memory > 1e9


def test_a_rate_counts_the_generated_frames(tmp_path: Path) -> None:
    device = "device: consumer_gpu, parameter_budget: {max: 30M}, image_size: 64"
    plain = design(tmp_path, f"constraints: {{{device}}}")
    generated = plain.dims["num_frames"] - plain.dims["given_frames"]
    assert plain.demand.worth == {"fps": generated}
    assert plain.formats == {"sampling_steps": 50}
    fast = design(tmp_path, f"constraints: {{{device}, throughput: 3000fps}}")
    assert fast.formats["sampling_steps"] < 50


def test_a_cnn_is_said_to_be_followed_in_part() -> None:
    left = FAMILY.task.left_out({"architecture.family": "cnn"}.get)
    assert "convolution" in left["architecture.family"]
    assert not FAMILY.task.left_out({"architecture.family": "diffusion"}.get)
