"""Keys that are valid alone but contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

from metagen.errors import Problem
from metagen.spec.findings import shown
from metagen.spec.words import GRAPH_TASKS, OBJECTIVES, POLICY_METHODS, SEGMENTATION_TASKS
from metagen.units import INFINITE

Values = Mapping[str, Any]
Place = Callable[[str], str]

_CLASSIFIERS = {"classification", "node_classification", "graph_classification"}
_ORDERINGS = {"ranking", "retrieval", "recommendation"}
_DENSE = {"object_detection", *SEGMENTATION_TASKS}

# An objective that is not listed works for every task.
_TASKS_OF_OBJECTIVE: Mapping[str, Set[str]] = {
    "diffusion": {"generation", "time_series_forecast", "anomaly_detection"}
    | {*SEGMENTATION_TASKS, *POLICY_METHODS},
    "classification": {"anomaly_detection", "link_prediction", *POLICY_METHODS}
    | _CLASSIFIERS | _ORDERINGS | _DENSE,
    "regression": {"regression", "time_series_forecast", "anomaly_detection", "embedding"}
    | {"object_detection", *POLICY_METHODS} | _ORDERINGS,
    "forecasting": {"time_series_forecast", "anomaly_detection", "regression", "generation"},
    "ranking": {"embedding", "link_prediction"} | _ORDERINGS,
    "object_detection": {"object_detection", "instance_segmentation", "panoptic_segmentation"},
    "segmentation": _DENSE,
    **dict.fromkeys(POLICY_METHODS, {"generation", *POLICY_METHODS} | _ORDERINGS),
}  # fmt: skip

_IMAGES = {"image", "video", "3d", "point_cloud", "multimodal"}
_INPUTS_OF_TASK: Mapping[str, Set[str]] = {
    **dict.fromkeys(_DENSE, _IMAGES),
    **dict.fromkeys(GRAPH_TASKS, frozenset({"graph", "multimodal"})),
    "time_series_forecast": {"time_series", "tabular", "multimodal"},
}
_OUTPUTS_OF_TASK: Mapping[str, Set[str]] = {
    **dict.fromkeys(_CLASSIFIERS, frozenset({"label"})),
    "regression": {"regression"},
    "embedding": {"embedding"},
    "object_detection": {"bounding_boxes"},
    **dict.fromkeys(SEGMENTATION_TASKS, frozenset({"segmentation_mask"})),
    "time_series_forecast": {"time_series", "regression"},
    **dict.fromkeys(POLICY_METHODS, frozenset({"action"})),
}


def contradictions(values: Values, place: Place) -> Iterator[Problem]:
    """Yield a problem for each pair of declared keys that contradict each other.

    Args:
        values: The typed value of each leaf key; None if it is refused or not declared.
        place: Returns the place of a key; "" for a key that is not declared.
    """
    for rule in _RULES:
        for first, second, why in rule(values):
            if place(first) and place(second):
                yield _clash(values, place, first, second, why)


def _clash(values: Values, place: Place, first: str, second: str, why: str) -> Problem:
    one, other = (f"{name} is {_words(values[name])}" for name in (first, second))
    sentence = f"{one}, but {other} ({place(second)}): {why}"
    return Problem(sentence, place(first), "change one of the two")


def _words(value: Any) -> str:
    return shown(list(value) if isinstance(value, tuple) else value)


Clash = Iterable[tuple[str, str, str]]


def _budget(values: Values) -> Clash:
    least, most = "constraints.parameter_budget.min", "constraints.parameter_budget.max"
    if values[least] and values[most] and values[least] > values[most]:
        yield least, most, "no count satisfies both"


def _prompt(values: Values) -> Clash:
    prompt, window = values["constraints.prompt_length"], values["constraints.context_window"]
    if prompt and isinstance(window, int) and prompt > window:
        yield "constraints.prompt_length", "constraints.context_window", "the window has no room"


def _objective(values: Values) -> Clash:
    objectives, task = values["training.objective"], values["task.type"]
    if objectives and task and not any(_suits(one, task) for one in objectives):
        good = [one for one in OBJECTIVES if _suits(one, task)]
        yield "training.objective", "task.type", f"the task is trained by {', '.join(good)}"


def _suits(objective: str, task: str) -> bool:
    return objective not in _TASKS_OF_OBJECTIVE or task in _TASKS_OF_OBJECTIVE[objective]


def _mlp_diffusion(values: Values) -> Clash:
    if values["architecture.family"] == "mlp" and values["training.objective"] == ("diffusion",):
        why = "a denoiser is built as diffusion, transformer, cnn, hybrid or gnn"
        yield "training.objective", "architecture.family", why


def _inputs(values: Values) -> Clash:
    needed = _INPUTS_OF_TASK.get(values["task.type"])
    if needed and values["modality.inputs"] and not needed & set(values["modality.inputs"]):
        why = f"the task needs one of {', '.join(sorted(needed))}"
        yield "task.type", "modality.inputs", why


def _warmups(values: Values) -> Clash:
    steps, epochs = "training.config.warmup_steps", "training.config.warmup_epochs"
    if values[steps] is not None and values[epochs] is not None:
        yield epochs, steps, "a training has one warm-up"


def _actions(values: Values) -> Clash:
    space, clash = "task.action_space", {"discrete": "action_dim", "continuous": "num_actions"}
    other = f"task.{clash[values[space]]}" if values[space] else ""
    if other and values[other] is not None:
        yield space, other, "num_actions goes with discrete, action_dim with continuous"


def _patches(values: Values) -> Clash:
    image, patch = values["constraints.image_size"], values["constraints.patch_size"]
    if image and patch and any(p > i for p, i in zip(patch, image, strict=True)):
        why = "a patch cannot be larger than the image"
        yield "constraints.patch_size", "constraints.image_size", why


_RULES = (_budget, _prompt, _objective, _mlp_diffusion, _inputs, _warmups, _actions, _patches)


def warnings(values: Values, place: Place) -> Iterator[Problem]:
    """Yield warnings: keys that are allowed but unusual; arguments as for `contradictions`."""
    if values["constraints.context_window"] == INFINITE:
        sentence = "constraints.context_window is infinite, and no memory holds that"
        hint = "a model with a window has the largest one that the other constraints allow"
        yield Problem(sentence, place("constraints.context_window"), hint)
    if values["constraints.prompt_length"] and not values["constraints.device"]:
        sentence = "constraints.prompt_length changes nothing where no device is declared"
        hint = "add constraints.device, which reads the prompt"
        yield Problem(sentence, place("constraints.prompt_length"), hint)
    usual = _OUTPUTS_OF_TASK.get(values["task.type"])
    if usual and not usual & set(values["modality.outputs"]):
        outputs = _words(values["modality.outputs"])
        sentence = f"task.type is {_words(values['task.type'])}, but modality.outputs is {outputs}"
        hint = f"the task usually has the output {' or '.join(sorted(usual))}"
        yield Problem(sentence, place("modality.outputs") or place("task.type"), hint)
