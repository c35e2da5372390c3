"""The small files of a checkpoint that a release takes over, and those that complete them.

Nothing else of the training folder is released: no state of the optimizer, no `state.json`, no log.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from metagen import families
from metagen.errors import Problem, TaskError
from metagen.files import json_bytes
from metagen.measure.results import FULL_MODEL
from metagen.release.weights import FOLDER, planned
from metagen.trained.weights import CHECKPOINT
from metagen.work import Desk, Output, Recipe

CONFIG, GENERATION = "config.json", "generation_config.json"
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
"""What train.py or transformers writes beside weights and config, for those who prepare inputs."""
_TOKENIZER = "tokenizer_config.json"
_TEMPLATE = "chat_template"
_CODE = "auto_map"  # names of Python files that a library would run
_TEXT_GENERATION = "text-generation"


def config(desk: Desk) -> dict[str, Output]:
    """Return config.json with the format of the released weights."""
    entries = _checked(desk, CONFIG)
    for name in ("dtype", "torch_dtype"):
        entries.pop(name, None)
    return {f"{FOLDER}/{CONFIG}": json_bytes(entries | {"dtype": planned(desk).dtype})}


def generation(desk: Desk) -> dict[str, Output]:
    """Return generation_config.json: the checkpoint's own, else the settings of infer.py."""
    path = f"{FOLDER}/{GENERATION}"
    try:
        return {path: json_bytes(_checked(desk, GENERATION))}
    except LookupError:
        entries = _checked(desk, CONFIG)
    infer = desk.entry(families.ARCHITECTURE, "infer")
    settings = {
        "do_sample": infer["temperature"] > 0,
        **({"temperature": infer["temperature"]} if infer["temperature"] > 0 else {}),
        "top_k": infer["top_k"],
        "top_p": infer["top_p"],
        "max_new_tokens": infer["max_new_tokens"],
    }
    tokens = {name: entries[name] for name in _TOKENS if entries.get(name) is not None}
    return {path: json_bytes(tokens | settings)}


_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def copied(name: str) -> Callable[[Desk], dict[str, Output]]:
    """Return the work that takes a file over as the checkpoint has it."""

    def work(desk: Desk) -> dict[str, Output]:
        if name.endswith(".json"):
            _checked(desk, name)
        return {f"{FOLDER}/{name}": desk.trained(f"{CHECKPOINT}/{name}")}

    return work


def has_template(desk: Desk) -> bool:
    """Return whether the checkpoint has a chat template, in its own file or the tokenizer's."""
    names = desk.trained_names(CHECKPOINT)
    if f"{_TEMPLATE}.jinja" in names:
        return True
    return _TOKENIZER in names and _TEMPLATE in _checked(desk, _TOKENIZER)


def recipes(pipeline_tag: str, names: tuple[str, ...]) -> tuple[Recipe, ...]:
    """Return the recipes of the files that a checkpoint has.

    Args:
        pipeline_tag: The Hub's name of the model's task.
        names: The files of the checkpoint, relative to it.
    """
    model, plan = (FULL_MODEL,), families.ARCHITECTURE
    made = [_recipe("config", config, model, CONFIG, "write the config of the released weights")]
    if pipeline_tag == _TEXT_GENERATION:
        read = (*model, plan)
        made.append(_recipe("generation", generation, read, GENERATION, "write how it generates"))
    for name in COPIED:
        if name in names:
            what = name.rpartition(".")[0].replace("/", "_")
            made.append(_recipe(what, copied(name), model, name, f"take over {name}"))
    return tuple(made)


def _recipe(what: str, work: Any, read: tuple[str, ...], name: str, doc: str) -> Recipe:
    return Recipe(f"release:{what}", work, read, (f"{FOLDER}/{name}",), doc)


def _checked(desk: Desk, name: str) -> dict[str, Any]:
    """Return the object, or the list, of a JSON file of the checkpoint that runs no code.

    Raises:
        TaskError: It is no JSON, or names code that a library would run.
        LookupError: There is no such file.
    """
    place = f"{CHECKPOINT}/{name}"
    try:
        entries: Any = json.loads(desk.trained(place))
    except (ValueError, RecursionError) as error:
        raise TaskError(Problem(f"This is not JSON: {error}", place)) from error
    if not isinstance(entries, dict) and (name == CONFIG or not isinstance(entries, list)):
        raise TaskError(Problem("This is no JSON object", place))
    if _CODE in entries:
        hint = f"remove {_CODE}: the code of a release is in its folder code/"
        raise TaskError(
            Problem(f"The file names code in {_CODE}, which a release runs not", place, hint)
        )
    return cast("dict[str, Any]", entries)
