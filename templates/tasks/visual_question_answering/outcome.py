"""The figure of the outcome: images, each with its question, the right answer and the model's."""

from typing import Any

RIGHT, WRONG = "#1b9e3e", "#d95f02"
COLUMNS = 4


def draw(figure: Any, content: dict[str, Any]) -> None:
    """Draw the images of a report in rows, each with its texts below."""
    images = content["images"]
    lines = -(-len(images) // COLUMNS)
    width = figure.get_size_inches()[0]
    figure.set_size_inches(width, lines * (width / COLUMNS + 0.55))
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, each in zip(grid.flat, images, strict=False):
        pixels = [list(bytes.fromhex(row)) for row in each["pixels"]]
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        same = each["answer"].casefold().split() == each["right"].casefold().split()
        _below(axes, each["prompt"], -0.03, "black")
        _below(axes, f"{each['answer']} (right: {each['right']})", -0.17, RIGHT if same else WRONG)


def _below(axes: Any, text: str, height: float, colour: str) -> None:
    """Write a text below an image; a dollar sign is no formula."""
    plain = text.replace("$", r"\$")
    axes.text(
        0.5, height, plain, fontsize=7, color=colour, ha="center", va="top",
        transform=axes.transAxes, wrap=True,
    )  # fmt: skip
