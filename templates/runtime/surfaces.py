"""Surfaces in space: triangles or bare points, points drawn from them, and a mesh around points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail

Points = NDArray[np.float64]  # (N, 3)
Faces = NDArray[np.int64]  # (F, 3), indices of vertices

GRID = 64  # cells of a mesh's grid along its longest side; memory grows with the cube
# A shell around points is a little thicker than the distance to their sixth neighbour, so that it
# has no gap even where points are drawn at random, and so unevenly.
NEIGHBOURS, SHELL = 6, 1.3
OFFSET = 0.1  # share of the shell that stays outside of the points; it keeps plates from vanishing


@dataclass(frozen=True)
class Surface:
    """A surface of triangles, or a cloud of points that lie on one.

    Attributes:
        vertices: (V, 3) corners of the triangles, or the points.
        faces: (F, 3) the corners of each triangle; none for a cloud.
    """

    vertices: Points
    faces: Faces

    def areas(self) -> NDArray[np.float64]:
        """Return the area of each triangle, (F,)."""
        a, b, c = (self.vertices[self.faces[:, corner]] for corner in range(3))
        areas: NDArray[np.float64] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        return areas

    def drawn(self, count: int, generator: np.random.Generator) -> Points:
        """Return points that are uniform on the surface, (count, 3).

        A triangle is drawn by its area, and a place in it by Osada et al., 2002, equation 1. Of a
        cloud, points are drawn without repetition while there are enough.
        """
        if not len(self.faces):
            few = count > len(self.vertices)
            return self.vertices[generator.choice(len(self.vertices), count, replace=few)]
        total = np.cumsum(self.areas())
        chosen = np.searchsorted(total, generator.random(count) * total[-1], side="right")
        corners = self.vertices[self.faces[np.minimum(chosen, len(total) - 1)]]  # (count, 3, 3)
        root, along = np.sqrt(generator.random(count)), generator.random(count)
        weights = np.stack((1 - root, root * (1 - along), root * along), axis=1)
        points: Points = np.einsum("nc,ncx->nx", weights, corners)
        return points

    def fitted(self) -> Surface:
        """Return the surface moved and scaled so that its box just fits into that of -1 to 1."""
        used = self.vertices[np.unique(self.faces)] if len(self.faces) else self.vertices
        low, high = used.min(0), used.max(0)
        return Surface((self.vertices - (low + high) / 2) * (2 / (high - low).max()), self.faces)


def mesh_around(points: Points, grid: int = GRID) -> Surface:
    """Return a closed mesh around a cloud of points.

    Cells within a distance r of a point form a shell, where r follows the distances between
    neighbouring points. The shell and all that it encloses are the solid; its surface is moved
    inwards by most of r, and marching cubes (Lorensen & Cline, 1987) cut it into triangles. The
    mesh is watertight. Details and openings narrower than about 2r are closed, and a flat shape
    becomes a plate.
    """
    ndimage, measure = _libraries()
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]

    distances = cKDTree(points).query(points, k=min(NEIGHBOURS, len(points)))[0][:, -1]
    cell = (points.max(0) - points.min(0)).max() / grid
    reach = max(SHELL * float(np.quantile(distances, 0.9)), 2 * cell)
    margin = reach + 3 * cell
    low = points.min(0) - margin
    shape = np.ceil((points.max(0) + margin - low) / cell).astype(int) + 1
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    apart = cKDTree(points).query(low + cell * places.reshape(-1, 3))[0].reshape(shape)
    solid = ndimage.binary_fill_holes(apart <= reach)
    inside = cell * ndimage.distance_transform_edt(solid)
    depth = ndimage.gaussian_filter(np.where(solid, inside, reach - apart), 1.0)
    # A plate is no deeper than the shell, so it would vanish at a level near its depth.
    level = min((1 - OFFSET) * reach, 0.8 * depth.max())
    vertices, faces, _, _ = measure.marching_cubes(depth, level)
    return Surface(low + cell * vertices.astype(np.float64), faces.astype(np.int64)[:, ::-1])


def require_meshing() -> None:
    """Stop if the libraries that make a mesh are missing."""
    _libraries()


def _libraries() -> tuple[Any, Any]:
    try:
        from scipy import ndimage  # type: ignore[import-untyped]
        from skimage import measure
    except ImportError:
        fail("a mesh is made with scikit-image: pip install scikit-image; or use --cloud.")
    return ndimage, measure
