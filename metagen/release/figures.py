"""The figures of the release's card, as SVG: the Hub shows them on the page of the model."""

from __future__ import annotations

from metagen.docs import drawing, figures
from metagen.docs.facts import Facts
from metagen.docs.sources import FILES, inputs
from metagen.work import Desk, Output, Recipe

CURVE, PARAMETERS = "release/figures/learning_curve.svg", "release/figures/parameters.svg"
_STEPS = "training steps"


def learning_curve(desk: Desk) -> dict[str, Output]:
    """Draw the losses of the trained model over steps."""
    facts = Facts(desk)
    rows, unit = facts.get("trained_curve").value, facts.family().words.loss_unit
    data = drawing.figure(
        desk, "svg", 2.3, lambda figure: figures.draw_curve(figure, rows, _STEPS, unit)
    )
    return {CURVE: data}


def parameters(desk: Desk) -> dict[str, Output]:
    """Draw the parameters of the model by module."""
    facts = Facts(desk)
    data = drawing.figure(
        desk, "svg", 2.5, lambda figure: figures.draw_parameters(figure, facts), drawing.WIDE
    )
    return {PARAMETERS: data}


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
