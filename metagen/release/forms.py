"""Forms of the values of a card's metadata, each a check that yields what is wrong with a node."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator

from metagen.errors import Problem
from metagen.spec.findings import shown
from metagen.spec.reader import Node
from metagen.spec.words import hub_list
from metagen.units import nearest

_REPO = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_PAGES = {
    "licenses": "huggingface.co/docs/hub/repositories-licenses",
    "languages": "ISO 639-1 or ISO 639-3",
    "libraries": "huggingface.co/docs/hub/models-libraries",
}
# A share of equal letters from which a name counts as misspelt: `library` for `library_name` does,
# `model_version` for `model_name` does not. Longer names than the second figure are cut.
_NEAR, _LONGEST = 0.72, 40

Check = Callable[[Node, str], Iterable[Problem]]
"""A check of a node, which knows the name of its field for the sentence of a problem."""


def text(node: Node, field: str) -> Iterator[Problem]:
    if not isinstance(node.value, str) or not node.value.strip():
        yield Problem(f"{field} must be text, not {_said(node)}", node.place)


def _said(node: Node) -> str:
    kinds = {list: "a list", dict: "a mapping", type(None): "nothing"}
    return kinds.get(type(node.value)) or shown(node.value)


def matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(node: Node, field: str) -> Iterator[Problem]:
        if not isinstance(node.value, str) or not pattern.fullmatch(node.value):
            yield Problem(f"{field} must be {what}, not {_said(node)}", node.place)

    return check


def listed(*lists: str) -> Check:
    """Check that a value is in the first list, or in another one."""
    names = [name for each in lists for name in hub_list(each)]
    known = set(names)

    def check(node: Node, field: str) -> Iterator[Problem]:
        if not isinstance(node.value, str):
            yield Problem(f"{field} must be text, not {_said(node)}", node.place)
        elif node.value not in known:
            sentence = f"{field} is {shown(node.value)}, which the Hub does not list"
            yield Problem(sentence, node.place, _next_step(node.value, names, lists[0]))

    return check


def _next_step(value: str, names: list[str], kind: str) -> str:
    page = _PAGES.get(kind) or f"`{kind}` of data/hub.json"
    # A spelling near to a language's means nothing among 8,000 of three letters.
    near = _first_subtag(value) if kind == "languages" else nearest(value, names)
    return f"write {near}; all of them: {page}" if near in names else f"choose one of {page}"


def _first_subtag(value: str) -> str:
    return re.split("[-_]", value)[0].lower()


def many(check: Check, *, single: bool = True) -> Check:
    """Check each value of a list without repetitions, or a `single` value."""

    def each(node: Node, field: str) -> Iterator[Problem]:
        if not isinstance(node.value, list):
            if single:
                yield from check(node, field)
            else:
                yield Problem(f"{field} must be a list, not {_said(node)}", node.place)
            return
        if not node.value:
            yield Problem(f"{field} is an empty list", node.place, "leave the entry out")
        seen: set[str] = set()
        for position, item in enumerate(node.value):
            yield from check(item, f"{field}[{position}]")
            if item.text and item.text in seen:
                sentence = f"{field} has {shown(item.text)} twice"
                yield Problem(sentence, item.place, "leave one of them out")
            seen.add(item.text)

    return each


def number(node: Node, field: str) -> Iterator[Problem]:
    number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if not number or not math.isfinite(node.value):
        yield Problem(f"{field} must be a finite number, not {_said(node)}", node.place)


def grams(node: Node, field: str) -> Iterator[Problem]:
    wrong = list(number(node, field))
    if not wrong and node.value < 0:
        wrong = [Problem(f"{field} must be grams of CO2, 0 or more", node.place)]
    yield from wrong


def truth(node: Node, field: str) -> Iterator[Problem]:
    if not isinstance(node.value, bool):
        yield Problem(f"{field} must be true or false, not {_said(node)}", node.place)


def repository(node: Node, field: str) -> Iterator[Problem]:
    """Check an identifier of a repository: `name` or `owner/name`."""
    value = node.value
    parts = value.split("/") if isinstance(value, str) else []
    fine = len(parts) in (1, 2) and all(_REPO.fullmatch(part) for part in parts)
    if not fine or len(value) > 96 or "--" in value or ".." in value or value.endswith(".git"):
        sentence = f"{field} must be an identifier of the Hub, not {_said(node)}"
        yield Problem(sentence, node.place, "write owner/name, as in its address")


def anything(node: Node, field: str) -> Iterator[Problem]:
    return iter(())


def fields(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    """Check a mapping; the Hub passes over other entries, so a misspelt one is a problem."""
    known = {**required, **optional}

    def check(node: Node, field: str) -> Iterator[Problem]:
        if not isinstance(node.value, dict):
            yield Problem(
                f"{field or 'the metadata'} must be a mapping, not {_said(node)}", node.place
            )
            return
        for name in required:
            if name not in node.value:
                yield Problem(f"{field} has no entry {name}", node.place, f"add {name}")
        for name, value in node.value.items():
            inner = f"{field}.{name}" if field else name
            if name in known:
                yield from _given(known[name], value, inner)
            elif right := _meant(name, known):
                sentence = f"{inner} is an entry that the Hub passes over"
                yield Problem(sentence, value.key, f"write {right}, or leave it out")

    return check


def _meant(name: str, known: Iterable[str]) -> str:
    """Return the entry that a name misspells; "" when it is near to none."""
    plain = {key.replace("-", "_"): key for key in known}
    written = name.casefold().replace("-", "_")[:_LONGEST]
    close = difflib.get_close_matches(written, plain, n=1, cutoff=_NEAR)
    return plain[close[0]] if close else ""


def _given(check: Check, node: Node, field: str) -> Iterable[Problem]:
    if node.value is None:
        return [Problem(f"{field} has no value", node.key, "leave the entry out")]
    return check(node, field)
