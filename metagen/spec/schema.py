"""The schema of a spec: its keys by name and by section, as a page and as a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from metagen.spec.table import ONLY, Key, table

SHORTHANDS: Mapping[str, str] = {
    "seed": "reproducibility.seed",
    "bench": "evaluation.bench",
    "ablate": "evaluation.ablations",
}

_ID = "urn:metagen:spec:1.0"
_INTRODUCTION = """\
# The keys of a spec

One YAML or JSON file states the requirements on a model. `metagen_version` and `name` are
required; every other key may be omitted, and then has the default below or is "not declared".
Setting a key to null is the same as omitting it. `metagen.spec.markdown()` writes this page,
and a test checks it.

- **Quantities** are text with a unit. Parameters and data count in powers of ten (`8B`, `2T
  tokens`), tokens of context in powers of two (`8k` is 8,192), memory in either (`16GB`, `16GiB`).
- **Amounts of data** are in the words people use: `1M sentence pairs`, `2 million labelled images`,
  `300 hours of speech`. Each family counts some of them, and warns of the others.
- **Unknown quantities**, such as `unknown but large`, are not declared, with a warning.
- **Sources of data** are names, or mappings with what is known of them:
  `{name: Wikipedia, url: "https://dumps.wikimedia.org", license: cc-by-sa-4.0, date: 2026-01}`.
- **Modalities** are enough where they leave one family. Where several fit, the error names the key
  to add, and its value for each family (`metagen families` prints them).
- **References**: `${constraints.context_window}` stands for the value of another key of the same
  file. The environment, other files and functions are never read.
- **YAML** is read by the core schema of version 1.2: `no`, `010` and `1:30` are words, and `3e-4`
  is a number. Tags, merge keys and several documents in a file are refused. So are files over
  1 MiB, over 5,000 values (including those of aliases), or nested deeper than 16 levels.
- **Overrides**: `key=value` after the spec on the command line sets any key below by its full
  name; {shorthands}.
  `architecture.dims.d_model=512` sets one dimension. A mapping is merged with the file's, a list
  replaces it, null unsets it.
- **Effect**: a key that is *prose only* changes the text of documents, and neither code nor
  figures. One that is *checked only* says what a model or a report must have: the commands warn of
  what it lacks. One that is *of a release only* changes `release/`, which a trained model has. Any
  other declared key changes more than prose, or is refused, or the commands warn by name that it is
  not followed; limitations.md repeats each warning.
- **Editors** with a YAML language server complete and check a spec by its JSON Schema, which
  `metagen schema > spec.schema.json` writes. A line in the spec names it by its path from the spec,
  `# yaml-language-server: $schema=spec.schema.json`; `metagen init` writes that line, and the
  specs in `specs/` name `docs/spec.schema.json`.
- **Errors** are reported all at once, each with `file:line:column`, the key, its value, the
  allowed values, and the nearest valid spelling.
"""


@cache
def keys() -> Mapping[str, Key]:
    """Return every leaf key by its name, in the order of a spec."""
    return MappingProxyType({key.name: key for key in table()})


def variables() -> tuple[str, ...]:
    """Return the names that `key=value` may set on a command line: shorthands and leaf keys."""
    return (*SHORTHANDS, *keys())


@cache
def sections() -> Mapping[str, tuple[str, ...]]:
    """Return the keys of each section, by the section's name ("" is the top)."""
    inside: dict[str, dict[str, None]] = {}
    for name in keys():
        parts = name.split(".")
        for depth in range(len(parts)):
            inside.setdefault(".".join(parts[:depth]), {})[parts[depth]] = None
    return MappingProxyType({name: tuple(parts) for name, parts in inside.items()})


def _title(section: str) -> str:
    return f"\n## {section}\n\n| key | allowed | default | meaning |\n| --- | --- | --- | --- |\n"


def _row(key: Key) -> str:
    default = "required" if key.required else "not declared"
    if key.default is not None:
        default = f"`{json.dumps(key.default)}`"
    doc = f"{key.doc} *{ONLY[key.only]}*" if key.only else key.doc
    return f"| `{key.name}` | {key.kind.allowed} | {default} | {doc} |\n"


def markdown() -> str:
    """Return the text of docs/spec.md: every key, what is allowed, its default, its meaning."""
    *others, last = (f"`{short}=` is `{name}=`" for short, name in SHORTHANDS.items())
    shorthands = f"{', '.join(others)} and {last}"
    text, section = _INTRODUCTION.replace("{shorthands}", shorthands), None
    for key in keys().values():
        top = key.name.partition(".")[0] if "." in key.name else "the package"
        text += ("" if top == section else _title(top)) + _row(key)
        section = top
    return text


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) of a spec, for editors that complete and check YAML."""
    schema = _object() | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _ID,
        "type": "object",
        "title": "MetaGen spec",
        "required": [key.name for key in keys().values() if key.required],
    }
    for key in keys().values():
        *parents, last = key.name.split(".")
        inner = schema
        for parent in parents:
            inner = inner["properties"].setdefault(parent, _object())
        inner["properties"][last] = _leaf(key)
    return schema


def _object() -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": {}, "additionalProperties": False}


def _leaf(key: Key) -> dict[str, Any]:
    nothing = [] if key.required else [{"type": "null"}]
    leaf = {"description": key.doc, "anyOf": [dict(key.kind.json), *nothing]}
    return leaf if key.default is None else leaf | {"default": key.default}
