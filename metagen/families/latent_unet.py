"""The text-conditioned diffusion model: the latent U-Net of SDXL (arXiv:2307.01952).

SDXL's VAE is replaced by patches of pixels, its text encoders by a small Transformer over bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from metagen.errors import Problem, SpecError
from metagen.families import captions
from metagen.families.axes import Axis, Rule, divides, floor_power
from metagen.families.demand import Need
from metagen.families.diffusion import (
    EMBEDDING,
    STEPS,
    DiffusionUNet,
    input_channels,
    latents,
    rules,
    two_layers,
)
from metagen.families.family import Dims, Figures, Lookup, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.image_diffusion import TextConditional

PATCHES = (8, 4, 2, 1)  # pixels a side; a latent of SDXL's VAE also stands for 8 x 8
BLOCKS = (2, 3)
MOST_LAYERS = 24
LAYER_RATIO = 5  # SDXL has 10 layers at the lowest level and 2 at those above it.
HEAD_DIM = 64  # width of a head of SDXL
HEAD_DIMS = (HEAD_DIM, 32, 16, 8)
HEADS = 4  # heads of a level, at least; SDXL has 10 and 20
GROUPS, FEWEST_GROUPS = 32, 4
PATCH, LATENT = "constraints.patch_size", "constraints.latent_size"


class LatentUNet(DiffusionUNet):
    """A U-Net of patches with cross-attention to a caption, and the encoder of the caption."""

    name = "latent_unet"
    kind = "text-conditioned diffusion model of images"
    task = TextConditional()
    components = "unet unet_2d_condition text_encoder cross_attention transformer patchify"
    traits = {
        **DiffusionUNet.traits,
        "lowest_layers": Trait(
            lambda row: float(row["n_layers"].partition(" / ")[2]), lambda m: m["lowest_layers"]
        ),
    }
    rules = (
        *rules("patch_size"),
        divides("norm_groups", "base_channels", "the groups share the channels evenly"),
        captions.RULE,
        Rule(
            ("base_channels", "head_dim"),
            lambda m: 2 * m["base_channels"] % m["head_dim"] == 0,
            "heads share the widths from the second level on, so 2 * base_channels must be a "
            "multiple of head_dim",
        ),
    )
    fixed_by = {"patch_size": PATCH}
    checked = frozenset({LATENT})
    constants = {
        "n_levels": (3, "3 levels, as SDXL"),
        **captions.CONSTANTS,
    }
    # The proxy has about 0.3 million parameters. Its few pixels are their own latents.
    proxy_dims = {
        "patch_size": 1,
        "base_channels": 16,
        "n_levels": 2,
        "blocks_per_level": 1,
        "upper_layers": 1,
        "lowest_layers": 1,
        "head_dim": 16,
        "embedding_dim": 64,
        "norm_groups": 8,
        "text_length": 8,
        "text_width": 32,
        "text_layers": 1,
        "text_heads": 2,
        "vocab_size": captions.ENTRIES,
    }

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return also the patch that a spec declares by the size of the latents.

        Raises:
            SpecError: The latents do not cut the image into squares, or contradict the patch.
        """
        fixed, latent = super().fixed(key), key(LATENT)
        if not latent:
            return fixed
        known = {**self.task.defaults, **(key("architecture.dims") or {}), **fixed}
        height = known["image_height"]
        image = (height, known.get("image_width", height))
        patch = max(1, int(height) // int(latent[0]))
        if image != (patch * latent[0], patch * latent[1]):
            sentence = f"{LATENT} {_sides(latent)} does not divide the image, {_sides(image)}"
            raise SpecError(Problem(sentence, LATENT, "give a size that divides both sides alike"))
        if fixed.get("patch_size", patch) != patch:
            sentence = f"{LATENT} {_sides(latent)} makes patches of {patch} pixels, unlike {PATCH}"
            raise SpecError(Problem(sentence, LATENT, "remove one of the two"))
        return {**fixed, "patch_size": patch}

    def attention_layers(self, m: Dims) -> list[int]:
        """Return no layers for the first level, and as many in the middle as at the lowest."""
        between, lowest = int(m["n_levels"]) - 2, int(m["lowest_layers"])
        below = [*[int(m["upper_layers"])] * between, lowest] if between >= 0 else []
        return [0, *below, lowest]

    def attention(self, m: Dims, width: int, pixels: int, layers: int) -> Part:
        """Return a norm, two linear layers, and between them Transformer layers.

        A layer has 18c^2 weights at each of P pixels: self-attention (4), cross-attention (2) and
        GEGLU (12); 2 D c weights at each of T bytes, for the keys and values of the caption; and
        17c biases and gains. Its pairs take 4 P (P + T) c operations.
        """
        c, text, length = width, int(m["text_width"]), int(m["text_length"])
        caption, biases = 2 * text * c, 17 * c
        pairs = 2 * length * caption + 4 * c * pixels * (pixels + length)
        return Part(
            2 * c * c + layers * 18 * c * c,
            2 * c + 2 * c + layers * (caption + biases),
            pixels,
            pairs=layers * pairs,
        )

    def condition(self, m: Dims) -> list[Part]:
        width, embedding = int(m["text_width"]), int(m["embedding_dim"])
        return [*captions.text_encoder(m), *two_layers(width, embedding)]

    def plain(self, m: Dims, width: int) -> int:
        """Return the count of a design of these depths and a first width, embedded as usual."""
        return self.count({**m, "base_channels": width, "embedding_dim": EMBEDDING * width})

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget, pins = need.budget, need.pins
        depth = trend.lines["lowest_layers"].at(budget)
        return (
            *self.image_axes(),
            Axis("lowest_layers", lambda m: _depths(depth), grid=True),
            Axis("upper_layers", _upper, grid=True),
            *captions.text_axes(budget),
            Axis("patch_size", lambda m: (self._patch(m, budget),)),
            Axis("blocks_per_level", lambda m: self._blocks(m, budget), grid=True),
            Axis("norm_groups", lambda m: (self._groups(m, budget),)),
            self.width_axis(trend, budget, lambda m, fitting: _step(m, pins)),
            Axis("head_dim", lambda m: (_head_dim(m),)),
            self.embedding_axis(budget),
            STEPS,
        )

    def _patch(self, m: Dims, budget: int) -> int:
        """Return SDXL's, or the largest whose numbers are no more than the first width that fits.

        A narrower level could not tell the noise of each number of a latent.
        """

        def passes(patch: int) -> bool:
            sizes = {**m, "patch_size": patch, "blocks_per_level": BLOCKS[0]}
            return self.fitting(sizes, budget) >= input_channels(sizes)

        return next((patch for patch in PATCHES if passes(patch)), PATCHES[-1])

    def _blocks(self, m: Dims, budget: int) -> tuple[int, ...]:
        """Return the usual blocks of a level, and one where two would leave no head of SDXL's."""
        widest = self.fitting({**m, "blocks_per_level": BLOCKS[0]}, budget)
        return BLOCKS if widest >= HEAD_DIM else (1, *BLOCKS)

    def _groups(self, m: Dims, budget: int) -> int:
        """Return SDXL's groups, or fewer where they would be more than an eighth of a width."""
        return min(GROUPS, max(FEWEST_GROUPS, floor_power(self.fitting(m, budget) / 8)))

    def deviation(self, m: Dims, trend: Trend) -> float:
        ratio = math.log(m["lowest_layers"] / (LAYER_RATIO * m["upper_layers"]))
        return super().deviation(m, trend) + ratio**2

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        return {
            **super().reasons(m, need, trend),
            "patch_size": _patch_reason(m, need),
            "upper_layers": f"SDXL has {LAYER_RATIO} times as many at the lowest level",
            "head_dim": _head_reason(m),
            "norm_groups": _groups_reason(m),
            **captions.text_reasons(m, self.count(m), need.budget),
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("latents of twice the side", "patch_size", 2 * m["patch_size"]),
            ("half the Transformer layers", "lowest_layers", max(1, int(m["lowest_layers"] // 2))),
            ("one Transformer layer at the upper levels", "upper_layers", 1),
            ("half the text encoder's layers", "text_layers", max(1, int(m["text_layers"] // 2))),
        )

    def figures(self, m: Dims) -> Figures:
        height, width = latents(m)
        return {
            **super().figures(m),
            "latent_channels": (input_channels(m), ""),
            "latent_height": (height, ""),
            "latent_width": (width, ""),
            **captions.text_figures(m),
        }


def _depths(usual: float) -> range:
    """Return the layers within a factor of two of the trend's, and a few more where it is low."""
    centre = min(usual, MOST_LAYERS)
    return range(max(1, round(centre / 2)), min(MOST_LAYERS, round(2 * centre) + 3) + 1)


def _upper(m: Dims) -> tuple[int, ...]:
    """Return the layers of the levels above: in SDXL's proportion to the lowest, or one off."""
    centre = max(1, round(m["lowest_layers"] / LAYER_RATIO))
    return tuple(n for n in (centre, centre + 1, centre - 1) if n > 0)


def _step(m: Dims, pins: Dims) -> int:
    """Return what the first width is a multiple of: groups, and half of a head that is pinned."""
    return math.lcm(int(m["norm_groups"]), max(1, int(pins.get("head_dim", 1)) // 2))


def _head_dim(m: Dims) -> int:
    """Return the width of a head: SDXL's, or the largest that cuts the second level in a few.

    That is the first level with attention, of twice the first width.
    """
    width = 2 * int(m["base_channels"])
    return next((h for h in HEAD_DIMS if width % h == 0 and width >= HEADS * h), HEAD_DIMS[-1])


def _sides(size: tuple[Value, ...]) -> str:
    return " x ".join(map(str, size))


def _patch_reason(m: Dims, need: Need) -> str:
    if "patch_size" in need.fixed:
        return f"declared by {PATCH} or {LATENT}: {_sides(latents(m))} latents"
    channels, most, least = input_channels(m), PATCHES[0], PATCHES[-1]
    if m["patch_size"] == most:
        return f"{most} pixels a row of latents, as SDXL's VAE, which it replaces"
    if m["patch_size"] == least:
        return f"{most} in SDXL; {least} gives a latent the fewest numbers, {channels}"
    return f"{most} in SDXL; a latent's {channels} numbers pass a first level within the budget"


def _groups_reason(m: Dims) -> str:
    if m["norm_groups"] == GROUPS:
        return "as DDPM and SDXL"
    published = f"{GROUPS} in DDPM and SDXL"
    if m["norm_groups"] == FEWEST_GROUPS:
        return f"{published}; {FEWEST_GROUPS} are the fewest that are tried"
    return (
        f"{published}; here the largest power of two up to an eighth of a first width that fills "
        "the budget"
    )


def _head_reason(m: Dims) -> str:
    second = f"the {2 * m['base_channels']} channels of the second level"
    heads, rest = divmod(2 * int(m["base_channels"]), int(m["head_dim"]))
    if m["head_dim"] == HEAD_DIM:
        return "the width of a head of SDXL"
    if rest or heads < HEADS:
        return f"the smallest that is tried; none cuts {second} in {HEADS} heads or more"
    return (
        f"the largest power of two up to SDXL's {HEAD_DIM} that cuts {second} in at least {HEADS}"
    )


FAMILY = LatentUNet()
