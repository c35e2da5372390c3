"""One graph of a user: nodes with names, edges between them, and what is known of each node.

Three forms are read. A .json file has lists of `nodes` and `edges`: objects with an `id`, and with
`source` and `target`, as networkx writes them, or features and pairs of places. A .npz file has
arrays as PyG names them: `x`, `edge_index`, `edge_attr`, `y` and masks of the splits. A folder has
a table of nodes and one of edges; a table of edges alone is read too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.digests import digest, files_digest
from runtime.errors import fail
from runtime.fields import LABEL, named, picked, read_arrays
from runtime.files import open_text
from runtime.formats import SUFFIXES as TABLES
from runtime.formats import list_rows, rows_of
from runtime.graphs import (
    COUNT,
    EDGES,
    INDEX,
    NODES,
    NPZ,
    Cells,
    Graph,
    Integers,
    Packed,
    cells_of,
    count_of,
    index_of,
    packed,
)
from runtime.listing import printable, suffix_of
from runtime.notes import note
from runtime.numbers import Cells as Column
from runtime.numbers import columns_of
from runtime.splits import SPLITS, split_named

ID = ("id", "node_id", "node", "name")  # the first of them that there is
SOURCE, TARGET = ("source", "src", "from", "u"), ("target", "dst", "to", "v")
LABELS = (*LABEL, "class", "labels")
SPLIT = ("split",)
LINKS = ("edges", "links")
SUFFIXES = (*TABLES, NPZ)
MOST_KINDS = 0.5  # a column of words of which a larger share differs is a name or a text
FEW_KINDS = 50  # A column with no more different words is a feature in any case.
Row = tuple[str, Mapping[str, Any]]  # a place, and what stands there


@dataclass(frozen=True)
class Network:
    """A graph as it was read.

    Attributes:
        names: The name of each node; its place where the data gives none.
        graph: The graph, as a list of one.
        labels: The class of each node; None where none is known.
        splits: The split of each node that the data names; None where it names none.
    """

    names: tuple[str, ...]
    graph: Packed
    labels: tuple[str | None, ...]
    splits: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_network(path: Path) -> tuple[str, Network]:
    """Return the digest and the graph of a file or of a folder with two tables, or stop."""
    if path.is_dir():
        nodes, edges = _tables(path)
        names = [each.relative_to(path).as_posix() for each in (nodes, edges)]
        return files_digest([nodes, edges], names), _of_rows(
            path, [*rows_of(nodes)], [*rows_of(edges)]
        )
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder with two of them.")
    total = digest(path.read_bytes())
    if suffix == NPZ:
        return total, _of_columns(path, read_arrays(path))
    if suffix in (".json", ".json.gz"):
        return total, _of_json(path)
    return total, _of_rows(path, None, [*rows_of(path)])


def _tables(folder: Path) -> tuple[Path, Path]:
    """Return the tables of nodes and of edges in a folder, by their names."""
    files = list_rows(folder, TABLES).files
    found = []
    for word in ("node", "edge"):
        named = [each for each in files if word in each.name.lower()]
        if len(named) != 1:
            fail(
                f"{folder} has {len(named)} tables with {word!r} in their name: give it one of "
                f"nodes and one of edges, such as nodes.csv and edges.csv ({', '.join(TABLES)})."
            )
        found.append(named[0])
    return found[0], found[1]


def _of_json(path: Path) -> Network:
    """Return the graph of an object with lists of nodes and edges."""
    with open_text(path) as stream:
        text = stream.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        fail(f"{path} cannot be read as JSON: {error}.")
    if isinstance(content, list):
        return _of_rows(path, None, _objects(content, "edge", path))
    if not isinstance(content, dict):
        fail(f"{path} is no JSON object with nodes and edges.")
    nodes, edges = content.get("nodes"), picked(content, LINKS, str(path))[1]
    if not _are_objects(edges) and not _are_objects(nodes):
        columns = {"edges" if key == "links" else key: value for key, value in content.items()}
        return _of_columns(path, columns)
    if not isinstance(edges, list):
        fail(f'{path} has no list of "edges", or "links"; it has {named(content)}.')
    links = edges if _are_objects(edges) else [_ends(each) for each in edges]
    given = None if nodes is None else _objects(nodes, "node", path)
    return _of_rows(path, given, _objects(links, "edge", path))


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _ends(pair: Any) -> Any:
    """Return a pair of names as an object; what is no pair stays as it is."""
    two = isinstance(pair, list) and len(pair) == 2
    return {"source": pair[0], "target": pair[1]} if two else pair


def _objects(values: Any, what: str, path: Path) -> list[Row]:
    """Return a list of objects with the place of each, or stop at what is none."""
    if not isinstance(values, list):
        fail(f"{path}: {what}s must be a list.")
    for number, each in enumerate(values):
        if not isinstance(each, dict):
            fail(f"{path}: {what} {number} is no JSON object, as others are: write all alike.")
    return [(f"{path}, {what} {number}", each) for number, each in enumerate(values)]


def _of_columns(path: Path, columns: Mapping[str, Any]) -> Network:
    """Return the graph of an object, or of arrays, that has a list for each thing."""
    place = str(path)
    name, index = picked(columns, INDEX, place)
    _, nodes = picked(columns, NODES, place)
    _, stated = picked(columns, COUNT, place)
    if index is None:
        fail(f"{place} has no edges, nor edge_index; it has {named(columns)}.")
    stated = stated.item() if isinstance(stated, np.ndarray) and stated.size == 1 else stated
    count = count_of(nodes, stated, place)
    index = index_of(index, name, count, place)
    features = cells_of(nodes, count, "nodes", place)
    edges = cells_of(picked(columns, EDGES, place)[1], index.shape[1], "edges", place)
    labels = _listed(picked(columns, LABELS, place)[1], count, "labels", place)
    names = _listed(picked(columns, ("names", "ids"), place)[1], count, "names", place)
    splits = [_split(each, place) for each in _masked(columns, count, place)]
    return Network(
        _distinct([_word(each) or str(n) for n, each in enumerate(names)], [place] * count),
        packed([Graph(place, features, index, edges, None)]),
        tuple(_label(each, f"{place}, node {n}") for n, each in enumerate(labels)),
        tuple(splits),
    )


def _listed(value: Any, count: int, what: str, place: str) -> list[Any]:
    """Return a value for each node; None for all where there is none."""
    if value is None:
        return [None] * count
    array = np.squeeze(value, 1) if isinstance(value, np.ndarray) and value.ndim == 2 and (
        value.shape[1] == 1
    ) else value  # fmt: skip
    if not isinstance(array, list | np.ndarray) or len(array) != count or np.ndim(array) > 1:
        fail(f"{place} must have one of {what} for each of its {count:,} nodes.")
    return list(array)


def _masked(columns: Mapping[str, Any], count: int, place: str) -> list[Any]:
    """Return the split of each node by masks, as `train_mask`, or by a list of words."""
    splits = _listed(picked(columns, SPLIT, place)[1], count, "splits", place)
    for split in SPLITS:
        mask = columns.get(f"{split}_mask")
        if mask is None:
            continue
        for node, chosen in enumerate(_listed(mask, count, f"{split}_mask", place)):
            if chosen and splits[node] is not None:
                fail(f"{place}: node {node} is in {splits[node]} and in {split}: keep one.")
            splits[node] = split if chosen else splits[node]
    return splits


def _of_rows(path: Path, nodes: Sequence[Row] | None, edges: Sequence[Row]) -> Network:
    """Return the graph of a row for each node, and of a row for each edge."""
    ends = [[_required(row, names, place) for names in (SOURCE, TARGET)] for place, row in edges]
    if nodes is None:
        # Without a table of nodes, they are what edges lead to, in a fixed order.
        every = sorted({end for pair in ends for end in pair})
        nodes = [(str(path), {"id": name}) for name in every]
    if not nodes:
        fail(f"{path} has no node.")
    # A node without a name is known by its place, from 0.
    own = next((each for each in ID if each in nodes[0][1]), ID[0])
    given = [_word(row.get(own)) for _, row in nodes]
    names = _distinct(
        [name or str(number) for number, name in enumerate(given)], [place for place, _ in nodes]
    )
    places = {name: number for number, name in enumerate(names)}
    index = _between(ends, places, edges)
    known = (own, *LABELS, *SPLIT, *(f"{split}_mask" for split in SPLITS))
    features = _features(path, nodes, known, NODES, "nodes")
    of_edges = _features(path, edges, (*SOURCE, *TARGET, "key"), EDGES, "edges")
    return Network(
        names,
        packed([Graph(str(path), features, index, of_edges, None)]),
        tuple(_label(picked(row, LABELS, place)[1], place) for place, row in nodes),
        tuple(_split(picked(row, SPLIT, place)[1], place) for place, row in nodes),
    )


def _required(row: Mapping[str, Any], names: Sequence[str], place: str) -> str:
    """Return the name of a node where an edge begins or ends, or stop."""
    word = _word(picked(row, names, place)[1])
    if not word:
        fail(f'{place} has no "{names[0]}" that is the name of a node; it has {named(row)}.')
    return word


def _between(
    ends: Sequence[Sequence[str]], places: Mapping[str, int], rows: Sequence[Row]
) -> Integers:
    """Return where edges begin and end, (2, edges), or stop at a node that is not there."""
    for pair, (place, _) in zip(ends, rows, strict=True):
        for end in pair:
            if end not in places:
                fail(f"{place} leads to {printable(end)!r:.60}, which is no node: correct it.")
    index = np.array([[places[end] for end in pair] for pair in ends], np.int64)
    return index.reshape(-1, 2).T


def _distinct(names: Sequence[str], places: Sequence[str]) -> tuple[str, ...]:
    """Return names, or stop if two nodes have the same."""
    seen: set[str] = set()
    for name, place in zip(names, places, strict=True):
        if name in seen:
            fail(f"{place} has the name {printable(name)!r:.60} of an earlier node: rename one.")
        seen.add(name)
    return tuple(names)


def _features(
    path: Path, rows: Sequence[Row], known: Sequence[str], lists: Sequence[str], what: str
) -> Cells:
    """Return the features of rows: a list in one column, or all columns that are not known."""
    name = next((each for each in lists if rows and each in rows[0][1]), None)
    if name:
        values = [row.get(name) for _, row in rows]
        return cells_of([_unpacked(v, p) for v, (p, _) in zip(values, rows, strict=True)],
                        len(rows), what, str(path))  # fmt: skip
    columns = dict.fromkeys(key for _, row in rows for key in row if key not in known)
    cells = {
        column: Column(
            path, column, [_cell(row.get(column), column, place) for place, row in rows],
            lambda number: rows[number][0],
        )
        for column in columns
    }  # fmt: skip
    read = columns_of(cells, comma=True) if cells else {}
    kept = {column: each for column, each in read.items() if _is_feature(path, column, each)}
    words = [each for each in kept.values() if each.dtype == object]
    table = [each for each in kept.values() if each.dtype != object]
    for column, each in kept.items():
        if each.dtype != object and not np.isfinite(each).all():
            place = rows[int(np.flatnonzero(~np.isfinite(each))[0])][0]
            fail(f"{place} has no number in the column {printable(column)!r}: give it one.")
    return Cells(
        tuple(each.dtype == object for each in kept.values()),
        np.array(table, np.float32).reshape(len(table), len(rows)).T,
        np.array([*words], object).reshape(len(words), len(rows)).T,
    )


def _is_feature(path: Path, column: str, values: Any) -> bool:
    """Return whether a column says something that several rows may share."""
    if values.dtype != object:
        return True
    kinds = len(set(values.tolist()))
    if kinds <= max(FEW_KINDS, MOST_KINDS * len(values)):
        return True
    note(
        f"{path}: the column {printable(column)!r} is left out: it has {kinds:,} different words "
        f"in {len(values):,} rows, as names and texts have."
    )
    return False


def _cell(value: Any, column: str, place: str) -> str:
    """Return a cell as text, or stop if it holds more than one thing."""
    if isinstance(value, list | dict):
        fail(f"{place} has several values in {printable(column)!r}: name such a list x.")
    return _word(value)


def _unpacked(value: Any, place: str) -> Any:
    """Return a list of features; a cell of a CSV file holds it as JSON."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        fail(f"{place} has a list of features that is no JSON: write it as [1, 2].")


