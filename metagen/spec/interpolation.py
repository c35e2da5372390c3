"""References inside a spec: `${constraints.context_window}`, and nothing else.

OmegaConf's own grammar also reads the environment and calls resolvers, nests, and expands without
limit. A spec may come from a stranger, so every reference is checked here before OmegaConf reads
it: it must name a leaf key of the same spec that has a value, form no circle, and stay short.
`unreadable` checks the spelling of references before anything is merged; `interpolated` then checks
their targets and resolves them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from metagen.spec.declared import flat, nested
from metagen.spec.findings import Findings, shown
from metagen.spec.kinds import did_you_mean
from metagen.spec.schema import keys
from metagen.units import nearest

MOST_STEPS = 8
MOST_CHARACTERS = 100_000
_REFERENCE = re.compile(r"\$\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)\}")
_ALLOWED = "only ${section.key}, the name of a key of this spec, is read"


def interpolated(
    merged: Mapping[str, Any], places: Mapping[str, str], findings: Findings
) -> tuple[dict[str, Any], set[str]]:
    """Resolve the references in the raw values of the leaf keys.

    Args:
        merged: The raw value of each leaf key.
        places: The place of each value and of each part of one, by its path.
        findings: Receives references that cannot be resolved.

    Returns:
        The values that could be resolved, and the names of the keys that could not.
    """
    if not any("${" in text for value in merged.values() for _, text in _texts(value, "")):
        return dict(merged), set()
    judge = _Judge(merged, places, findings)
    refused = {name for name in merged if judge.size(name, ()) is None}
    good = {name: value for name, value in merged.items() if name not in refused}
    tree = OmegaConf.to_container(OmegaConf.create(nested(good)), resolve=True)
    assert isinstance(tree, dict)
    resolved = flat(tree)  # type: ignore[arg-type]
    rest = {name for name in resolved if any("${" in t for _, t in _texts(resolved[name], ""))}
    for name in sorted(rest):  # the resolved spec would change when it is loaded again
        findings.add(f"{name} builds a reference out of parts", places[name], _ALLOWED)
    return {name: resolved[name] for name in resolved if name not in rest}, refused | rest


def unreadable(
    values: Mapping[str, Any], places: Mapping[str, str], findings: Findings
) -> set[str]:
    """Return the keys with a text that OmegaConf would read as more than plain references."""
    refused = set()
    for name, value in values.items():
        for path, text in _texts(value, name):
            if text.count("${") != len(_REFERENCE.findall(text)) or "\\${" in text:
                findings.add(f"{path} is {shown(text)}: {_ALLOWED}", places.get(path, places[name]))
                refused.add(name)
    return refused


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield each text inside a raw value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _texts(part, f"{path}[{i}]")
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(part, f"{path}.{key}")


class _Judge:
    """Follows the references from key to key; each key is checked once."""

    def __init__(
        self, merged: Mapping[str, Any], places: Mapping[str, str], findings: Findings
    ) -> None:
        self._merged, self._places, self._findings = merged, places, findings
        self._sizes: dict[str, int | None] = {}

    def size(self, name: str, trail: tuple[str, ...]) -> int | None:
        """Return the characters of a key's resolved value; None if it cannot be resolved."""
        if name not in self._sizes:
            parts = [
                self._text_size(name, path, text, (*trail, name))
                for path, text in _texts(self._merged[name], name)
            ]
            sound = [part for part in parts if part is not None]
            self._sizes[name] = sum(sound) if len(sound) == len(parts) else None
        return self._sizes[name]

    def _text_size(self, name: str, path: str, text: str, trail: tuple[str, ...]) -> int | None:
        place = self._places.get(path, self._places.get(name, ""))
        total = len(text)
        for target in _REFERENCE.findall(text):
            size = self._target_size(target, text, path, place, trail)
            if size is None:
                return None
            total += size
        if total <= MOST_CHARACTERS:
            return total
        self._findings.add(f"{path} grows beyond {MOST_CHARACTERS:,} characters", place)
        return None

    def _target_size(
        self, target: str, text: str, path: str, place: str, trail: tuple[str, ...]
    ) -> int | None:
        flaw = self._flaw(target, text, trail)
        if flaw:
            hint = "" if target in keys() else did_you_mean(nearest(target, keys()))
            self._findings.add(f"{path} refers to {target}, {flaw}", place, hint)
            return None
        return self.size(target, trail)

    def _flaw(self, target: str, text: str, trail: tuple[str, ...]) -> str:
        """Return why a reference cannot be followed; "" if it can."""
        if target not in keys():
            return "which is not a key of a spec"
        if self._merged.get(target) in (None, "???"):  # OmegaConf's mark for a missing value
            return "which is not declared"
        if target in trail:
            return f"which leads back to itself: {' -> '.join((*trail, target))}"
        if len(trail) >= MOST_STEPS:
            return f"the end of a chain of more than {MOST_STEPS} references"
        if isinstance(self._merged[target], (list, dict)) and text != f"${{{target}}}":
            return "a list or a mapping, which cannot be part of a text"
        return ""
