"""Detectors without a network, which a trained one must beat: fixed boxes, and components."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from runtime.coco_scores import AveragePrecision
from runtime.errors import fail
from runtime.objects import Found, Objects
from runtime.pictures import Pictures, Sample

LEVELS = tuple(sign * level for sign in (1, -1) for level in (25, 38, 51, 64, 77))
"""Grey levels above or below the median of an image, from which a pixel may be of an object."""
SMOOTHING = 0.7  # pixels; noise would join or part components
SIDE = 20  # pixels of a component whose class is looked up
REACH = 1.5  # A component may be so much larger or smaller than the objects of training.
MOST_PARTS = 100  # components of an image
BOTH = np.ones((3, 3))  # Pixels that meet at a corner belong together.


def baselines(pictures: Pictures, most: int) -> dict[str, list[Found]]:
    """Return what each finds in every test image, fitted on the first `most` training images."""
    places = range(min(most, len(pictures.splits["train"])))
    samples = [pictures.sample("train", place) for place in places]
    samples = [each for each in samples if len(each[1])] or samples
    tests = range(len(pictures.splits["test"]))
    components = Components.fitted(samples)
    return {
        "fixed boxes": fixed_boxes([objects for _, objects in samples], len(tests)),
        "components and nearest": [
            components.find(pictures.sample("test", place)[0]) for place in tests
        ],
    }


def fixed_boxes(truth: Sequence[Objects], count: int) -> list[Found]:
    """Return the mean box of each class in training, as what is found in each of some images."""
    boxes = torch.cat([each.boxes for each in truth])
    classes = torch.cat([each.classes for each in truth])
    sizes = classes.bincount()
    numbers = sizes.nonzero()[:, 0]
    means = torch.stack([boxes[classes == number].mean(0) for number in numbers])
    masks = None
    if truth[0].masks is not None:
        masks = torch.stack([_filled(box, truth[0].masks.shape[1:]) for box in means])
    return [Found(means, sizes[numbers] / sizes.sum(), numbers, masks)] * count


def _filled(box: Tensor, size: Sequence[int]) -> Tensor:
    """Return the mask (H, W) of a box."""
    left, top, right, bottom = box.round().int().tolist()
    mask = torch.zeros(*size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@dataclass(frozen=True)
class Components:
    """Connected bright or dark pixels, each with the class of the training object most like it.

    Attributes:
        level: Grey levels above the median of an image; below it if negative.
        sides: Least and greatest length of a component's longer side, in pixels.
        patches: (N, SIDE * SIDE), the training objects.
        classes: (N,), their classes.
        masks: Whether the pixels of a component are its mask.
    """

    level: int
    sides: tuple[float, float]
    patches: Tensor
    classes: Tensor
    masks: bool

    @classmethod
    def fitted(cls, samples: Sequence[Sample]) -> "Components":
        """Return the components at the level that has the highest AP50 on training images."""
        patches, classes = [], []
        for image, objects in samples:
            grey = _grey(image)
            patches += [_patch(grey, box) for box in objects.boxes.round().int().tolist()]
            classes.append(objects.classes)
        boxes = torch.cat([objects.boxes for _, objects in samples])
        longer = (boxes[:, 2:] - boxes[:, :2]).amax(1)
        sides = float(longer.min()) / REACH, float(longer.max()) * REACH
        masks = samples[0][1].masks is not None
        parts = (sides, torch.stack(patches), torch.cat(classes), masks)
        truth, ones = [objects for _, objects in samples], np.ones(len(samples))

        def score(level: int) -> float:
            found = [cls(level, *parts).find(image) for image, _ in samples]
            return AveragePrecision(truth, found).at(0.5)(ones)

        return cls(max(LEVELS, key=score), *parts)

    def find(self, image: Tensor) -> Found:
        """Return the components of an image (C, H, W), uint8."""
        # The library comes with those of the bundled scenes.
        try:
            from scipy import ndimage  # type: ignore[import-untyped]
        except ImportError:
            fail("connected components are found by a library: pip install scipy.")
        grey = _grey(image)
        height = ndimage.gaussian_filter(grey, SMOOTHING) - np.median(grey)
        labels, _ = ndimage.label(height * np.sign(self.level) > abs(self.level), BOTH)
        boxes, numbers = [], []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            longer = max(rows.stop - rows.start, columns.stop - columns.start)
            if self.sides[0] <= longer <= self.sides[1]:
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                numbers.append(number)
        boxes, numbers = boxes[:MOST_PARTS], numbers[:MOST_PARTS]
        scores, classes = self._nearest(grey, boxes)
        masks = torch.from_numpy(labels == np.reshape(numbers, (-1, 1, 1)))
        places = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return Found(places, scores, classes, masks if self.masks else None)

    def _nearest(
        self, grey: NDArray[np.float32], boxes: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Return how like its nearest training object each box is, from 0 to 1, and its class."""
        if not boxes:
            return torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        patches = torch.stack([_patch(grey, box) for box in boxes])
        distances, places = torch.cdist(patches, self.patches).min(1)
        return 1 / (1 + distances), self.classes[places]


def _grey(image: Tensor) -> NDArray[np.float32]:
    grey: NDArray[np.float32] = image.float().mean(0).numpy()
    return grey


def _patch(grey: NDArray[np.float32], box: Sequence[int]) -> Tensor:
    """Return the pixels of a box at one size and contrast, (SIDE * SIDE,)."""
    left, top, right, bottom = box
    part = grey[top : max(bottom, top + 1), left : max(right, left + 1)]
    pixels = F.interpolate(torch.from_numpy(part)[None, None], (SIDE, SIDE), mode="bilinear")
    centred = pixels.flatten() - pixels.mean()
    patch: Tensor = centred / torch.linalg.vector_norm(centred).clamp(min=1e-6)
    return patch
