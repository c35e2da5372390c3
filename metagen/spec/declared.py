"""Finding the leaf keys that a document declares, and reporting unknown keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metagen.spec.findings import Findings, shown
from metagen.spec.kinds import did_you_mean
from metagen.spec.reader import Node, parse
from metagen.spec.schema import SHORTHANDS, keys, sections, variables
from metagen.units import nearest


def declared(root: Node, findings: Findings) -> dict[str, Node]:
    """Return the leaf keys of a file by their full names."""
    if not isinstance(root.value, dict):
        empty = root.value is None
        flaw = "the file is empty" if empty else "the file is not a mapping of keys"
        hint = 'a spec has at least the keys metagen_version: "1.0" and name'
        findings.stop(flaw, root.place, hint)
    leaves: dict[str, Node] = {}
    _walk(root, "", leaves, findings)
    return leaves


def _walk(section: Node, path: str, leaves: dict[str, Node], findings: Findings) -> None:
    for word, node in section.value.items():
        name = f"{path}.{word}" if path else word
        if word not in sections()[path]:
            _unknown(word, path, node, findings)
        elif name in keys():
            leaves[name] = node
        elif isinstance(node.value, dict):
            _walk(node, name, leaves, findings)
        elif node.value is not None:
            text = "a list" if isinstance(node.value, list) else shown(node.value)
            allowed = ", ".join(sections()[name])
            findings.add(f"{name} is {text}; allowed: a mapping of {allowed}", node.place)


def _unknown(word: str, path: str, node: Node, findings: Findings) -> None:
    siblings = sections()[path]
    where = f"{path} has no key {shown(word)}" if path else f"there is no key {shown(word)}"
    hint = did_you_mean(nearest(word, siblings) or _elsewhere(word))
    findings.add(f"{where}; allowed: {', '.join(siblings)}", node.key, hint)


def _elsewhere(word: str) -> str:
    """Return the full name of a key that is in the wrong section; "" for none."""
    last = {name.rpartition(".")[2]: name for name in keys()}
    return last.get(nearest(word, last), "")


def overridden(overrides: Sequence[str], findings: Findings) -> dict[str, Node]:
    """Return the leaf keys that `key=value` texts set; the place of each is its text."""
    leaves: dict[str, Node] = {}
    for override in overrides:
        place = f"override {shown(override)}"
        word, equals, text = override.partition("=")
        name, part = _mapping_and_part(SHORTHANDS.get(word, word))
        if not equals or name not in keys():
            _no_variable(word, place, findings)
            continue
        node = parse(text, place, findings, lines=False)
        leaves[name] = _added(leaves.get(name), part, node) if part else node
    return leaves


def _mapping_and_part(word: str) -> tuple[str, str]:
    """Split the name of a part of a mapping, as architecture.dims.d_model; others have no part."""
    name, _, part = word.rpartition(".")
    mapping = name in keys() and isinstance(keys()[name].default, dict)
    return (name, part) if mapping and part else (word, "")


def _added(mapping: Node | None, part: str, node: Node) -> Node:
    """Return a mapping with one more part; what earlier overrides set of it stays."""
    before = mapping.value if mapping and isinstance(mapping.value, dict) else {}
    return replace(node, value={**before, part: node}, text="")


def _no_variable(word: str, place: str, findings: Findings) -> None:
    inside = [f"{word}.{part}" for part in sections().get(word, ()) if word]
    allowed = ", ".join(inside) or "a key of a spec by its full name, as in key=value"
    hint = did_you_mean(nearest(word, variables()) or _elsewhere(word))
    sentence = f"there is no key {shown(word)} to set; allowed: {allowed}"
    findings.add(sentence, place, "" if inside else hint)


def raw(node: Node, path: str, as_text: bool, places: dict[str, str]) -> Any:
    """Return a node as plain values, and record the place of each part by its path.

    Args:
        node: The value of a leaf key.
        path: The leaf key, to which the parts add `[2]` or `.d_model`.
        as_text: Whether a number is read as its spelling.
        places: Receives the place of each part.
    """
    places[path] = node.place
    if isinstance(node.value, list):
        parts = enumerate(node.value)
        return [raw(part, f"{path}[{i}]", as_text, places) for i, part in parts]
    if isinstance(node.value, dict):
        items = node.value.items()
        return {key: raw(part, f"{path}.{key}", as_text, places) for key, part in items}
    number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    return node.text if number and as_text else node.value


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return leaf keys as the nested mapping of a spec file."""
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        *sections_, last = name.split(".")
        inner = tree
        for section in sections_:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return tree


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaf keys of a nested mapping; all its keys are keys of the schema."""
    leaves = {}
    for name in keys():
        inner: Any = tree
        for part in name.split("."):
            inner = inner.get(part) if inner is not None else None
        if inner is not None:
            leaves[name] = inner
    return leaves
