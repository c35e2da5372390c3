"""What can be built: one line a family, and the routes that lead to it."""

from __future__ import annotations

import heapq
import importlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from metagen.errors import Problem, SpecError
from metagen.families.family import Family, Lookup
from metagen.work import Desk


class Route(NamedTuple):
    """The specs that lead to a family. What a spec does not declare fits every route.

    Attributes:
        family: The family they lead to.
        allowed: The allowed values of each key; a model has all of a modality's, any of the rest.
    """

    family: str
    allowed: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, family: str, *values: str) -> Route:
        """Return a route from its family and the words of its keys, in the order of `KEYS`."""
        allowed = map(frozenset, map(str.split, values))
        return cls(family.strip(), dict(zip(KEYS, allowed, strict=True)))

    def misfits(self, key: Lookup) -> dict[str, str]:
        """Return the keys of a spec that do not fit, each with what would."""
        return {
            name: " or ".join(sorted(values))
            for name, values in self.allowed.items()
            if not _fits(name, key(name), values)
        }


KEYS = (
    "modality.inputs",
    "modality.outputs",
    "task.type",
    "architecture.family",
    "training.objective",
)
SHOWN = 3  # routes of an error
# The first route that fits a spec is taken.
ROUTES = tuple(
    Route.of(*line.split("|"))
    for line in """\
decoder | text | text | generation | transformer | autoregressive instruction_tuning
text_classifier | text | label | classification | transformer | classification
sentence_embedder | text | embedding | embedding retrieval | transformer | contrastive
document_ranker | text | regression | ranking | transformer | ranking
vit | image | label | classification | transformer | classification
resnet | image | label | classification | cnn | classification
segmentation_unet | image | segmentation_mask | semantic_segmentation | cnn | segmentation
unet_diffusion | image | image | generation | diffusion cnn | diffusion
clip | image text | embedding | embedding retrieval | transformer | contrastive
latent_unet | text | image | generation | diffusion hybrid | diffusion
patch_forecaster | time_series | time_series | time_series_forecast | transformer | forecasting
autoencoder | time_series | label | anomaly_detection | mlp | reconstruction
tabular_regressor | tabular | regression | regression | mlp | regression
tabular_classifier | tabular | label | classification | mlp | classification
""".splitlines()
)
# A family is the module of its name, which holds it as FAMILY.
FAMILIES = {route.family: f"metagen.families.{route.family}" for route in ROUTES}


def named(name: str) -> Family:
    """Return the family of a name."""
    return _held(FAMILIES[name])


def _held(module: str) -> Family:
    return cast(Family, importlib.import_module(module).FAMILY)


ARCHITECTURE = "blueprint/architecture.yaml"


def of_package(desk: Desk) -> Family:
    """Return the family that architecture.yaml names; the task then depends on its code."""
    return _held(desk.code(FAMILIES[desk.entry(ARCHITECTURE, "family")]))


def of_spec(desk: Desk) -> Family:
    """Return the family that a spec leads to; the task then depends on its code.

    Raises:
        SpecError: No family builds what the spec requests.
    """
    return _held(desk.code(FAMILIES[route(desk.key)]))


def route(key: Lookup) -> str:
    """Return the name of the family that a spec leads to.

    Args:
        key: Gives the value of a leaf key of the spec, None when it is not declared.

    Raises:
        SpecError: No family builds this combination; it names the keys and the nearest routes.
    """
    misfits = [(each, each.misfits(key)) for each in ROUTES]
    for candidate, wrong in misfits:
        if not wrong:
            return candidate.family
    nearest = heapq.nsmallest(SHOWN, misfits, key=lambda pair: len(pair[1]))
    hint = _hint([each for each, _ in nearest])
    first, wrong = nearest[0]
    raise SpecError([_problem(name, key(name), word, first, hint) for name, word in wrong.items()])


def unknown_components(family: Family, declared: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the declared components, as `name (type)`, whose type a family does not have."""
    unknown = (c for c in declared if c["type"] not in family.component_types)
    return [f"{component['name']} ({component['type']})" for component in unknown]


def _fits(name: str, found: str | Iterable[str] | None, allowed: frozenset[str]) -> bool:
    """Tell whether a value fits; a model has all of a route's modalities, and any of the rest."""
    if not found:
        return True
    values = frozenset({found} if isinstance(found, str) else found)
    return values == allowed if name.startswith("modality.") else values <= allowed


def _problem(name: str, found: object, wanted: str, nearest: Route, hint: str) -> Problem:
    shown = ", ".join(found) if isinstance(found, tuple) else found
    return Problem(
        f"no model family builds {name}: {shown}; the nearest, {nearest.family}, takes {wanted}",
        name,
        hint=hint,
    )


def _hint(nearest: Iterable[Route]) -> str:
    listed = "; ".join(map(_describe, nearest))
    return f"the nearest of {len(ROUTES)} routes: {listed}; `metagen families` prints all"


def _describe(route: Route) -> str:
    inputs, outputs, *others = map(sorted, route.allowed.values())
    shown = ", ".join(map("|".join, others))
    return f"{route.family} ({'+'.join(inputs)} to {'+'.join(outputs)}, {shown})"
