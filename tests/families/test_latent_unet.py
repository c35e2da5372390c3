"""The latent U-Net: what a spec says of its latents."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.plain_desk import PlainDesk

from metagen.errors import SpecError
from metagen.families.latent_unet import FAMILY as latent_unet
from metagen.sizing import search


@pytest.mark.parametrize(
    ("declared", "patch"),
    [
        ({"image_size": (512, 512), "latent_size": (64, 64)}, 8),
        ({"image_size": (512, 256), "latent_size": (64, 32)}, 8),
        ({"latent_size": (256, 256)}, 4),
        ({"image_size": (512, 512), "latent_size": (64, 64), "patch_size": (8, 8)}, 8),
    ],
)
def test_the_size_of_latents_fixes_the_patch(declared: dict[str, object], patch: int) -> None:
    key = {f"constraints.{name}": value for name, value in declared.items()}
    assert latent_unet.fixed(key.get)["patch_size"] == patch


def test_the_size_of_latents_goes_by_a_pinned_image() -> None:
    key = {"constraints.latent_size": (32, 32), "architecture.dims": {"image_height": 256}}
    assert latent_unet.fixed(key.get)["patch_size"] == 8


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"image_size": (500, 500), "latent_size": (64, 64)}, "does not divide the image"),
        ({"image_size": (512, 512), "latent_size": (64, 32)}, "does not divide the image"),
        ({"image_size": (32, 32), "latent_size": (64, 64)}, "does not divide the image"),
        ({"image_size": (64, 64), "latent_size": (8, 8), "patch_size": (4, 4)}, "unlike"),
    ],
)
def test_latents_that_do_not_fit_are_refused(declared: dict[str, object], sentence: str) -> None:
    key = {f"constraints.{name}": value for name, value in declared.items()}
    with pytest.raises(SpecError, match=sentence):
        latent_unet.fixed(key.get)


def test_the_reason_of_a_patch_names_the_keys_that_fix_it(tmp_path: Path) -> None:
    desk = PlainDesk(
        "modality: {inputs: [text], outputs: [image]}\n"
        "constraints: {parameter_budget: {max: 30M}, image_size: 64, latent_size: 16}\n",
        tmp_path,
    )
    found = search.solution(desk)
    assert found.design.dims["patch_size"] == 4
    reason = latent_unet.reasons(found.design.dims, found.need, found.trend)["patch_size"]
    assert "constraints.latent_size: 16 x 16 latents" in reason
