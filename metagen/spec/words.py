"""The allowed words of keys with a fixed vocabulary."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from metagen.paths import source

UNBUILDABLE = dict.fromkeys(("taste", "smell"), "no model can be built for it")
INPUTS = (
    *("text", "image", "audio", "video", "3d", "multimodal"),
    *("time_series", "graph", "tabular", "point_cloud"),
)
OUTPUTS = (
    *("text", "image", "audio", "video", "3d", "multimodal"),
    *("label", "bounding_boxes", "segmentation_mask", "embedding"),
    *("action", "time_series", "graph", "regression"),
)
OUTPUT_SYNONYMS = {"classification": "label"}

SEGMENTATION_TASKS = ("instance_segmentation", "semantic_segmentation", "panoptic_segmentation")
POLICY_METHODS = ("policy_gradient", "value_based", "actor_critic", "model_based")
GRAPH_TASKS = ("node_classification", "link_prediction", "graph_classification")
TASKS = (
    *("generation", "classification", "regression", "embedding", "ranking", "retrieval"),
    *("object_detection", *SEGMENTATION_TASKS, "time_series_forecast", "anomaly_detection"),
    *(*POLICY_METHODS, *GRAPH_TASKS, "recommendation"),
)
OBJECTIVES = (
    *("autoregressive", "diffusion", "contrastive", "masked", "classification", "regression"),
    *("forecasting", "ranking", "object_detection", "segmentation", "reconstruction"),
    *(*POLICY_METHODS, "instruction_tuning", "ctc"),
)
OBJECTIVE_SYNONYMS = {
    "pairwise_ranking": "ranking",
    "semantic_segmentation": "segmentation",
    "instance_segmentation": "segmentation",
    "panoptic_segmentation": "segmentation",
}
FAMILIES = ("transformer", "diffusion", "cnn", "hybrid", "mlp", "gnn")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "adafactor", "muon")
ARTIFACTS = (
    *("pytorch_skeleton", "training_recipe", "benchmark_report", "paper"),
    *("model_card", "data_card", "eval_report", "limitations"),
)
BENCHES = ("quick", "full", "none")
DEVICE_CLASSES = ("consumer_gpu", "datacenter_gpu", "gpu", "cpu", "edge", "mobile")
_MAKERS = {"nvidia", "geforce", "tesla", "apple"}
_SHORT = re.compile("[A-Za-z-]*[0-9]+[A-Za-z]*")


@cache
def _hub() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(source("data/hub.json").read_bytes())
    return content


def hub_list(name: str) -> tuple[str, ...]:
    """Return a list of identifiers of the Hugging Face Hub, such as `licenses`."""
    return tuple(" ".join(_hub()[name]["names"]).split())


# The licence identifiers that a model card may have.
LICENSES = hub_list("licenses")

# Sources of electricity, as CycloneDX 1.7 names them (`energySource`).
ENERGY_SOURCES = (
    *("coal", "oil", "natural-gas", "nuclear", "wind", "solar", "geothermal", "hydropower"),
    *("biofuel", "other"),
)
# Stages of an evaluation, as the warehouse of Evaluation Cards names them (`lifecycle_status`).
LIFECYCLES = ("draft", "stable", "deprecated")
# Levels of SPDX 3.0.1, `SafetyRiskAssessmentType`.
RISKS = ("low", "medium", "high", "serious")
# How data was obtained: the kinds that the AI Office's template of a training summary tells apart.
ACQUISITIONS = ("public", "licensed", "private", "scraped", "users", "synthetic", "other")


@cache
def languages() -> frozenset[str]:
    """Return the codes of ISO 639-1 and ISO 639-3."""
    return frozenset(hub_list("languages"))


def device(name: str) -> str:
    """Return the device class or device of a name; "" if there is none."""
    same = (each for each in DEVICE_CLASSES if _joined(each) == _joined(name))
    return next(same, "") or matching(name, devices())


def matching(name: str, known: Iterable[str]) -> str:
    """Return the first device that a name means; "" if there is none.

    Case, spaces and punctuation play no part, nor does the maker's name. A start of a device's
    name is enough if it ends with a word and says which device: `H100` does, `RTX` does not.
    """
    given, known = _joined(name), tuple(known)
    exact = [each for each in known if _joined(each) == given]
    return next(iter(exact or [each for each in known if given in _starts(each)]), "")


def short_names() -> tuple[str, ...]:
    """Return the shortest start of each device's name that says which device it is."""
    starts = (_SHORT.match(each) for each in devices())
    return tuple(dict.fromkeys(found[0] for found in starts if found))


def _words(name: str) -> list[str]:
    # Letters beyond ASCII are letters of no device: the long s folds to s, the Kelvin sign to k.
    words = re.findall("[a-z0-9]+", name.lower()) if name.isascii() else []
    return [word for word in words if word not in _MAKERS]


def _joined(name: str) -> str:
    return "".join(_words(name))


def _starts(device: str) -> set[str]:
    """Return the starts of a name that say which device it is: two words, or one with a number."""
    words = _words(device)
    least = 1 if re.search("[0-9]", words[0]) else 2
    return {"".join(words[:end]) for end in range(least, len(words) + 1)}


@cache
def devices() -> tuple[str, ...]:
    """Return the names of the devices in data/devices.csv."""
    with source("data/devices.csv").open(encoding="utf-8", newline="") as stream:
        return tuple(row["device"] for row in csv.DictReader(stream))
