"""The shape of a text-conditioned U-Net: the space to search, and the reasons."""

from __future__ import annotations

import math

from metagen.families import diffusion_shape as shape
from metagen.families.family import Axis, Dims, Need
from metagen.families.grid import floor_power
from metagen.families.latent_unet_load import count, text_count, widths
from metagen.families.trend import Trend

SIZE = 1024  # rows of an image, where none are declared: SDXL
PATCHES = (8, 4, 2, 1)  # pixels a row of latents; the first as SDXL's VAE
LEVELS = 3  # of SDXL
BLOCKS = (2, 3)
MOST_LAYERS = 24
LAYER_RATIO = 5  # of the lowest level to those above it: 10 to 2 in SDXL
HEAD_DIM = 64  # of SDXL and of CLIP
HEAD_DIMS = (HEAD_DIM, 32, 16, 8)
HEADS = 4  # of a level, at least; SDXL has 10 and 20
GROUPS, FEWEST_GROUPS = 32, 4
TEXT_LENGTH = 256  # bytes, about the 77 tokens of CLIP
VOCABULARY = 257  # byte values, and one for what follows a caption
# The first is that of CLIP ViT-L/14, with 12 layers and heads.
TEXT_WIDTHS = (768, 512, 256, 128, 64, 32, 16)
TEXT_SHARE = 0.25  # of the parameters; SDXL's text encoders have 817M of 3.4B


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the trend of published latent diffusion models."""
    return shape.fit(published, parameters)


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space: widths and depths near the trend; the embedding fills the budget."""
    depth = trend.lines["lowest_layers"].at(need.budget)
    encoder = next((w for w in TEXT_WIDTHS if _fits(w, need.budget)), TEXT_WIDTHS[-1])
    return (
        *shape.image_axes(SIZE),
        Axis("n_levels", lambda m: (LEVELS,)),
        Axis("lowest_layers", lambda m: _depths(depth), grid=True),
        Axis("upper_layers", lambda m: _upper(m), grid=True),
        Axis("text_length", lambda m: (TEXT_LENGTH,)),
        Axis("text_width", lambda m: (encoder,)),
        Axis("text_layers", lambda m: (_text_layers(int(m["text_width"])),)),
        Axis("text_heads", lambda m: (_text_layers(int(m["text_width"])),)),
        Axis("vocab_size", lambda m: (VOCABULARY,)),
        Axis("patch_size", lambda m: (_patch(m, need.budget),)),
        Axis("blocks_per_level", lambda m: _blocks(m, need.budget), grid=True),
        Axis("norm_groups", lambda m: (_groups(m, need.budget),)),
        shape.width_axis(trend, need.budget, lambda m, fit: _step(m, need.pins), _plain),
        Axis("head_dim", lambda m: (_head_dim(m),)),
        shape.embedding_axis(count, need.budget),
        shape.steps_axis(),
    )


def _depths(usual: float) -> range:
    """Return the layers within a factor of two of the trend's, and a few more where it is low."""
    centre = min(usual, MOST_LAYERS)
    return range(max(1, round(centre / 2)), min(MOST_LAYERS, round(2 * centre) + 3) + 1)


def _fitting(m: Dims, parameters: int) -> float:
    """Return the first width with which a model of these depths has so many parameters."""
    return shape.largest(lambda width: _plain(m, width), parameters)


def _plain(m: Dims, width: int) -> int:
    """Return the parameters of a model of these depths and a first width, embedded as usual."""
    return count({**m, "base_channels": width, "embedding_dim": shape.EMBEDDING * width})


def _patch(m: Dims, parameters: int) -> int:
    """Return SDXL's, or one whose numbers can pass a first level of a width that fits.

    What is less wide than a latent cannot tell the noise of each of its numbers.
    """

    def passes(patch: int) -> bool:
        sizes = {**m, "patch_size": patch, "blocks_per_level": BLOCKS[0]}
        return _fitting(sizes, parameters) >= m["image_channels"] * patch**2

    return next((patch for patch in PATCHES if passes(patch)), PATCHES[-1])


