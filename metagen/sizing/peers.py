"""blueprint/peers.json: the published models of the family that are nearest in size.

A dimension has the name of its column, so that the table of each family names its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from metagen import families
from metagen.families import residual
from metagen.families.family import Dims, Family
from metagen.families.trend import Row, rows
from metagen.files import json_bytes
from metagen.work import Desk, Recipe

TARGET = "blueprint/peers.json"
MOST = 5
EXACT = "params_exact"  # the column of all parameters, where a family's table has it
_ROOM = 36  # letters of all columns together, with a space on each side
# What a column of published models is called in the family's own dimensions.
_DIMS = {
    "d_model": "d_hidden",
    "ffn": "d_ff",
    "context": "max_seq_len",
    "vocab": "vocab_size",
    "patch": "patch_size",
    "image_size": "image_height",
    "fpn": "fpn_channels",
}
_TITLES = {
    "d_model": "width",
    "n_layers": "layers",
    "n_heads": "heads",
    "n_kv_heads": "key-value heads",
    "ffn": "inner",
    "context": "context",
    "vocab": "vocabulary",
    "image_size": "image",
    "fpn": "pyramid",
    "d_hidden": "hidden",
    "obs_dim": "observed",
    "n_actions": "actions",
    "n_networks": "networks",
    "num_outputs": "outputs",
    "d_encoder": "encoder",
    "d_encoder_ff": "encoder inner",
    "d_query": "query",
    "d_fusion": "fusion",
    "d_conv": "convolution",
    "d_ff": "inner",
    "d_dynamics": "dynamics",
    "num_stuff": "stuff",
    "vision_n_layers": "vision layers",
    "vision_d_model": "vision width",
    "vision_n_heads": "vision heads",
    "vision_ffn": "vision inner",
}
# The columns of most use to a reader come first; others follow in the order of the table.
_FIRST = ("n_layers", "d_model", "n_heads", "ffn", "context", "image_size")
_NO_DIMENSION = ("model", "arch", "tied_embeddings", "frozen", "ap_coco", "flops_published_g")
_NO_DIMENSIONS = ("params_", "weights_", "kv_bytes", "dims_", "head_dim")


def work(desk: Desk) -> dict[str, bytes]:
    """Compare the design with the published models nearest to it, smallest first."""
    family, dims = families.of_package(desk), desk.entry(families.ARCHITECTURE, "model")
    table = rows(desk.source(family.published))
    size, column = _size(family, dims, table)
    near = _nearest(table, column, size)
    own = _own(family, dims, near)
    columns = _columns(near, own)
    content = {
        "unit": "parameters" if column == EXACT else family.size_unit,
        "columns": [_title(name) for name in columns],
        "own": {"size": size, "values": [own[name] for name in columns]},
        "models": [_model(row, column, columns) for row in near],
    }
    return {TARGET: json_bytes(content)}


def _size(family: Family, dims: Dims, table: list[Row]) -> tuple[int, str]:
    """Return the size of the design, and the column of published sizes that counts the same."""
    if any(row.get(EXACT) for row in table):
        return family.count(dims), EXACT
    return int(family.size(dims)), family.size_column


def _nearest(table: Iterable[Row], column: str, size: int) -> list[Row]:
    """Return the rows nearest to a size by ratio, smallest first."""
    known = [row for row in table if row.get(column)]
    near = sorted(known, key=lambda row: abs(math.log(float(row[column]) / size)))[:MOST]
    return sorted(near, key=lambda row: float(row[column]))


def _own(family: Family, dims: Dims, near: list[Row]) -> dict[str, int | str]:
    """Return the figures of the design, by the columns of the table that it has one of."""
    traits = {trait.column: trait.of for trait in family.traits.values()}
    own: dict[str, int | str] = {}
    for column in near[0]:
        if column == "n_layers" and residual.DEPTHS[0] in dims:
            own[column] = "-".join(map(str, residual.depths(dims)))
        elif column in traits:
            own[column] = int(traits[column](dims))
        elif column in dims or (_DIMS.get(column) in dims and _DIMS[column] not in near[0]):
            own[column] = int(dims[column if column in dims else _DIMS[column]])
    return own


def _columns(near: list[Row], own: Iterable[str]) -> list[str]:
    """Return the dimensions that these models and the design have, those of most use first."""
    named = {name: None for row in near for name, text in row.items() if text and _is_one(name)}
    filled = {name: None for name in named if name in own}
    ordered = dict.fromkeys([*(name for name in _FIRST if name in filled), *filled])
    widths = accumulate(_width(near, name) for name in ordered)
    return [name for name, width in zip(ordered, widths, strict=True) if width <= _ROOM]


def _width(near: Iterable[Row], name: str) -> int:
    """Return the letters that a column takes, with the commas of its numbers and two spaces."""
    longest = max(len(row[name]) + len(row[name]) // 4 for row in near)
    return 2 + max(longest, len(_title(name)))


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _is_one(name: str) -> bool:
    return name not in _NO_DIMENSION and not name.startswith(_NO_DIMENSIONS)


def _model(row: Mapping[str, str], column: str, columns: Iterable[str]) -> dict[str, Any]:
    return {
        "model": row["model"],
        "size": int(float(row[column])),
        "values": [_value(row[name]) for name in columns],
        "source": row["dims_source"],
    }


def _value(text: str) -> int | str | None:
    return int(text) if text.isdigit() else text or None


RECIPES = (
    Recipe(
        "blueprint:peers",
        work,
        (families.ARCHITECTURE,),
        (TARGET,),
        "published models of about the same size",
    ),
)
