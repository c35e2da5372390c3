"""The settings of a script, at one of the package's two sizes."""

import inspect
import json
from pathlib import Path
from typing import Any, TypeVar

from runtime.errors import fail

ConfigT = TypeVar("ConfigT")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, or stop."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist.")
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{path} cannot be read as JSON: {error}.")
    if not isinstance(values, dict):
        fail(f"{path} must hold a JSON object, and it holds another value.")
    return values


def load_config(kind: type[ConfigT], section: str, size: str) -> ConfigT:
    """Return a script's Config: `full` is its defaults, `proxy` stands in config.json."""
    if size == "full":
        return kind()
    path = Path(__file__).parents[1] / "config.json"
    values = read_json(path).get(size, {}).get(section, {})
    wrong = set(values) ^ set(inspect.signature(kind).parameters)
    if wrong:
        fail(f"{path}: {size}.{section} has unknown or missing fields: {', '.join(sorted(wrong))}.")
    return kind(**values)
