"""Loading a spec: from a file and overrides to a checked `Spec`, or to all errors at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metagen.errors import Problem
from metagen.files import sha256
from metagen.spec.checked import Spec
from metagen.spec.contradictions import contradictions, warnings
from metagen.spec.declared import declared, flat, nested, overridden, raw
from metagen.spec.findings import Findings, shown
from metagen.spec.interpolation import interpolated, unreadable
from metagen.spec.kinds import RefusedError
from metagen.spec.reader import Node, decoded, parse, read
from metagen.spec.schema import keys
from metagen.spec.table import Key


@dataclass
class _Places:
    """The places in the file of values and their parts, by path, and of keys, by name."""

    file: Path
    parts: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def part(self, key: Key, at: str) -> str:
        """Return the place of a part of a value, or of the value if the part has none."""
        return self.parts.get(key.name + at, self.parts.get(key.name, str(self.file)))

    def key(self, name: str) -> str:
        """Return the place of a key; "" for one that is not declared."""
        return self.keys.get(name, "")


def load(path: Path, overrides: Sequence[str] = ()) -> Spec:
    """Read and check a spec.

    Args:
        path: A YAML or JSON file.
        overrides: `key=value` texts that take precedence over the file, such as `seed=7`.

    Raises:
        SpecError: With every problem of the file and of the overrides.
    """
    findings, places = Findings(), _Places(path)
    data = read(path)
    file = declared(parse(decoded(data, path), str(path), findings), findings)
    layers = _without_nulls(file, overridden(overrides, findings))
    plain = [_plain(layer, places, findings) for layer in layers]
    refused = {name for layer in layers for name in layer} - {*plain[0], *plain[1]}
    resolved, dangling = interpolated(_merged(_defaults(), *plain), places.parts, findings)
    refused |= dangling
    values = _typed(resolved, refused, places, findings)
    findings.problems += contradictions(values, places.key)
    findings.settle()
    known = {name: raw for name, raw in resolved.items() if values[name] is not None}
    unknown = _unknown(resolved.keys() - known.keys(), resolved, places)
    hints = (*unknown, *warnings(values, places.key))
    return Spec(path, sha256(data), hints, values, places.keys, known)


def _unknown(names: Set[str], raws: Mapping[str, Any], places: _Places) -> Iterator[Problem]:
    """Yield a warning for each quantity that is said to be unknown, and so is not declared."""
    for name in sorted(names):
        sentence = f"{name} is {shown(raws[name])}, so it is not declared"
        yield Problem(sentence, places.key(name), f"give {keys()[name].kind.allowed}")


def _without_nulls(file: dict[str, Node], given: dict[str, Node]) -> list[dict[str, Node]]:
    """Return both layers without their nulls; a null in an override also unsets the file's key."""
    unset = {name for name, node in given.items() if node.value is None}
    return [
        {name: node for name, node in layer.items() if node.value is not None and name not in unset}
        for layer in (file, given)
    ]


def _defaults() -> dict[str, Any]:
    return {key.name: key.default for key in keys().values() if key.default is not None}


def _plain(layer: Mapping[str, Node], places: _Places, findings: Findings) -> dict[str, Any]:
    """Return the raw values of a layer without the unreadable ones; record all places."""
    values = {
        name: raw(node, name, keys()[name].kind.as_text, places.parts)
        for name, node in layer.items()
    }
    places.keys.update({name: node.key or node.place for name, node in layer.items()})
    refused = unreadable(values, places.parts, findings)
    for name, value in values.items():
        if name not in refused and isinstance(value, dict) != _is_mapping(name):
            _value(keys()[name], value, places, findings)
            refused.add(name)
    return {name: value for name, value in values.items() if name not in refused}


def _is_mapping(name: str) -> bool:
    return isinstance(keys()[name].default, dict)


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the raw value of each leaf key, from the last layer that has it; merge mappings."""
    last = {name: i for i, layer in enumerate(layers) for name in layer}
    trees = [
        nested({name: v for name, v in layer.items() if last[name] == i or _is_mapping(name)})
        for i, layer in enumerate(layers)
    ]
    tree = OmegaConf.to_container(OmegaConf.merge(*trees), resolve=False)
    assert isinstance(tree, dict)
    return flat(tree)  # type: ignore[arg-type]


def _typed(
    resolved: Mapping[str, Any], refused: set[str], places: _Places, findings: Findings
) -> dict[str, Any]:
    """Return the typed value of every leaf key; None if it is undeclared or refused."""
    values: dict[str, Any] = dict.fromkeys(keys())
    for key in keys().values():
        if key.name in resolved:
            values[key.name] = _value(key, resolved[key.name], places, findings)
        elif key.required and key.name not in refused:
            hint = f"add {key.name}: ...  # {key.doc}"
            findings.add(f"the key {key.name} is missing", f"{places.file}:1:1", hint)
    return values


def _value(key: Key, value: Any, places: _Places, findings: Findings) -> Any:
    try:
        return key.kind.parse(value)
    except RefusedError as error:
        for flaw in error.flaws:
            sentence = f"{key.name}{flaw.at} {flaw.sentence}"
            findings.add(sentence, places.part(key, flaw.at), flaw.hint)
    return None
