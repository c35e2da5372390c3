"""Both diffusion families at tiny sizes, and the specs that ask for them."""

from __future__ import annotations

from types import ModuleType

from helpers.family_code import TRAIN
from metagen import paths
from metagen.families.latent_unet import FAMILY as latents
from metagen.families.unet_diffusion import FAMILY as pixels

SMALL = paths.specs() / "image/image_diffusion_small.yaml"
LARGE = paths.specs() / "image/image_diffusion_sdxl_like.yaml"
SCRIPTS = {
    "data": {
        "noise_schedule": "cosine",
        "timesteps": 50,
        "val_fraction": 0.1,
        "test_fraction": 0.3,
    },
    "train": {**TRAIN, "ema_decay": 0.9, "unconditional_probability": 0.2},
    "eval": {
        "samples": 40,
        "batch_size": 40,
        "sampling_steps": 2,
        "guidance": 1.0,
        "side": 8,
        "components": 8,
        "references": 100,
        "seed": 42,
    },
    "infer": {
        "samples": 2,
        "sampling_steps": 2,
        "guidance": 2.0,
        "seed": 42,
        "dtype": "bfloat16",
    },
}
PIXELS = {
    **pixels.task.proxy,
    **pixels.proxy_dims,
    "base_channels": 8,
    "embedding_dim": 16,
    "norm_groups": 4,
}
LATENTS = {
    **latents.task.proxy,
    **latents.proxy_dims,
    "patch_size": 2,
    "base_channels": 8,
    "head_dim": 4,
    "embedding_dim": 16,
    "norm_groups": 4,
    "text_width": 8,
}
FAMILIES = {"unet_diffusion": (pixels, PIXELS), "latent_unet": (latents, LATENTS)}
Modules = dict[str, ModuleType]
