"""search.yaml as keys of a spec: what a search has chosen, with the evidence of each choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from metagen import files
from metagen.errors import Problem, UsageError
from metagen.search.space import CONFIG, DIMS

EVIDENCE = "architecture.search."
_MOST_BYTES = 2**22


def overrides(path: Path) -> list[str]:
    """Return the KEY=VALUE settings of a search.yaml.

    Raises:
        UsageError: The file is none, or sets a key that no search chooses.
    """
    content = _content(path)
    keys, evidence = content.get("keys"), content.get("evidence")
    if not isinstance(keys, dict) or not isinstance(evidence, dict):
        raise _refused(path, "This file has no keys and evidence of a search.")
    for name in keys:
        if not (isinstance(name, str) and name.startswith((DIMS, CONFIG))):
            raise _refused(path, f"A search chooses no key {name!r}.")
    pairs = [*keys.items(), *((f"{EVIDENCE}{name}", text) for name, text in evidence.items())]
    try:
        # JSON is YAML, so that the value of a text is read as the text that it is.
        return [f"{name}={json.dumps(value, ensure_ascii=True)}" for name, value in pairs]
    except (TypeError, ValueError):
        raise _refused(path, "A value is neither a number nor a text.") from None


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(files.read_plain(path, _MOST_BYTES))
    except OSError as error:
        raise _refused(path, f"{error.strerror}.") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _refused(path, "This file is no YAML.") from None
    return content if isinstance(content, dict) else {}


def _refused(path: Path, sentence: str) -> UsageError:
    return UsageError(Problem(sentence, str(path), "name the search.yaml of OUT/search-NAME"))
