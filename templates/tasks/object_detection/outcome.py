"""The figure of a detector: images with the true boxes, and below with those that were found."""

from typing import Any

TRUE, FOUND = "#1b9e3e", "#d95f02"


def draw(figure: Any, content: dict[str, Any]) -> None:
    """Draw the images of a report, each twice."""
    images = content["images"]
    width = figure.get_size_inches()[0]
    cell = min(width / max(1, len(images)), 1.6)
    figure.set_size_inches(cell * len(images), 2 * cell + 0.1)
    grid = figure.subplots(2, len(images), squeeze=False)
    for line, kind, colour in zip(grid, ("truth", "found"), (TRUE, FOUND), strict=True):
        for axes, image in zip(line, images, strict=True):
            pixels = [list(bytes.fromhex(row)) for row in image["pixels"]]
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            for each in image[kind]:
                outline(axes, each, colour)
        line[0].set_ylabel(kind)


def outline(axes: Any, each: dict[str, Any], colour: str) -> None:
    """Draw a box with its name."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (side - 0.5 for side in each["box"])
    sides = (right - left, bottom - top)
    axes.add_patch(Rectangle((left, top), *sides, fill=False, edgecolor=colour, linewidth=0.9))
    # A name is printed as it is: a dollar sign would begin a formula.
    name = each["name"].replace("$", r"\$")
    ground = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.8}
    axes.text(left, top, name, fontsize=6, color=colour, va="bottom", clip_on=True, bbox=ground)
