"""The settings of a script, at one of the package's two sizes."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runtime.errors import fail
from runtime.limits import check_settings

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Training:
    """Settings of training that every train.py has."""

    steps: int = 10000
    """Updates of the weights; the learning rate's schedule spans them."""
    batch_size: int = 64
    """Samples in an update."""
    grad_accum: int = 1
    """Parts of an update that pass through the model one after the other; more take less memory."""
    optimizer: str = "adamw"
    """adamw, adam, sgd, rmsprop, adafactor, or muon with AdamW for all but matrices of blocks."""
    learning_rate: float = 0.0003
    """Peak learning rate."""
    warmup_steps: int = 500
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.1
    """Decay of matrices and kernels; biases and gains are not decayed."""
    beta1: float = 0.9
    """Share of the mean gradient that an update keeps; the momentum of SGD and RMSprop."""
    beta2: float = 0.95
    """Share of the mean squared gradient that an update keeps, of Adam, AdamW and RMSprop."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient; a longer one is scaled down to it."""
    eval_every: int = 500
    """Updates between two validations."""
    eval_batches: int = 16
    """Batches of the validation split that a validation takes, at most."""
    save_every: int = 500
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights, the order of samples and all else that is random."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, or stop."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist.")
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{path} cannot be read as JSON: {error}.")
    if not isinstance(values, dict):
        fail(f"{path} must hold a JSON object, but it holds another value.")
    return values


def load_config(kind: type[ConfigT], section: str, size: str) -> ConfigT:
    """Return a script's Config: its defaults for `full`, the values of config.json for `proxy`.

    Stop if a value has a wrong type, or is outside of its range.
    """
    if size == "full":
        config = kind()
        check_settings(kind, section, vars(config), f"the Config of {section}.py")
        return config
    path = Path(__file__).parents[1] / "config.json"
    values: Any = read_json(path)
    for name in (size, section):
        values = values.get(name, {})
        if not isinstance(values, dict):
            fail(f"{path}: {name} must be an object, and it is {json.dumps(values)[:80]}.")
    wrong = set(values) ^ set(inspect.signature(kind).parameters)
    if wrong:
        fail(f"{path}: {size}.{section} has unknown or missing fields: {', '.join(sorted(wrong))}.")
    check_settings(kind, section, values, f"{path}: {size}.{section}")
    return kind(**values)