def _blocks(m: Dims, parameters: int) -> tuple[int, ...]:
    """Return the usual blocks of a level, and one where two would leave no head of SDXL's."""
    usual = _fitting({**m, "blocks_per_level": BLOCKS[0]}, parameters)
    return BLOCKS if usual >= HEAD_DIM else (1, *BLOCKS)


def _groups(m: Dims, parameters: int) -> int:
    """Return the groups of SDXL, or fewer where they would be more than an eighth of a width."""
    return min(GROUPS, max(FEWEST_GROUPS, floor_power(_fitting(m, parameters) / 8)))


def _step(m: Dims, pins: Dims) -> int:
    """Return what the first width is a multiple of: groups, and half of a head that is pinned."""
    return math.lcm(int(m["norm_groups"]), max(1, int(pins.get("head_dim", 1)) // 2))


def _head_dim(m: Dims) -> int:
    """Return the width of a head: SDXL's, or the largest that cuts the second level in a few.

    That is the first level with attention, of twice the first width.
    """
    width = 2 * int(m["base_channels"])
    return next((h for h in HEAD_DIMS if width % h == 0 and width >= HEADS * h), HEAD_DIMS[-1])


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
        "patch_size": shape.declared(need, "patch_size", _patch_reason(m)),
        **shape.shape_reasons(m, count(m), widths(m)[-1], trend),
        "n_levels": f"{LEVELS} levels, as SDXL",
        "lowest_layers": f"the trend gives {depth:.1f} layers at the lowest level",
        "upper_layers": f"SDXL has {LAYER_RATIO} times as many at the lowest level",
        "head_dim": _head_reason(m),
        "norm_groups": _groups_reason(m),
        "text_length": "about the bytes of the 77 tokens that CLIP reads",
        "text_width": f"the text encoder has {encoder:,} parameters, {encoder / count(m):.1%} of "
        f"all; {_text_reason(m, need)}, about the share of SDXL's",
        "text_layers": f"one for each {HEAD_DIM} of its width, as CLIP ViT-L/14, and at least one",
        "text_heads": f"heads of {m['text_width'] // m['text_heads']} dimensions; in CLIP "
        f"{HEAD_DIM}",
        "vocab_size": "byte values, and one for what follows a caption",
    }


def _patch_reason(m: Dims) -> str:
    if m["patch_size"] == PATCHES[0]:
        return f"{PATCHES[0]} pixels a row of latents, as SDXL's VAE, which it replaces"
    channels = m["image_channels"] * m["patch_size"] ** 2
    if m["patch_size"] == PATCHES[-1]:
        return f"{PATCHES[0]} in SDXL; {PATCHES[-1]} gives a latent the fewest numbers, {channels}"
    return (
        f"{PATCHES[0]} in SDXL; a latent's {channels} numbers pass a first level within the budget"
    )


def _text_reason(m: Dims, need: Need) -> str:
    widths, most = ", ".join(map(str, TEXT_WIDTHS)), f"{TEXT_SHARE:.0%} of the budget"
    if _fits(int(m["text_width"]), need.budget):
        return f"the largest of the widths {widths} that takes at most {most}"
    return f"even the smallest of the widths {widths} takes more than {most}"


def _groups_reason(m: Dims) -> str:
    if m["norm_groups"] == GROUPS:
        return "of DDPM and SDXL"
    if m["norm_groups"] == FEWEST_GROUPS:
        return f"{GROUPS} in DDPM and SDXL; {FEWEST_GROUPS} are the fewest that are tried"
    return (
        f"{GROUPS} in DDPM and SDXL; here the largest power of two up to an eighth of a first "
        "width that fills the budget"
    )


def _head_reason(m: Dims) -> str:
    heads, cut = divmod(2 * int(m["base_channels"]), int(m["head_dim"]))
    second = f"the {2 * m['base_channels']} channels of the second level"
    if m["head_dim"] == HEAD_DIM:
        return "the width of a head of SDXL"
    if cut or heads < HEADS:
        return f"the smallest that is tried; none cuts {second} in {HEADS} heads or more"
    return (
        f"the largest power of two up to SDXL's {HEAD_DIM} that cuts {second} in at least {HEADS}"
    )
