"""The model card as README.md of the release: with the Hub's metadata, for this folder."""

from __future__ import annotations

from typing import Any

from metagen import families
from metagen.docs import cards, provenance, render
from metagen.docs.sources import FILES
from metagen.errors import Problem, TaskError
from metagen.measure.results import FULL_MODEL
from metagen.release import hub
from metagen.release.about import PATH as ABOUT
from metagen.work import Desk, Output, Recipe

PATH = "release/README.md"
_BASE = "release.base_model"


def readme(desk: Desk) -> dict[str, Output]:
    """Return the file README.md."""
    page = render.markdown(desk, "cards/release.md", metadata(desk), place="")
    desk.source(hub.SOURCE)  # The check reads it, so the card depends on it.
    if wrong := hub.problems(page.text):
        raise TaskError(wrong)
    return dict(provenance.written(PATH, page.data, page.printed))


def metadata(desk: Desk) -> dict[str, Any]:
    """Return the entries of the header: those of the model card, and what its files decide."""
    entries = cards.metadata(desk)
    entries |= {"library_name": desk.entry(ABOUT, "library"), "base_model": _base(desk)}
    order = ("language", "license", "license_name", "license_link", "library_name", "base_model")
    entries = {key: entries.pop(key, None) for key in order} | entries
    return {key: value for key, value in entries.items() if value}


def _base(desk: Desk) -> str:
    """Return the Hub's name of the model that training began with; "" if none is declared.

    Raises:
        TaskError: One is declared, and the training began with random weights.
    """
    name: str = desk.key(_BASE) or ""
    if name and desk.entry(FULL_MODEL, "init_from") is None:
        sentence = f"The spec declares {name}, but the training did not begin with its weights."
        raise TaskError(Problem(sentence, _BASE, "remove the key, or train with --init-from"))
    return name


_READ = (families.ARCHITECTURE, FILES["trained_curve"])
_CARD = next(each for each in cards.RECIPES if each.name == "docs:model_card")
RECIPE = Recipe(
    "release:readme",
    readme,
    tuple(dict.fromkeys((*_CARD.inputs, FULL_MODEL, *_READ, ABOUT))),
    provenance.targets(PATH),
    "write the card for the Hub",
)
