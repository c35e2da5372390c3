"""The shape of a text-conditioned U-Net: the space to search, and the reasons."""

from __future__ import annotations

import math

from metagen.families import diffusion_shape as shape
from metagen.families.family import Axis, Dims, Need
from metagen.families.grid import floor_power
from metagen.families.latent_unet_load import count, text_count, widths
from metagen.families.trend import Trend

SIZE = 1024  # rows of an image, where none are declared: SDXL
PATCH = 8  # pixels a row of latents, as SDXL's VAE
LEVELS = 3  # of SDXL
BLOCKS = (2, 3)
MOST_LAYERS = 24
LAYER_RATIO = 5  # of the lowest level to those above it: 10 to 2 in SDXL
HEAD_DIM = 64  # of SDXL
LEAST_HEAD_DIM = 8
HEADS = 4  # that the first width has room for, at least; of SDXL 5
GROUPS = 32
TEXT_LENGTH = 256  # bytes, about the 77 tokens of CLIP
VOCABULARY = 257  # byte values, and one for what follows a caption
# The first is that of CLIP ViT-L/14, with 12 layers and heads.
TEXT_WIDTHS = (768, 512, 256, 128, 64, 32, 16)
TEXT_SHARE = 0.25  # of the parameters; SDXL's text encoders have 817M of 3.4B


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the trend of published latent diffusion models."""
    return shape.fit(published, parameters, "latent-diffusion")


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space: widths and depths near the trend; the embedding fills the budget."""
    depth = trend.lines["lowest_layers"].at(need.parameters)
    encoder = next((w for w in TEXT_WIDTHS if _fits(w, need.parameters)), TEXT_WIDTHS[-1])
    return (
        *shape.image_axes(SIZE),
        Axis("patch_size", lambda m: (PATCH,)),
        Axis("n_levels", lambda m: (LEVELS,)),
        Axis("lowest_layers", lambda m: _depths(depth), grid=True),
        Axis("upper_layers", lambda m: _upper(m), grid=True),
        Axis("text_length", lambda m: (TEXT_LENGTH,)),
        Axis("text_width", lambda m: (encoder,)),
        Axis("text_layers", lambda m: (_text_layers(int(m["text_width"])),)),
        Axis("text_heads", lambda m: (_text_layers(int(m["text_width"])),)),
        Axis("vocab_size", lambda m: (VOCABULARY,)),
        Axis("blocks_per_level", lambda m: _blocks(m, need.parameters), grid=True),
        Axis("head_dim", lambda m: (_head_dim(m, need.parameters),)),
        Axis("norm_groups", lambda m: (min(GROUPS, int(m["head_dim"]) // 2),)),
        shape.width_axis(trend, need.parameters, lambda m, fitting: _step(m), _plain),
        shape.embedding_axis(count, need.parameters),
        shape.steps_axis(),
    )


def _depths(usual: float) -> range:
    """Return the layers within a factor of two of the trend's, and a few more where it is low."""
    centre = min(usual, MOST_LAYERS)
    return range(max(1, round(centre / 2)), min(MOST_LAYERS, round(2 * centre) + 2) + 1)


def _fitting(m: Dims, parameters: int) -> float:
    """Return the first width with which a model of these depths has so many parameters."""
    return shape.largest(lambda width: _plain(m, width), parameters)


def _plain(m: Dims, width: int) -> int:
    """Return the parameters of a model of these depths and a first width, embedded as usual."""
    return count({**m, "base_channels": width, "embedding_dim": shape.EMBEDDING * width})


def _blocks(m: Dims, parameters: int) -> tuple[int, ...]:
    """Return the usual blocks of a level, and one where two would leave no head of SDXL's."""
    usual = _fitting({**m, "blocks_per_level": BLOCKS[0]}, parameters)
    return BLOCKS if usual >= HEAD_DIM else (1, *BLOCKS)


def _head_dim(m: Dims, parameters: int) -> int:
    """Return the width of a head: SDXL's, or less where few of those are in a width that fits."""
    heads = floor_power(_fitting(m, parameters) / HEADS)
    return min(HEAD_DIM, max(LEAST_HEAD_DIM, heads))


def _step(m: Dims) -> int:
    """Return what the first width is a multiple of: groups, and half heads, as the next doubles."""
    return math.lcm(int(m["norm_groups"]), max(1, int(m["head_dim"]) // 2))


def _text_layers(width: int) -> int:
    """Return the layers of a text encoder, and the heads of each: one for 64 of its width."""
    return max(1, width // HEAD_DIM)


def _upper(m: Dims) -> tuple[int, ...]:
    """Return the layers of the levels above: in SDXL's proportion to the lowest, or one off."""
    usual = max(1, round(m["lowest_layers"] / LAYER_RATIO))
    return tuple(n for n in (usual, usual + 1, usual - 1) if n > 0)


def _fits(width: int, parameters: int) -> bool:
    small = {"text_width": width, "text_layers": _text_layers(width), "text_length": TEXT_LENGTH}
    return text_count({**small, "vocab_size": VOCABULARY}) <= TEXT_SHARE * parameters


def cost(m: Dims, trend: Trend) -> float:
    """Return the distance from the published trend; 1 is one usual deviation."""
    parameters = count(m)
    depth = trend.lines["lowest_layers"].distance(parameters, m["lowest_layers"])
    ratio = math.log(m["lowest_layers"] / (LAYER_RATIO * m["upper_layers"]))
    return shape.distance(m, parameters, widths(m)[-1], trend) + depth + ratio**2


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    depth = trend.lines["lowest_layers"].at(count(m))
    encoder = text_count(m)
    return {
        **shape.image_reasons(need, SIZE),
        "patch_size": shape.declared(
            need, "patch_size", f"{PATCH} pixels a row of latents, as SDXL's VAE, which it replaces"
        ),
        **shape.shape_reasons(m, count(m), widths(m)[-1], trend),
        "n_levels": f"{LEVELS} levels, as SDXL",
        "lowest_layers": f"the trend gives {depth:.1f} layers at the lowest level",
        "upper_layers": f"SDXL has {LAYER_RATIO} times as many at the lowest level",
        "head_dim": _head_reason(m),
        "norm_groups": "of DDPM and SDXL"
        if m["norm_groups"] == GROUPS
        else f"half of head_dim, so that narrow levels can be cut; {GROUPS} in DDPM and SDXL",
        "text_length": "about the bytes of the 77 tokens that CLIP reads",
        "text_width": f"the text encoder has {encoder:,} parameters, {encoder / count(m):.1%} of "
        f"all; the largest of the widths {', '.join(map(str, TEXT_WIDTHS))} with at most "
        f"{TEXT_SHARE:.0%}, about the share of SDXL's",
        "text_layers": f"one for each {HEAD_DIM} of its width, as CLIP ViT-L/14, and at least one",
        "text_heads": f"heads of {m['text_width'] // m['text_heads']} dimensions; in CLIP "
        f"{HEAD_DIM}",
        "vocab_size": "byte values, and one for what follows a caption",
    }


def _head_reason(m: Dims) -> str:
    if m["head_dim"] == HEAD_DIM:
        return "the width of a head of SDXL"
    return f"{HEAD_DIM} in SDXL, of which a first width within the budget has less than {HEADS}"
