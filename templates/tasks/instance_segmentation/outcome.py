"""The figure of a segmenting network: images with the true masks, and below with its own."""

import colorsys
from typing import Any

GOLDEN_TURN = 0.61803398875  # Hues that advance by it stay far apart for any number of objects.
OPACITY = 0.45


def draw(figure: Any, content: dict[str, Any]) -> None:
    """Draw the images of a report, each twice."""
    images = content["images"]
    width = figure.get_size_inches()[0]
    cell = min(width / max(1, len(images)), 1.6)
    figure.set_size_inches(cell * len(images), 2 * cell + 0.1)
    grid = figure.subplots(2, len(images), squeeze=False)
    for line, kind in zip(grid, ("truth", "found"), strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image["pixels"], cmap="gray", vmin=0, vmax=255)
            axes.imshow(coloured(image[kind]["objects"]), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            for each in image[kind]["labels"]:
                # A name is printed as it is: a dollar sign would begin a formula.
                name = each["name"].replace("$", r"\$")
                axes.text(*each["at"], name, fontsize=6, color="w", va="bottom", clip_on=True)
        line[0].set_ylabel(kind)


def coloured(objects: list[list[int]]) -> list[list[tuple[float, ...]]]:
    """Return a colour with its opacity for each pixel; those of no object are clear."""
    return [[_colour(number) for number in row] for row in objects]


def _colour(number: int) -> tuple[float, ...]:
    if not number:
        return (0.0, 0.0, 0.0, 0.0)
    return (*colorsys.hsv_to_rgb(number * GOLDEN_TURN % 1, 0.9, 1), OPACITY)
