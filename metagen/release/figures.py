"""The figures of the release's card, as SVG: the Hub shows them on the page of the model."""

from __future__ import annotations

from dataclasses import replace

from metagen.docs import drawing, figures
from metagen.docs.sources import FILES, inputs
from metagen.work import Desk, Output, Recipe

CURVE, PARAMETERS = "release/figures/learning_curve.svg", "release/figures/parameters.svg"


def learning_curve(desk: Desk) -> dict[str, Output]:
    """Draw the losses of the trained model over steps."""
    return {CURVE: drawing.saved(desk, figures.trained_curve(desk), "svg")}


def parameters(desk: Desk) -> dict[str, Output]:
    """Draw the parameters of the model by module."""
    picture = replace(figures.parameters(desk), width=drawing.WIDE)
    return {PARAMETERS: drawing.saved(desk, picture, "svg")}


RECIPES = (
    Recipe(
        "release:learning_curve",
        learning_curve,
        (FILES["trained_curve"], FILES["arch"]),
        (CURVE,),
        "draw the learning curve of the trained model",
    ),
    Recipe(
        "release:parameters",
        parameters,
        inputs("params"),
        (PARAMETERS,),
        "draw the parameters by module",
    ),
)
