"""Segmenting without a network, which a trained one must beat: one stuff, and textures.

Things are connected components with the class of the nearest training object. The stuff of a pixel
is that of a random forest (Breiman, 2001) over the brightness and the roughness around it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.components import Components
from runtime.errors import fail
from runtime.objects import Found, Objects
from runtime.pictures import Sample
from runtime.segments import SegmentedPictures, Segments, merged, stuff_of

Floats = NDArray[np.float32]

SCALES = (1, 2, 4)  # pixels, widths of the filters
AROUND = 9  # pixels a side, over which the answers of filters are averaged
STEP = 3  # Of so many rows and columns one is told apart, since neighbours are much alike.
SMOOTHED = 5  # such places a side, of which the median is taken
EVERY = 37  # Of so many pixels one is learned from.
MOST_IMAGES = 80  # training images of the forest
TREES, LEAST_LEAF = 60, 5


def baselines(
    pictures: SegmentedPictures, most: int, least_area: float
) -> dict[str, list[Segments]]:
    """Return what each finds in every test image, fitted on the first `most` training images."""
    places = range(min(most, len(pictures.splits["train"])))
    samples = [pictures.sample("train", place) for place in places]
    tests = [pictures.sample("test", n)[0] for n in range(len(pictures.splits["test"]))]
    things = pictures.things
    parts, forest = _components(samples, things), Forest(samples[:MOST_IMAGES], things)
    textures = [
        merged(parts.find(image), forest.stuff(image), things, 0.0, least_area) for image in tests
    ]
    usual = commonest([objects for _, objects in samples], things)
    return {
        "one stuff": [_whole(image, usual) for image in tests],
        "components and textures": textures,
    }


def commonest(truth: Sequence[Objects], things: int) -> int:
    """Return the class of the stuff that has the most pixels."""
    areas = torch.zeros(1, dtype=torch.int64)
    for each in truth:
        assert each.masks is not None
        stuff, sizes = each.classes >= things, each.masks.sum((1, 2))
        grown = max(len(areas), int(each.classes.max()) + 1 if len(each) else 1)
        areas = torch.nn.functional.pad(areas, (0, grown - len(areas)))
        areas.scatter_add_(0, each.classes[stuff], sizes[stuff])
    return int(areas.argmax())


def _whole(image: Tensor, number: int) -> Segments:
    """Return one segment that fills an image (C, H, W)."""
    numbers = torch.ones(image.shape[-2:], dtype=torch.int64)
    return Segments(numbers, torch.tensor([number]), torch.ones(1))


def _components(samples: Sequence[Sample], things: int) -> "Components | NoComponents":
    """Return components fitted on things; none where training has no things."""
    fitted = [(image, each.of(each.classes < things).single()) for image, each in samples]
    fitted = [pair for pair in fitted if len(pair[1])]
    return Components.fitted(fitted) if fitted else NoComponents()


class NoComponents:
    """Finds nothing."""

    def find(self, image: Tensor) -> Found:
        """Return no object of an image (C, H, W)."""
        empty, size = torch.zeros(0), tuple(image.shape[-2:])
        masks = torch.zeros(0, *size, dtype=torch.bool)
        return Found(torch.zeros(0, 4), empty, empty.long(), masks)


class Forest:
    """A random forest that tells the stuff of a pixel by what is around it."""

    def __init__(self, samples: Sequence[Sample], things: int) -> None:
        """Fit it on some pixels of stuff of training images."""
        try:
            from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]
        except ImportError:
            fail("textures are told apart by a library: pip install scikit-learn.")
        features, numbers = [], []
        for image, objects in samples:
            stuff = stuff_of(objects, things).numpy().ravel()
            chosen = np.flatnonzero(stuff > 0)[::EVERY]
            features.append(surroundings(image)[chosen])
            numbers.append(stuff[chosen])
        forest = RandomForestClassifier(TREES, min_samples_leaf=LEAST_LEAF, random_state=0)
        known = np.concatenate(numbers)
        self._forest: Any = forest.fit(np.concatenate(features), known) if len(known) else None

    def stuff(self, image: Tensor) -> Tensor:
        """Return the stuff of each pixel (H, W) of an image (C, H, W), from 1."""
        height, width = image.shape[-2:]
        if self._forest is None:
            return torch.zeros(height, width, dtype=torch.int64)
        features = surroundings(image).reshape(height, width, -1)[::STEP, ::STEP]
        told = self._forest.predict(features.reshape(-1, features.shape[-1]))
        coarse = _filters().median_filter(told.reshape(features.shape[:2]), SMOOTHED)
        whole = coarse.repeat(STEP, 0).repeat(STEP, 1)[:height, :width]
        return torch.from_numpy(whole).long()


def surroundings(image: Tensor) -> Floats:
    """Return brightness, slope and deviation around each pixel of (C, H, W), (H * W, features)."""
    filters = _filters()
    grey = image.float().mean(0).numpy() / 255
    maps = []
    for scale in SCALES:
        side = 4 * scale + 1
        mean, square = (filters.uniform_filter(each, side) for each in (grey, grey**2))
        maps += [
            filters.gaussian_filter(grey, scale),
            filters.gaussian_gradient_magnitude(grey, scale),
            np.sqrt(np.maximum(square - mean**2, 0)),
            *(np.abs(filters.gaussian_filter1d(grey, scale, axis, 1)) for axis in (0, 1)),
        ]
    around = [filters.uniform_filter(each, AROUND) for each in maps]
    features: Floats = np.stack(around, -1).reshape(-1, len(around)).astype(np.float32)
    return features


def _filters() -> Any:
    """Return the library's filters, or stop; it comes with those of the bundled scenes."""
    try:
        from scipy import ndimage  # type: ignore[import-untyped]
    except ImportError:
        fail("textures are filtered by a library: pip install scipy.")
    return ndimage
