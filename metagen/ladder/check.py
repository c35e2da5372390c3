"""check.json: the forecast beside the loss of the trained model, which changes no forecast.

The loss is that of the whole validation split, by the code of the package, as for the rungs: a
training of one update from the trained weights, at a rate that changes none of them, validates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metagen import files
from metagen.errors import Problem, UsageError
from metagen.ladder import forecast
from metagen.ladder.sizes import Full
from metagen.measure.training import Left, trained
from metagen.trained.forecast import CHECK
from metagen.trials.trial import CONFIG, WHOLE_SPLIT

FILE = "check.json"
_NO_LIMIT = 1e8  # seconds
_STILL = {"learning_rate": 1e-30, "warmup_steps": 0, "steps": 1, "eval_every": 1, "save_every": 1}
_BATCH = 8  # Samples that are scored at once; the loss is the same for all.


def measured(package: Mapping[str, bytes], full: Full, training: Path, data: Path | None) -> Left:
    """Return a validation of trained weights on the whole split.

    Args:
        package: The files of `code/`.
        full: The settings of the full model.
        training: The folder that train.py wrote.
        data: What the user's --data names.

    Raises:
        UsageError: The folder has no checkpoint.
        TaskError: The code failed, or the weights are of another network.
    """
    checkpoint = training.resolve() / "checkpoint"
    if not checkpoint.is_dir():
        hint = "name the folder that train.py wrote"
        raise UsageError(Problem("This folder has no checkpoint.", str(training), hint))
    config = {name: dict(values) for name, values in full.sections.items()}
    config["train"] |= _STILL
    config["train"] |= {"batch_size": _BATCH, "grad_accum": 1, "eval_batches": WHOLE_SPLIT}
    code = {**package, CONFIG: files.json_bytes({"proxy": config})}
    read = ("--data", str(data.resolve())) if data else ()
    options = ("--size", "proxy", "--device", "cpu", "--threads", "1", *read)
    command = ("train.py", *options, "--init-from", str(checkpoint))
    return trained(code, command, lambda done, steps, note: None, timeout=_NO_LIMIT)


def content(
    registered: Mapping[str, Any], source: bytes, left: Left, training: Path
) -> dict[str, Any]:
    """Return the content of check.json.

    Args:
        registered: The forecast.
        source: The bytes of its file.
        left: The validation of the trained weights.
        training: The folder that train.py wrote.

    Raises:
        UsageError: The weights were scored on other data than that of the ladder.
    """
    if left.run["data"]["sha256"] != registered["data"]["sha256"]:
        sentence = "The forecast is of other data than this."
        hint = "name the data of the ladder with --data"
        raise UsageError(Problem(sentence, str(left.run["data"]["name"]), hint))
    said, loss = registered["forecast"], float(left.curve[-1]["val_loss"])
    return {
        "kind": CHECK,
        "forecast_sha256": files.sha256(source),
        "weights_sha256": left.run["init_from"],
        "forecast": said,
        "measured": loss,
        "miss": (said["loss"] - loss) / loss,
        "inside": said["low"] <= loss <= said["high"],
        "differs": list(_different(registered, training)),
    }


def _different(registered: Mapping[str, Any], training: Path) -> Iterator[str]:
    """Yield how the training differs from the forecast one, as far as its record tells."""
    try:
        record = json.loads(files.read_plain(training / "run.json", forecast.MOST_BYTES))
        first, last = record["starts"][0], record["starts"][-1]
        made, began = last["settings"]["train"], first["began"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        yield "the training has no run.json that says how it went"
        return
    if str(began) < registered["registered"][:19]:
        yield f"the training began at {began}, before the forecast of {registered['registered']}"
    for name, wanted in registered["model"]["settings"].items():
        if name != "grad_accum" and made.get(name) != wanted:
            yield f"{name} is {made.get(name)}, and the forecast is of {wanted}"
