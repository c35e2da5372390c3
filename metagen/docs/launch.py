"""How to start training on many devices, and what each of them holds."""

from __future__ import annotations

from metagen.docs import render
from metagen.docs.facts import FILES
from metagen.work import Desk, Recipe

README = "code/launch/README.md"


def launch(desk: Desk) -> dict[str, bytes]:
    """Return `code/launch/README.md`."""
    return {README: render.markdown(desk, "cards/launch.md").data}


RECIPES = (
    Recipe("docs:launch", launch, (FILES["plan"],), (README,), "say how to train on many devices"),
)
