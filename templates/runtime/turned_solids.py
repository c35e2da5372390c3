"""Solids of eight kinds as clouds of points: stretched, cut, turned and noisy."""

import numpy as np
import torch
from torch import Tensor

from runtime.primitives import SHAPES, torus
from runtime.surfaces import Points

KINDS = (*SHAPES, "torus")
CLOUDS = {"train": 1600, "val": 200, "test": 400}
SEEDS = {"train": 0, "val": 1, "test": 2}
DRAWN = 4  # points are drawn for each that a cloud keeps
STRETCH = (0.5, 1.5)  # Each axis is scaled by a factor in this range.
CUT = 0.35  # largest share of a solid that is cut away by a plane
NOISE = 0.03  # standard deviation, of a cloud whose points have a mean square of 1
TUBES = (0.2, 0.45)  # radius of a torus' tube


def solids(split: str, points: int) -> tuple[Tensor, Tensor]:
    """Return the clouds of a split, (N, points, 3), and their kinds, (N,)."""
    generator = np.random.default_rng(SEEDS[split])
    kinds = np.arange(CLOUDS[split]) % len(KINDS)
    clouds = np.stack([_cloud(KINDS[kind], points, generator) for kind in kinds])
    return torch.from_numpy(clouds.astype(np.float32)), torch.from_numpy(kinds)


def _cloud(kind: str, points: int, generator: np.random.Generator) -> Points:
    surface = SHAPES[kind]() if kind in SHAPES else torus(generator.uniform(*TUBES))
    cloud = surface.drawn(DRAWN * points, generator) * generator.uniform(*STRETCH, 3)
    heights = cloud @ direction(generator)
    kept = cloud[heights >= np.quantile(heights, CUT * generator.random())]
    kept = kept[generator.choice(len(kept), points, replace=False)] @ rotation(generator).T
    kept = kept - kept.mean(0)
    kept = kept / np.sqrt(np.square(kept).sum(1).mean())
    noisy: Points = kept + generator.normal(0, NOISE, kept.shape)
    return noisy


def direction(generator: np.random.Generator) -> Points:
    """Return a vector of length 1 in any direction, (3,)."""
    vector = generator.normal(size=3)
    unit: Points = vector / np.linalg.norm(vector)
    return unit


def rotation(generator: np.random.Generator) -> Points:
    """Return a rotation that is uniform among all, (3, 3): of a random quaternion."""
    q = generator.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
