"""`docs/release.json`: what the released folder holds, for the card and for those who check it."""

from __future__ import annotations

from typing import Any

from metagen import families
from metagen.docs import licenses
from metagen.files import json_bytes
from metagen.measure.results import FULL_MODEL
from metagen.release import opens, texts
from metagen.release.weights import FOLDER, planned
from metagen.trained.weights import CHECKPOINT
from metagen.work import Desk, Output, Recipe

PATH = "docs/release.json"
CONFIG = f"{FOLDER}/{texts.CONFIG}"


def about(desk: Desk) -> dict[str, Output]:
    """Return the facts of the release."""
    plan, license = planned(desk), licenses.declared(desk)
    names = desk.trained_names(CHECKPOINT)
    opened = opens.class_of(desk.entry(CONFIG))
    tag = families.of_package(desk).words.pipeline_tag
    content: dict[str, Any] = {
        "dtype": plan.dtype,
        "parameters": desk.entry(FULL_MODEL, "checkpoint", "parameters"),
        "numbers": plan.numbers,
        # Beside the weights as trained, the same files have the same size.
        "bytes": desk.entry(FULL_MODEL, "checkpoint", "bytes") if plan.unchanged else plan.size,
        "files": len(plan.shards),
        "same": plan.unchanged,
        "class": opened or None,
        "library": opens.library(opened, tag, names) or None,
        "tokenizer": "tokenizer.json" in names,
        "chat_template": texts.has_template(desk),
        "license": {
            "name": license.name or None,
            "link": license.link or None,
            "text": licenses.has_text(license),
        },
        "paper": _paper(desk),
    }
    return {PATH: json_bytes(content)}


def _paper(desk: Desk) -> str:
    """Return whether the release has the paper, or why not."""
    if "paper" not in desk.key("outputs.artifacts"):
        return "not requested"
    return "included" if desk.version("tex") else "no TeX"


RECIPE = Recipe(
    "release:about",
    about,
    (FULL_MODEL, families.ARCHITECTURE, CONFIG),
    (PATH,),
    "say what the release holds",
)
