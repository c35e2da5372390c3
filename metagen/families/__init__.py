"""What can be built: one line a family, and the routes that lead to it."""

from __future__ import annotations

import heapq
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from metagen.errors import Problem, SpecError
from metagen.families.family import Family, Lookup
from metagen.work import Desk


class Route(NamedTuple):
    """The specs that lead to a family. What a spec does not declare fits every route.

    Attributes:
        family: The family they lead to.
        allowed: The allowed values of each key. Modalities stand together, as in `image+text`; of
            the rest, a spec may name any.
    """

    family: str
    allowed: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, family: str, *values: str) -> Route:
        """Return a route from its family and the words of its keys, in the order of `KEYS`."""
        allowed = map(frozenset, map(str.split, values))
        return cls(family.strip(), dict(zip(KEYS, allowed, strict=True)))

    def misfits(self, key: Lookup) -> list[str]:
        """Return the keys of a spec that do not fit."""
        return [name for name, values in self.allowed.items() if not _fits(name, key(name), values)]


KEYS = (
    "modality.inputs",
    "modality.outputs",
    "task.type",
    "architecture.family",
    "training.objective",
)
INPUTS, OUTPUTS = KEYS[:2]
SHOWN = 3  # routes of an error
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
clip | image+text | embedding image+text | embedding retrieval | transformer | contrastive
latent_unet | text image+text | image | generation | diffusion hybrid | diffusion
patch_forecaster | time_series | time_series | time_series_forecast | transformer | forecasting
autoencoder | time_series | label time_series | anomaly_detection | mlp | reconstruction
tabular_regressor | tabular | regression | regression | mlp | regression
tabular_classifier | tabular | label | classification | mlp | classification
gat | graph | label | graph_classification | gnn | classification
ppo | tabular | action | policy_gradient | mlp | policy_gradient
ppo | image | action | policy_gradient | cnn | policy_gradient
dqn | tabular | action | value_based | mlp | value_based
dqn | image | action | value_based | cnn | value_based
yolox | image | bounding_boxes | object_detection | cnn | object_detection
rt_detr | image | bounding_boxes | object_detection | transformer | object_detection
mask_rcnn | image | segmentation_mask | instance_segmentation | cnn | segmentation
video_dit | video | video | generation | diffusion transformer cnn | diffusion
talking_head_dit | audio+image+text | audio+video | generation | hybrid diffusion transformer | diffusion autoregressive
point_diffusion | text | 3d | generation | diffusion transformer | diffusion
musicgen | audio audio+text text | audio | generation | transformer hybrid | autoregressive diffusion
vit_embedder | image | embedding | embedding retrieval | transformer | contrastive
patch_classifier | time_series | label | classification | transformer | classification
whisper | audio | text | generation | transformer | autoregressive ctc
vlm | image+text | text | generation | transformer hybrid | autoregressive instruction_tuning
two_tower | graph | regression | recommendation | transformer | ranking
node_classifier | graph | label | node_classification | gnn | classification
link_predictor | graph | regression | link_prediction | gnn | classification
pointnet | point_cloud | label | classification | mlp | classification
sac | tabular | action | actor_critic | mlp | actor_critic
mbpo | tabular | action | model_based | mlp | model_based
text_regressor | text | regression | regression | transformer | regression
vit_regressor | image | regression | regression | transformer | regression
resnet_regressor | image | regression | regression | cnn | regression
panoptic_fpn | image | segmentation_mask | panoptic_segmentation | cnn | segmentation
""".splitlines()  # noqa: E501
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
        SpecError: No family builds this combination, with the nearest routes; or several do, with
            the key that tells them apart.
    """
    fitting = [each for each in ROUTES if not each.misfits(key)]
    if len(fitting) != 1:
        raise SpecError([_open(key, fitting) if fitting else _unbuilt(key)])
    return fitting[0].family


def unknown_components(family: Family, declared: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the declared components, as `name (type)`, whose type a family does not have."""
    unknown = (c for c in declared if c["type"] not in family.component_types)
    return [f"{component['name']} ({component['type']})" for component in unknown]


def _fits(name: str, declared: str | tuple[str, ...] | None, allowed: frozenset[str]) -> bool:
    """Return whether a value fits: a model has all of a modality's words, and any of the rest."""
    if not declared:
        return True
    words = {declared} if isinstance(declared, str) else set(declared)
    return "+".join(sorted(words)) in allowed if name in (INPUTS, OUTPUTS) else words <= allowed


def _open(key: Lookup, fitting: Sequence[Route]) -> Problem:
    """Return the problem of a spec that several families fit: the key that tells them apart."""
    undeclared = [name for name in KEYS if not key(name)]
    name = max(undeclared, key=lambda each: len({route.allowed[each] for route in fitting}))
    families = ", ".join(route.family for route in fitting)
    values = (f"{_words(r.allowed[name])} for {r.family}" for r in fitting)
    sentence = f"{len(fitting)} model families make {_made(key)}: {families}"
    return Problem(sentence, OUTPUTS, f"add {name}: {', '.join(values)}")


def _unbuilt(key: Lookup) -> Problem:
    """Return the problem of a spec that no family fits, in one sentence."""
    wrong = {route.family: route.misfits(key) for route in ROUTES}
    making = [keys for keys in wrong.values() if not {INPUTS, OUTPUTS} & {*keys}]
    nearest = heapq.nsmallest(SHOWN, ROUTES, key=lambda each: _distance(wrong[each.family]))
    routes = f"the nearest of {len(ROUTES)} routes: {'; '.join(map(_describe, nearest))}"
    hint = f"{routes}; `metagen families` prints all"
    first, misfits = nearest[0], wrong[nearest[0].family]
    if not making:
        ways = "".join(f"{each}; " for each in _ways(key))
        return Problem(f"no model family makes {_made(key)}", misfits[0], ways + hint)
    fewest: list[str] = min(making, key=len)
    declared = _listed(fewest, key)
    sentence = f"no model family makes {_made(key)} with {declared}"
    taken = _listed(misfits, first.allowed.__getitem__)
    return Problem(f"{sentence}; {first.family} has {taken}", misfits[0], hint)


def _distance(misfits: list[str]) -> tuple[int, bool]:
    return len(misfits), INPUTS in misfits or OUTPUTS in misfits


def _listed(names: Iterable[str], value: Lookup) -> str:
    return " and ".join(f"{name}: {_words(value(name))}" for name in names)


def _ways(key: Lookup) -> Iterator[str]:
    """Yield what one modality of a spec leaves for the other."""
    for name, other, word in ((INPUTS, OUTPUTS, "from"), (OUTPUTS, INPUTS, "for")):
        routes = [each for each in ROUTES if name not in each.misfits(key)]
        values = sorted({value for each in routes for value in each.allowed[other]})
        if values:
            yield f"{word} {'+'.join(key(name))}, {other} may be {_words(values)}"


def _made(key: Lookup) -> str:
    return f"{'+'.join(key(OUTPUTS))} from {'+'.join(key(INPUTS))}"


def _words(value: str | Iterable[str]) -> str:
    *others, last = [value] if isinstance(value, str) else sorted(value)
    return f"{', '.join(others)} or {last}" if others else last


def _describe(route: Route) -> str:
    inputs, outputs, *others = ("|".join(sorted(route.allowed[name])) for name in KEYS)
    return f"{route.family} ({inputs} to {outputs}, {', '.join(others)})"
