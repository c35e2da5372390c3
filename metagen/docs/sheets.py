"""`docs/data_sheets.json`: the data that the benchmark of a task reads, one sheet for each set.

A sheet answers the questions of *Datasheets for Datasets* (Gebru et al., 2021). It lies in
`templates/data_sheets/<name>.yaml` and has the entries of `FIELDS`; `Benchmark.sheets` of a task
names those of its data. Documents and records take what they say of the data from here.
"""

from __future__ import annotations

from typing import Any

from metagen import entries, families
from metagen.docs import references
from metagen.files import json_bytes
from metagen.work import Desk, Recipe

TARGET = "docs/data_sheets.json"
FOLDER = "templates/data_sheets"
FIELDS = {
    "name": "what results call it",
    "title": "what people call it, to continue `is`: `the help topics of Python`",
    "instance": "what one instance is, in a sentence",
    "origin": "how and why it was made or collected, in a sentence or two",
    "authors": "who made it",
    "license": "its SPDX identifier; left out where none is stated",
    "license_note": "what else is to know of its terms, in a sentence; may be left out",
    "url": "an address of the original or of its description; may be left out",
    "language": "ISO 639 codes of the language of its texts; left out where it has none",
    "people": "what it holds of people, in a sentence",
    "split": "how it is split, and why no split shows another's answers",
    "preparation": "what data.py does before training, in a sentence",
    "version": "which version is read, and what fixes it",
    "example": "one instance, as text",
    "problems": "what is known to be wrong with it, or missing from it, each in a sentence",
    "cites": "keys of the bibliography; may be left out",
    "hub": "its identifier on the Hugging Face Hub, if exactly this data is there",
}
OPTIONAL = frozenset({"license", "license_note", "url", "language", "cites", "hub"})


def sheets(desk: Desk) -> dict[str, bytes]:
    """Return `docs/data_sheets.json`; an absent entry is null."""
    names = families.of_package(desk).task.benchmark.sheets
    return {TARGET: json_bytes([read(desk, name) for name in names])}


def read(desk: Desk, name: str) -> dict[str, Any]:
    """Return a sheet with all of `FIELDS`, and `references` in place of the keys."""
    source = f"{FOLDER}/{name}.yaml"
    sheet = entries.parse(source, desk.source(source))
    bibliography = desk.source(references.BIBLIOGRAPHY).decode()
    known = {field: sheet.get(field) for field in FIELDS if field != "cites"}
    return {**known, "references": references.resolved(bibliography, sheet.get("cites", ()))}


RECIPES = (
    Recipe(
        "docs:data_sheets",
        sheets,
        (families.ARCHITECTURE,),
        (TARGET,),
        "describe the data of the benchmark",
    ),
)
