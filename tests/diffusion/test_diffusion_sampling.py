"""Noise is added and taken away as diffusers does, and guidance follows its formula."""

from __future__ import annotations

import sys

import pytest
import torch
from diffusion_settings import Modules


@pytest.mark.parametrize(
    ("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_noise_and_ddim_are_those_of_diffusers(code: Modules, ours: str, theirs: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    noise = sys.modules["runtime.diffusion"]
    left = noise.signal(ours, 1000)
    scheduler = diffusers.DDIMScheduler(
        beta_schedule=theirs, beta_start=1e-4, beta_end=0.02, clip_sample=True
    )
    torch.testing.assert_close(left, scheduler.alphas_cumprod, atol=1e-6, rtol=1e-4)
    x, steps = torch.randn(2, 1, 4, 4), 4

    def predict(images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * images + t.view(-1, 1, 1, 1))

    found = noise.sample(predict, x, left, steps)
    scheduler.set_timesteps(steps)
    for level in noise.sampling_levels(1000, steps):
        level_of_all = torch.full((2,), level)
        step = scheduler.step(predict(x, level_of_all), level, x, use_clipped_model_output=True)
        x = step.prev_sample
    torch.testing.assert_close(found, step.pred_original_sample, atol=1e-4, rtol=1e-3)


def test_guidance_leads_away_from_no_caption(code: Modules) -> None:
    noise = sys.modules["runtime.diffusion"]
    told, nothing = torch.tensor([5.0, 7.0]), torch.tensor([1.0, 1.0])

    def model(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return x + c.view(-1, 1, 1, 1)

    x, t = torch.zeros(2, 1, 1, 1), torch.zeros(2)
    one, three = (noise.guided(model, told, nothing, w)(x, t).flatten() for w in (1, 3))
    assert one.tolist() == [5, 7]
    assert three.tolist() == [1 + 3 * 4, 1 + 3 * 6]
