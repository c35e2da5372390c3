"""Whether a checkpoint is of the package's model: `state.json`, `config.json` and `tokenizer.json`.

A checkpoint is refused if one of these differs from the package:

- the sizes of the model (`model.*`): the network would be another one;
- the cut of the data (`data.*`): the test split would be another one, with samples that were read;
- the seed (`train.seed`): it draws the first weights and the order of the data, and the documents
  name it.

All other settings of training, such as steps, the batch size and the learning rate, are what
people change with a reason. They are listed as different from the plan, and the documents say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.errors import Problem
from metagen.files import sha256
from metagen.measure.results import DIGEST, NAME, map_of, or_null
from metagen.spec.findings import shown
from metagen.spec.kinds import whole
from metagen.trained import door
from metagen.trained.weights import CHECKPOINT, OTHER
from metagen.work import Desk

STATE, CONFIG, TOKENIZER = (
    f"{CHECKPOINT}/{name}" for name in ("state.json", "config.json", "tokenizer.json")
)
SECTIONS = ("model", "data", "train")
_SAME = ("model.", "data.", "train.seed")
_FIELDS = {"step": whole(1, 10**15), "sha256": or_null(DIGEST), "init_from": or_null(DIGEST)}
_BOUND = (CONFIG, TOKENIZER, f"{CHECKPOINT}/tokenizer_config.json")

State = dict[str, Any]


def read(desk: Desk, planned: Mapping[str, Any]) -> State:
    """Return the state of the bound checkpoint, if it is one of the package's model.

    Args:
        desk: Where the training folder is bound.
        planned: The settings of the package's full model by section; `model` is that of its code.

    Raises:
        TaskError: The checkpoint is of another model, data cut or seed, or its files disagree.
    """
    state = _file(desk, STATE)
    if state is None and not desk.trained_names(CHECKPOINT):
        hint = "name the folder that train.py wrote with --out"
        door.refuse("The training folder has no checkpoint.", CHECKPOINT, hint)
    if state is None:
        hint = "name a folder that train.py wrote: its state says which step and seed it is of"
        door.refuse("The checkpoint has no state.json.", CHECKPOINT, hint)
    door.settle(door.flaws(STATE, (), state, _FIELDS))
    # Scripts of older packages save no digests of the files beside the weights.
    door.settle(door.flaws(STATE, (), {"files": {}, **state}, {"files": map_of(DIGEST, NAME)}))
    door.settle(_others(STATE, state, _named(planned)))
    config = _file(desk, CONFIG)
    if config is None:
        door.refuse("The checkpoint has no config.json.", CHECKPOINT, "copy the whole checkpoint")
    model = {name: value for name, value in planned["model"].items() if name in config}
    door.settle(_others(CONFIG, config, model))
    door.settle(_replaced(desk, state))
    door.settle(_vocabulary(desk, planned["model"].get("vocab_size")))
    return state


def _file(desk: Desk, path: str) -> dict[str, Any] | None:
    data = _bytes(desk, path)
    content = {} if data is None else door.content(path, data)
    if not isinstance(content, dict):
        door.refuse("This file must hold an object.", path)
    return None if data is None else content


def _bytes(desk: Desk, path: str) -> bytes | None:
    try:
        return desk.trained(path)
    except LookupError:
        return None


def _named(planned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that must be equal, by their names in state.json."""
    every = {f"{s}.{name}": value for s in SECTIONS for name, value in planned[s].items()}
    return {name: value for name, value in every.items() if name.startswith(_SAME)}


def _others(path: str, found: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each setting that is another one than the package's."""
    for name, value in own.items():
        if name not in found:
            yield Problem(f"The setting {name} is missing.", path, OTHER)
        elif not _equal(found[name], value):
            sentence = f"{name} is {shown(found[name])}, and {shown(value)} in the package."
            yield Problem(sentence, path, OTHER)


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values of JSON are equal; 1 and 1.0 are, 1 and true are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def different(state: State, planned: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of training that differ from the plan and may, each with both values."""
    pairs = ((name, value, state.get(f"train.{name}")) for name, value in planned["train"].items())
    return [
        {"setting": f"train.{name}", "planned": plan, "actual": actual}
        for name, plan, actual in pairs
        if f"train.{name}" in state and not _equal(actual, plan)
    ]


def _replaced(desk: Desk, state: State) -> Iterator[Problem]:
    """Yield the files beside the weights that are not those that train.py saved with them."""
    saved = state.get("files", {})
    for path in _BOUND:
        name, data = path.removeprefix(f"{CHECKPOINT}/"), _bytes(desk, path)
        digest = None if data is None else sha256(data)
        if name in saved and saved[name] != digest:
            what = "is missing" if digest is None else "is not the one that train.py saved"
            yield Problem(f"{name} {what}.", path, "bind the checkpoint as it was saved")


def _vocabulary(desk: Desk, size: int | None) -> Iterator[Problem]:
    """Yield a problem if the tokenizer has tokens that the model does not know."""
    tokenizer = _file(desk, TOKENIZER) if size else None
    model = tokenizer.get("model") if tokenizer else None
    words = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(words, dict) and len(words) > (size or 0):
        sentence = f"The tokenizer has {len(words):,} tokens, and the model {size:,}."
        yield Problem(sentence, TOKENIZER, "bind the tokenizer that the model was trained with")
