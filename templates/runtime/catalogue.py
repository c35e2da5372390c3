"""What a recommender knows of its training's data: the items, and how columns become numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import fail
from runtime.features import Features
from runtime.interactions import Integers, Interactions
from runtime.settings import read_json

ENTRY = "catalogue"  # the entry of config.json


@dataclass(frozen=True)
class Catalogue:
    """What a checkpoint knows of the data it was trained on.

    Attributes:
        items: The names of the items; the first has the number 1.
        users: How columns of users become numbers.
        of_items: How columns of items do.
        edges: How columns of interactions do.
        ordered: Whether interactions have times.
    """

    items: tuple[str, ...]
    users: Features
    of_items: Features
    edges: Features
    ordered: bool

    def entry(self) -> dict[str, Any]:
        """Return the entry of config.json that `read_catalogue` reads."""
        features = {name: getattr(self, name).to_json() for name in ("users", "of_items", "edges")}
        return {ENTRY: {"items": list(self.items), **features, "ordered": self.ordered}}


def read_catalogue(folder: Path) -> Catalogue:
    """Return the catalogue that a checkpoint was trained with, or stop."""
    entry: Any = read_json(folder / "config.json").get(ENTRY)
    try:
        users, items, edges = (
            Features.from_json(entry[name]) for name in ("users", "of_items", "edges")
        )
        names = tuple(map(str, entry["items"]))
        return Catalogue(names, users, items, edges, bool(entry["ordered"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        fail(f"{folder / 'config.json'} names no items: choose a checkpoint of this task.")


def catalogue_of(every: Interactions, split: Integers) -> Catalogue:
    """Return the items and the scales of the training rows: other rows have no say in them."""
    users, items = (np.unique(side[split == 0]) for side in (every.user, every.item))
    return Catalogue(
        tuple(every.items[items].tolist()),
        Features.of(every.of_users, users, every.name),
        Features.of(every.of_items, items, every.name),
        Features.of(every.of_pairs, np.flatnonzero(split == 0), every.name),
        every.times is not None,
    )
