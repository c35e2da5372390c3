"""The figure of a panoptic network: images with the true segments, and below with its own."""

import colorsys
from typing import Any

GOLDEN_TURN = 0.61803398875  # Hues that advance by it stay far apart for any number of segments.
THING, STUFF = 0.6, 0.35  # opacities


def draw(figure: Any, content: dict[str, Any]) -> None:
    """Draw the images of a report, each three times."""
    images = content["images"]
    cell = min(figure.get_size_inches()[0] / max(1, len(images)), 1.6)
    figure.set_size_inches(cell * len(images), 3 * cell + 0.1)
    grid = figure.subplots(3, len(images), squeeze=False)
    for line, kind in zip(grid, ("image", "truth", "found"), strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image["pixels"], cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            if kind != "image":
                _segments(axes, image[kind])
        line[0].set_ylabel(kind)


def _segments(axes: Any, drawing: dict[str, Any]) -> None:
    """Draw segments over an image, with the names of those that have a place."""
    labels = drawing["labels"]
    colours = [(0.0, 0.0, 0.0, 0.0), *map(_colour, range(1, len(labels) + 1), labels)]
    rows = [[colours[number] for number in row] for row in drawing["segments"]]
    axes.imshow(rows, interpolation="nearest")
    for each in labels:
        if each["at"]:
            # A name is printed as it is: a dollar sign would begin a formula.
            name, bottom = each["name"].replace("$", r"\$"), "bottom" if each["thing"] else "top"
            axes.text(*each["at"], name, fontsize=5, color="w", va=bottom, clip_on=True)


def _colour(number: int, label: dict[str, Any]) -> tuple[float, ...]:
    """Return the colour of a segment: each thing has its own, stuff that of its class."""
    hue = (number if label["thing"] else label["class"]) * GOLDEN_TURN % 1
    strength, opacity = (0.95, THING) if label["thing"] else (0.6, STUFF)
    return (*colorsys.hsv_to_rgb(hue, strength, 1), opacity)
