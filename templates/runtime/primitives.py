"""Simple solids as meshes: spheres, boxes, cylinders, cones, tori, pyramids, capsules and discs.

Each fills the box from -1 to 1 along x and y, and along z as well but for tori and discs.
"""

from collections.abc import Callable

import numpy as np

from runtime.surfaces import Points, Surface

ROUND = 24  # vertices of a circle
FLAT = 0.05  # half the thickness of a disc


def sphere() -> Surface:
    """Return a sphere."""
    angles = np.linspace(0, np.pi, ROUND // 2 + 1)
    return turned(np.stack((np.sin(angles), np.cos(angles)), axis=1))


def box() -> Surface:
    """Return a cube."""
    return _prism(4, 1.0, 1.0, np.sqrt(2), np.pi / 4)


def cylinder() -> Surface:
    """Return a closed cylinder."""
    return _prism(ROUND, 1.0, 1.0)


def cone() -> Surface:
    """Return a cone with its tip up."""
    return _prism(ROUND, 0.0, 1.0)


def pyramid() -> Surface:
    """Return a square pyramid with its tip up."""
    return _prism(4, 0.0, 1.0, np.sqrt(2), np.pi / 4)


def disc() -> Surface:
    """Return a flat disc."""
    return _prism(ROUND, 1.0, FLAT)


def capsule() -> Surface:
    """Return a cylinder of half the height with half a sphere at each end, flattened to fit."""
    angles = np.linspace(0, np.pi, ROUND // 2 + 2)
    heights = np.cos(angles)
    profile = np.stack((np.sin(angles), (heights + np.sign(heights)) / 2), axis=1)
    return turned(profile)


def torus(tube: float) -> Surface:
    """Return a flat-lying ring, whose tube has a radius of `tube`."""
    angles = np.linspace(0, 2 * np.pi, ROUND + 1)
    return turned(np.stack((1 - tube + tube * np.cos(angles), -tube * np.sin(angles)), axis=1))


SHAPES: dict[str, Callable[[], Surface]] = {
    "sphere": sphere,
    "box": box,
    "cylinder": cylinder,
    "cone": cone,
    "pyramid": pyramid,
    "capsule": capsule,
    "disc": disc,
}


def turned(profile: Points, around: int = ROUND, start: float = 0.0) -> Surface:
    """Return the surface that a line of (radius, height) leaves on its way around the z axis."""
    angles = start + np.arange(around) * 2 * np.pi / around
    radius, height = profile[:, :1], np.broadcast_to(profile[:, 1:], (len(profile), around))
    rings = np.stack((radius * np.cos(angles), radius * np.sin(angles), height), axis=-1)
    place = np.arange(len(profile) * around).reshape(len(profile), around)
    a, b = place[:-1], place[1:]
    c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    faces = np.concatenate([np.stack(f, axis=-1).reshape(-1, 3) for f in ((a, b, c), (c, b, d))])
    surface = Surface(rings.reshape(-1, 3), faces)
    # Triangles at a pole have two corners in one place.
    return Surface(surface.vertices, faces[surface.areas() > 0])


def _prism(
    around: int, top: float, half: float, radius: float = 1.0, start: float = 0.0
) -> Surface:
    """Return a closed prism, or a pyramid whose radius is `top` of that at the bottom."""
    profile = [(0.0, half), (radius * top, half), (radius, -half), (0.0, -half)]
    return turned(np.asarray(profile), around, start)