def _word(value: Any) -> str:
    """Return a name or a word as text, "" for none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _label(value: Any, place: str) -> str | None:
    """Return the name of a class; None where none is known: nothing, or -1 as in PyG."""
    if isinstance(value, list | dict | np.ndarray):
        fail(f"{place} has several labels: a node has one class.")
    text = _word(value)
    if any("\ud800" <= c <= "\udfff" for c in text):
        fail(f"{place} has a label that is no valid Unicode.")
    return None if text in ("", "-1") else text


def _split(value: Any, place: str) -> str | None:
    """Return the split that a word names; None for no word."""
    word = _word(value)
    split = split_named(word) if word else None
    if word and not split:
        fail(f"{place} has the split {printable(word)!r:.40}, and not {', '.join(SPLITS)}.")
    return split


def read_pairs(path: Path, network: Network) -> list[tuple[int, int]]:
    """Return the places of the two nodes in each row of a file, or stop."""
    places = {name: number for number, name in enumerate(network.names)}
    rows = [*rows_of(path)]
    ends = [[_required(row, names, place) for names in (SOURCE, TARGET)] for place, row in rows]
    if not ends:
        fail(f"{path} has no pair: write a source and a target into each row.")
    return [(int(a), int(b)) for a, b in _between(ends, places, rows).T]
