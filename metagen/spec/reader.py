"""Reading YAML or JSON text into nodes with their places in the file.

A spec may come from a stranger, so the text is read event by event (PyYAML's composer recurses in
C and can be made to crash), with limits on size, nesting and expansion. Plain scalars are read by
YAML 1.2's core schema: `no`, `1:30` and `010` are words, and `3e-4` is a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from metagen.errors import Problem, SpecError
from metagen.spec.findings import Findings, shown

MOST_BYTES = 2**20
MOST_NODES = 5_000
MOST_DEPTH = 16

_CORE = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_COLLECTIONS = {"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_NULLS = {"", "~", "null", "Null", "NULL"}
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Node:
    """A value of the file and its place.

    Attributes:
        value: A scalar, a list of nodes, or a dict of nodes.
        text: The spelling of a scalar.
        place: `file:line:column` of the value.
        key: The place of its key, for a value of a mapping.
        size: Number of its nodes, including itself and those of aliases.
        height: Number of its levels, including itself and those of aliases.
    """

    value: Any
    text: str
    place: str
    key: str
    size: int = 1
    height: int = 1


def read(path: Path) -> bytes:
    """Return a spec file.

    Raises:
        SpecError: The file is not readable or larger than the size limit.
    """
    try:
        if not path.is_file():  # a pipe or a device would block or never end
            raise FileNotFoundError
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        hint = "name a YAML or JSON file, such as specs/text/text_llm_8b.yaml"
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise SpecError(Problem(f"the spec cannot be read: {reason}", str(path), hint)) from None
    if len(data) > MOST_BYTES:
        raise SpecError(
            Problem("the file is larger than 1 MiB; a spec is a page of text", str(path))
        )
    return data


def decoded(data: bytes, path: Path) -> str:
    """Return the text of a spec file.

    Raises:
        SpecError: The file is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        place = f"{path}:{line}:{column}"
        raise SpecError(Problem("this is not UTF-8 text", place, "save it as UTF-8")) from None


def resolve(text: str) -> Any:
    """Return what a plain scalar means in YAML 1.2's core schema; other text is itself."""
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) < 40 and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def parse(text: str, name: str, findings: Findings, *, lines: bool = True) -> Node:
    """Return the one document of a text; `lines` says whether places have line and column.

    Raises:
        SpecError: The text is not YAML or exceeds a limit; with all earlier findings.
    """
    return _Parser(text, name, findings, lines).document()


def of_top(path: Path, name: str) -> str:
    """Return the text of a key at the top of a file; "" where the file has none that can be read.

    Only what stands before the value is parsed, as events, so this takes a fraction of loading.
    """
    try:
        events = yaml.parse(decoded(read(path), path), Loader=yaml.CSafeLoader)
        return _value_of(events, name)
    except (SpecError, yaml.YAMLError):
        return ""


def _value_of(events: Iterator[Any], name: str) -> str:
    depth, key = 0, None
    for event in events:
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth == 1 and isinstance(event, yaml.NodeEvent):
            text = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if key == name:
                return text
            # Keys and values take turns.
            key = text if key is None else None
        if depth == 0 and isinstance(event, yaml.NodeEvent) and not _is_mapping(event):
            break
        depth += isinstance(event, yaml.CollectionStartEvent)
    return ""


def _is_mapping(event: Any) -> bool:
    return isinstance(event, yaml.MappingStartEvent)


class _Parser:
    """Recursive descent over libyaml's events; its depth is limited, so it cannot overflow."""

    def __init__(self, text: str, name: str, findings: Findings, lines: bool) -> None:
        self._text, self._name, self._findings, self._lines = text, name, findings, lines
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        odd = _UNPRINTABLE.search(text)
        if odd is not None:
            line = text.count("\n", 0, odd.start())
            column = odd.start() - (text.rfind("\n", 0, odd.start()) + 1)
            findings.stop(f"the text has the control character {odd[0]!r}", self._at(line, column))
        self._loader = yaml.CSafeLoader(text)

    def _at(self, line: int, column: int) -> str:
        return f"{self._name}:{line + 1}:{column + 1}" if self._lines else self._name

    def _place(self, event: Any) -> str:
        mark = event.start_mark
        return self._at(mark.line, mark.column)

    def document(self) -> Node:
        try:
            self._next(), self._next()  # the start of the stream and of the document
            if not isinstance(self._loader.peek_event(), yaml.NodeEvent):
                return Node(None, "", self._at(0, 0), "")
            root = self._node(0, "")
            self._next()
            if not self._loader.check_event(yaml.StreamEndEvent):
                place = self._place(self._loader.peek_event())
                self._findings.stop("a second document begins here; there may be only one", place)
            return root
        except yaml.MarkedYAMLError as error:
            mark: Any = error.problem_mark or error.context_mark
            if "nesting depth" in (error.problem or ""):
                # libyaml stops at its own limit while it reads ahead; the text before that place
                # already exceeds ours.
                return parse(
                    self._text[: mark.index], self._name, self._findings, lines=self._lines
                )
            sentence = f"this is not valid YAML: {error.problem or error.context}"
            self._findings.stop(sentence, self._at(mark.line, mark.column))
        finally:
            self._loader.dispose()

    def _next(self) -> Any:
        return self._loader.get_event()

    def _grow(self, count: int, levels: int, place: str) -> None:
        self._nodes += count
        if self._nodes > MOST_NODES:
            self._findings.stop(
                f"this has more than {MOST_NODES:,} values, including those of aliases", place
            )
        if levels > MOST_DEPTH:
            self._findings.stop(f"this is nested deeper than {MOST_DEPTH} levels", place)

    def _node(self, depth: int, key: str) -> Node:
        event = self._next()
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth, place, key)
        self._grow(1, depth + 1, place)
        node = self._new(event, depth, place, key)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _new(self, event: Any, depth: int, place: str, key: str) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event, place), event.value, place, key)
        if event.tag not in {None, "!", *_COLLECTIONS}:
            self._findings.add(f"the tag {shown(event.tag)} is not read; leave it out", place)
        sequence = isinstance(event, yaml.SequenceStartEvent)
        value: Any = self._items(depth) if sequence else self._entries(depth)
        parts = list(value if sequence else value.values())
        height = 1 + max((part.height for part in parts), default=0)
        return Node(value, "", place, key, 1 + sum(part.size for part in parts), height)

    def _alias(self, event: Any, depth: int, place: str, key: str) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            self._findings.stop(f"*{event.anchor} refers to no anchor above it", place)
        self._grow(target.size, depth + target.height, place)
        return replace(target, place=place, key=key)

    def _scalar(self, event: yaml.ScalarEvent, place: str) -> Any:
        if event.tag not in {None, "!", *_CORE}:
            self._findings.add(f"the tag {shown(event.tag)} is not read; leave it out", place)
        plain = event.implicit[0] or (event.tag in _CORE and not event.tag.endswith(":str"))
        return resolve(event.value) if plain and event.tag != "!" else event.value

    def _items(self, depth: int) -> list[Node]:
        items = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            items.append(self._node(depth + 1, ""))
        self._next()
        return items

    def _entries(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            key = self._node(depth + 1, "")
            value = self._node(depth + 1, key.place)
            if isinstance(key.value, (list, dict)):
                self._findings.add("a key must be a word, not a list or a mapping", key.place)
            elif key.text in entries:
                first = entries[key.text].key
                sentence = f"the key {shown(key.text)} is defined twice"
                self._findings.add(sentence, key.place, f"the first definition is at {first}")
            else:
                entries[key.text] = value
        self._next()
        return entries
