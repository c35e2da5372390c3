"""The image towers that published vision-language models have: SigLIP's and smaller ones."""

from __future__ import annotations

from typing import NamedTuple

from metagen.families import axes, parts
from metagen.families.family import Dims


class Tower(NamedTuple):
    """Width, blocks, heads and feed-forward width of an image tower."""

    width: int
    layers: int
    heads: int
    inner: int


TOWERS = (
    Tower(1152, 27, 16, 4304),  # So400m of SigLIP; PaliGemma, SmolVLM-2.2B and Idefics3 have it
    Tower(768, 12, 12, 3072),  # base of SigLIP; SmolVLM-256M and -500M have it
    Tower(384, 12, 6, 1536),  # the small Vision Transformer of DeiT
    Tower(192, 12, 3, 768),  # its tiny one
    Tower(96, 6, 3, 384),
    Tower(48, 3, 3, 192),
    Tower(16, 2, 1, 64),
    Tower(8, 1, 1, 32),
)
SHARE = 0.4  # SmolVLM-256M has 36 % of its parameters in the tower.


def tower_of(m: Dims, budget: int) -> Tower:
    """Return the tower of a pinned width, or the widest that takes its share of a budget."""
    width = m.get("vision_d_model")
    if width is None:
        return next((each for each in TOWERS if affordable(each, budget)), TOWERS[-1])
    return min(TOWERS, key=lambda each: abs(each.width - width))


def heads(m: Dims, budget: int) -> int:
    """Return the tower's heads, or about as many that share its width evenly."""
    return axes.divisor_near(m["vision_d_model"], tower_of(m, budget).heads)


def affordable(tower: Tower, budget: int) -> bool:
    """Return whether the blocks of a tower take at most their share of a budget."""
    blocks = parts.encoder_block(tower.width, tower.inner, 1) * tower.layers
    return parts.count([blocks]) <= SHARE * budget


def reason(budget: int) -> str:
    most, widths = f"{SHARE:.0%} of the budget", ", ".join(str(each.width) for each in TOWERS)
    if affordable(TOWERS[-1], budget):
        return (
            f"the widest of {widths} whose blocks take at most {most}, about the share of "
            "SmolVLM-256M's"
        )
    return f"the blocks of the narrowest of {widths} take more than {most}"
