"""Graphs of a user's files: their nodes, edges and labels, read one by one and packed together.

A row of a JSONL, JSON, Parquet or Arrow file is a graph; a .npz file holds many, as PyG joins them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.fields import LABEL, label_of, named, picked, read_arrays
from runtime.formats import SUFFIXES as ROWS
from runtime.formats import rows_of
from runtime.listing import suffix_of

NPZ = ".npz"
# A cell of a CSV file holds no list.
SUFFIXES = (*(suffix for suffix in ROWS if ".csv" not in suffix and ".tsv" not in suffix), NPZ)
# The names of PyG, of the Hub's data sets of graphs, and plain ones.
NODES = ("nodes", "x", "node_feat", "node_features")
INDEX = ("edges", "edge_index")
EDGES = ("edge_attr", "edge_feat", "edge_features")
COUNT = ("num_nodes",)
Integers = NDArray[np.int64]
Numbers = NDArray[np.float32]
Words = NDArray[np.object_]


@dataclass(frozen=True)
class Cells:
    """Features of nodes, or of edges, as they were read.

    Attributes:
        kinds: Whether each column holds words; () where nothing says anything of the rows.
        numbers: The columns of numbers, (rows, columns).
        words: The columns of words, (rows, columns).
    """

    kinds: tuple[bool, ...]
    numbers: Numbers
    words: Words

    def __len__(self) -> int:
        return len(self.numbers)

    def taken(self, rows: Integers) -> "Cells":
        """Return some rows."""
        return Cells(self.kinds, self.numbers[rows], self.words[rows])


@dataclass(frozen=True)
class Graph:
    """A graph as it was read.

    Attributes:
        place: Where it stands, for errors.
        nodes: Features of its nodes.
        index: The nodes where each edge begins and ends, (2, edges).
        edges: Features of its edges.
        label: Its class; None where none is asked for.
    """

    place: str
    nodes: Cells
    index: Integers
    edges: Cells
    label: str | None


@dataclass(frozen=True)
class Packed:
    """Graphs one after the other.

    Attributes:
        places: Where each stands.
        labels: The class of each; None where none was asked for.
        nodes: Features of all nodes.
        edges: Features of all edges.
        index: The nodes where each edge begins and ends, counted in its own graph: (2, edges).
        node_counts: Nodes of each graph.
        edge_counts: Edges of each graph.
    """

    places: tuple[str, ...]
    labels: tuple[str | None, ...]
    nodes: Cells
    edges: Cells
    index: Integers
    node_counts: Integers
    edge_counts: Integers

    def __len__(self) -> int:
        return len(self.places)

    @property
    def everywhere(self) -> Integers:
        """`index` with nodes counted among those of all graphs."""
        starts = np.cumsum(self.node_counts) - self.node_counts
        return np.asarray(self.index + np.repeat(starts, self.edge_counts))


def read_graphs(path: Path, *, labelled: bool) -> Packed:
    """Return the graphs of a file, or stop.

    Args:
        path: A file of rows, or a .npz file.
        labelled: Whether each graph must have a class.
    """
    if suffix_of(path) not in SUFFIXES:
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder of them.")
    graphs = list(_npz(path, labelled) if suffix_of(path) == NPZ else _rows(path, labelled))
    if not graphs:
        fail(f"{path} has no graph: write one into each line.")
    return packed(graphs)


def packed(graphs: Sequence[Graph]) -> Packed:
    """Return graphs one after the other, or stop if their features differ in kind."""
    return Packed(
        tuple(each.place for each in graphs),
        tuple(each.label for each in graphs),
        _joined([(each.place, each.nodes) for each in graphs], "nodes"),
        _joined([(each.place, each.edges) for each in graphs], "edges"),
        np.concatenate([each.index for each in graphs], 1),
        np.array([len(each.nodes) for each in graphs]),
        np.array([len(each.edges) for each in graphs]),
    )


def joined(parts: Sequence[Packed]) -> Packed:
    """Return several lists of graphs as one, or stop if their features differ in kind."""
    return Packed(
        tuple(place for part in parts for place in part.places),
        tuple(label for part in parts for label in part.labels),
        _joined([(part.places[0], part.nodes) for part in parts], "nodes"),
        _joined([(part.places[0], part.edges) for part in parts], "edges"),
        np.concatenate([part.index for part in parts], 1),
        np.concatenate([part.node_counts for part in parts]),
        np.concatenate([part.edge_counts for part in parts]),
    )


def _joined(parts: Sequence[tuple[str, Cells]], what: str) -> Cells:
    """Return the features of all graphs; those of a graph without an edge may be of any kind."""
    known = [(place, cells) for place, cells in parts if len(cells)]
    first, cells = known[0] if known else parts[0]
    for place, other in known:
        if other.kinds != cells.kinds:
            fail(
                f"{place}: {what} have {_described(other.kinds)}, and those of {first} have "
                f"{_described(cells.kinds)}: give all graphs the same features."
            )
    parts = known or parts
    numbers, words = ([getattr(each, name) for _, each in parts] for name in ("numbers", "words"))
    return Cells(cells.kinds, np.concatenate(numbers), np.concatenate(words))


def _described(kinds: tuple[bool, ...]) -> str:
    words = sum(kinds)
    return f"{len(kinds) - words} columns of numbers and {words} of words"


def _rows(path: Path, labelled: bool) -> Iterator[Graph]:
    """Yield the graphs of a file of rows."""
    for place, row in rows_of(path):
        place = place.rstrip(",")
        name, edges = picked(row, INDEX, place)
        _, nodes = picked(row, NODES, place)
        _, stated = picked(row, COUNT, place)
        if edges is None:
            fail(f'{place} has no edges: name them "edges", [] for none; it has {named(row)}.')
        count = count_of(nodes, stated, place)
        index = index_of(edges, name, count, place)
        _, features = picked(row, EDGES, place)
        yield Graph(
            place,
            cells_of(nodes, count, "nodes", place),
            index,
            cells_of(features, index.shape[1], "edges", place),
            label_of(picked(row, LABEL, place)[1], row, place) if labelled else None,
        )


def count_of(nodes: Any, stated: Any, place: str) -> int:
    """Return how many nodes a graph has, by their features or by a stated number."""
    while isinstance(stated, list | tuple) and len(stated) == 1:
        stated = stated[0]
    if nodes is None and type(stated) is not int:
        fail(f'{place} has no "nodes", nor a whole number "num_nodes" of nodes without features.')
    if nodes is not None and not isinstance(nodes, list | np.ndarray):
        fail(f"{place}: nodes must be a list, with an entry for each node.")
    count = stated if nodes is None else len(nodes)
    if stated is not None and stated != count:
        fail(f"{place} states num_nodes {stated!s:.20}, and has {count:,} nodes: correct one.")
    if not 0 < count < 2**31:
        fail(f"{place} has {count!s:.20} nodes: a graph needs one at least.")
    return int(count)


def index_of(value: Any, name: str, nodes: int, place: str) -> Integers:
    """Return edges as (2, edges): `edges` is a list of pairs, and `edge_index` two lists."""
    array = _array(value)
    if array is not None and array.size == 0:
        return np.zeros((2, 0), np.int64)
    pairs = name == "edges"
    form = (
        "[from, to] for each edge" if pairs else "two lists: where edges begin, and where they end"
    )
    if array is None or array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[pairs] != 2:
        fail(f"{place}: {name} must be {form}, in whole numbers that count nodes from 0.")
    index = array.T if pairs else array
    wrong = np.flatnonzero(((index < 0) | (index >= nodes)).any(0))
    if len(wrong):
        begin, end = index[:, wrong[0]].tolist()
        fail(
            f"{place}: edge {wrong[0]} goes from node {begin} to node {end}, but its nodes are 0 "
            f"to {nodes - 1}: correct it."
        )
    return np.asarray(index, np.int64)


def _array(value: Any) -> NDArray[Any] | None:
    """Return a value as an array; None if it is a ragged list, or none."""
    try:
        return np.array(value)
    except (ValueError, TypeError, OverflowError):
        return None


def cells_of(value: Any, rows: int, what: str, place: str) -> Cells:
    """Return features: a list of numbers and words for each row, or one of either."""
    if value is None:
        return Cells((), np.zeros((rows, 0), np.float32), _no_words(rows))
    if not isinstance(value, list | np.ndarray) or len(value) != rows:
        size = f"{len(value):,}" if isinstance(value, list | np.ndarray) else "no list of"
        fail(f"{place} has {rows:,} {what}, and {size} features of {what}: give each its own.")
    array = _array(value)
    if array is None or array.ndim not in (1, 2):
        fail(_ragged(value, what, place))
    if array.ndim == 1 and array.dtype.kind in "iu":
        # A single whole number says of what type a row is: 6 is no more than 3 twice.
        types = array.astype(str).astype(object)[:, None]
        return Cells((True,), np.zeros((rows, 0), np.float32), types)
    if array.dtype.kind in "biuf":
        table = array.reshape(rows, -1)
        return Cells((False,) * table.shape[1], _finite(table, what, place), _no_words(rows))
    cells = value.tolist() if isinstance(value, np.ndarray) else value
    columns = [*zip(*cells, strict=True)] if array.ndim == 2 else [tuple(cells)]
    return _mixed(columns, rows, what, place)


def _no_words(rows: int) -> Words:
    return np.zeros((rows, 0), object)


def _ragged(value: Any, what: str, place: str) -> str:
    """Return what is wrong with features that make no table."""
    lengths = [len(each) if isinstance(each, list) else 1 for each in value]
    odd = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is None:
        return f"{place}: features of {what} must be numbers and words, with none missing."
    return (
        f"{place}: {what[:-1]} {odd} has {lengths[odd]} features, and {what[:-1]} 0 has "
        f"{lengths[0]}: give all the same."
    )


def _finite(table: NDArray[Any], what: str, place: str) -> Numbers:
    """Return numbers in float32, or stop at one that is none."""
    with np.errstate(over="ignore"):
        numbers = table.astype(np.float32)
    rows = np.flatnonzero(~np.isfinite(numbers).all(1))
    if len(rows):
        fail(f"{place}: {what[:-1]} {rows[0]} has a feature that is no finite number: correct it.")
    return numbers


def _mixed(columns: Sequence[tuple[Any, ...]], rows: int, what: str, place: str) -> Cells:
    """Return columns of which some hold words, or stop at one that holds both."""
    kinds = tuple(all(isinstance(cell, str) for cell in column) for column in columns)
    for number, (column, is_text) in enumerate(zip(columns, kinds, strict=True)):
        if not is_text and not all(type(cell) in (int, float, bool) for cell in column):
            fail(f"{place}: feature {number} of {what} is not a number, or a word, in all of them.")
    numbers = [column for column, is_text in zip(columns, kinds, strict=True) if not is_text]
    texts = [column for column, is_text in zip(columns, kinds, strict=True) if is_text]
    table = np.array(numbers, np.float64).T if numbers else np.zeros((rows, 0))
    words = np.empty((rows, len(texts)), object)
    for number, column in enumerate(texts):
        words[:, number] = column
    return Cells(kinds, _finite(table, what, place), words)


def _npz(path: Path, labelled: bool) -> Iterator[Graph]:
    """Yield the graphs of a .npz file: x, edge_index, edge_attr, batch and y, as PyG joins them."""
    arrays = read_arrays(path)
    name, index = picked(arrays, INDEX, str(path))
    _, nodes = picked(arrays, NODES, str(path))
    _, stated = picked(arrays, COUNT, str(path))
    if index is None:
        fail(f"{path} has no edge_index; it has {named(arrays)}.")
    stated = int(stated) if stated is not None and stated.size == 1 else None
    count = count_of(nodes, stated, str(path))
    index = index_of(index, name, count, str(path))
    graph = _graphs_of(arrays.get("batch"), count, path)
    cells = cells_of(nodes, count, "nodes", str(path))
    edges = cells_of(picked(arrays, EDGES, str(path))[1], index.shape[1], "edges", str(path))
    owner = graph[index[0]]
    across = np.flatnonzero(owner != graph[index[1]])
    if len(across):
        fail(f"{path}: edge {across[0]} leads from one graph to another, by batch: correct it.")
    labels = picked(arrays, LABEL, str(path))[1]
    total = int(graph[-1]) + 1
    if labelled and (labels is None or np.ndim(labels) == 0 or len(labels) != total):
        fail(f"{path} has {total:,} graphs, and not as many labels: give y one for each graph.")
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(graph, np.arange(total + 1))
    cuts = np.searchsorted(owner[order], np.arange(total + 1))
    for each in range(total):
        own = order[cuts[each] : cuts[each + 1]]
        place = f"{path}, graph {each}"
        rows = np.arange(starts[each], starts[each + 1])
        label = label_of(labels[each], arrays, place) if labelled else None
        yield Graph(place, cells.taken(rows), index[:, own] - starts[each], edges.taken(own), label)


def _graphs_of(batch: NDArray[Any] | None, nodes: int, path: Path) -> Integers:
    """Return the graph of each node; without `batch`, all are of one."""
    if batch is None:
        return np.zeros(nodes, np.int64)
    if batch.dtype.kind not in "iu" or batch.shape != (nodes,):
        fail(f"{path}: batch must be the number of its graph for each of the {nodes:,} nodes.")
    steps = np.diff(batch.astype(np.int64), prepend=-1)
    if not np.isin(steps, (0, 1)).all() or steps[0] != 1:
        fail(f"{path}: batch must count graphs from 0, in order and without a gap.")
    return np.asarray(batch, np.int64)
