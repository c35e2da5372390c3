"""blueprint/ablations.yaml: single changes worth trying, with the exact size of each."""

from __future__ import annotations

from metagen import families
from metagen.files import yaml_bytes
from metagen.work import Desk, Recipe

TARGET = "blueprint/ablations.yaml"


def work(desk: Desk) -> dict[str, bytes]:
    """List the variants of the chosen family; nobody has run them."""
    family = families.built(desk)
    dims = desk.entry(families.ARCHITECTURE, "model")
    variants = [
        {
            "name": name,
            "change": change,
            "parameters": family.count({**dims, **change}),
            "status": "not run",
        }
        for name, change in family.variants(dims)
    ]
    return {TARGET: yaml_bytes(variants)}


RECIPES = (
    Recipe(
        "blueprint:ablations",
        work,
        (families.ARCHITECTURE,),
        (TARGET,),
        "single changes and their exact sizes",
    ),
)
