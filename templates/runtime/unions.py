"""Graphs as tensors, and batches of them: one large graph whose parts are not connected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import fail
from runtime.graphs import Cells, Integers, Numbers, Packed
from runtime.listing import printable
from runtime.notes import note
from runtime.settings import read_json

ENTRY = "columns"  # the entry of config.json
SHOWN = 12  # words of a column in a line of data.py
YES_OR_NO = (0.0, 1.0)  # mean and deviation of a column that is taken as it is


@dataclass(frozen=True)
class Features:
    """How the features of nodes, or of edges, become numbers; learned from the training graphs.

    Attributes:
        kinds: Whether each column holds words.
        scales: Mean and standard deviation of each column of numbers.
        words: The words of each other column, each of which becomes a column of 0 and 1.
    """

    kinds: tuple[bool, ...]
    scales: tuple[tuple[float, float], ...]
    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, cells: Cells) -> "Features":
        """Return the scales and the words of some rows."""
        scales = tuple(_scale(column.astype(np.float64)) for column in cells.numbers.T)
        words = tuple(tuple(sorted(set(column.tolist()))) for column in cells.words.T)
        return cls(cells.kinds, scales, words)

    def lines(self) -> Iterator[str]:
        """Yield what data.py prints of each column."""
        scales, words = iter(self.scales), iter(self.words)
        for is_word in self.kinds:
            if is_word:
                names = next(words)
                shown = ", ".join(printable(name) for name in names[:SHOWN])
                yield f"one of {len(names):,} words ({shown}{', ...' if names[SHOWN:] else ''})"
            else:
                mean, std = next(scales)
                yield (
                    "0 or 1" if (mean, std) == YES_OR_NO else f"a number of {mean:.4g} +- {std:.4g}"
                )

    @property
    def width(self) -> int:
        """The numbers of a row."""
        return len(self.scales) + sum(map(len, self.words))

    def encoded(self, cells: Cells, what: str, name: str) -> Numbers:
        """Return rows as numbers, (rows, width), or stop if they have other columns.

        A word that no training graph has is 0 in all columns.
        """
        if len(cells) and cells.kinds != self.kinds:
            fail(
                f"{name}: {what} have {len(cells.kinds)} features, and the model was trained with "
                f"{len(self.kinds)}, or with words where these have numbers: give the same."
            )
        rows = np.zeros((len(cells), self.width), np.float32)
        for place, (mean, std) in enumerate(self.scales if len(cells) else ()):
            rows[:, place] = (cells.numbers[:, place] - mean) / std
        place = len(self.scales)
        for column, words in zip(cells.words.T, self.words, strict=False):
            numbers = {word: number for number, word in enumerate(words)}
            at = np.array([numbers.get(word, -1) for word in column.tolist()], np.int64)
            known = np.flatnonzero(at >= 0)
            rows[known, place + at[known]] = 1
            _say_unknown(column[at < 0].tolist(), what, name)
            place += len(words)
        return rows


@dataclass(frozen=True)
class Columns:
    """The features of nodes and of edges.

    Attributes:
        nodes: How features of nodes become numbers.
        edges: How features of edges become numbers.
    """

    nodes: Features
    edges: Features

    def entry(self) -> dict[str, Any]:
        """Return the entry of config.json that `read_columns` reads."""
        return {ENTRY: asdict(self)}


def read_columns(folder: Path) -> Columns:
    """Return the columns that a checkpoint was trained with, or stop."""
    entry = read_json(folder / "config.json").get(ENTRY)
    try:
        nodes, edges = (_features(entry[name]) for name in ("nodes", "edges"))  # type: ignore[index]
        return Columns(nodes, edges)
    except (TypeError, KeyError, ValueError):
        fail(f"{folder / 'config.json'} names no features of graphs: choose one of this task.")


def _features(entry: Mapping[str, Any]) -> Features:
    scales = tuple((float(mean), float(std)) for mean, std in entry["scales"])
    words = tuple(tuple(map(str, each)) for each in entry["words"])
    return Features(tuple(map(bool, entry["kinds"])), scales, words)


def _scale(column: Any) -> tuple[float, float]:
    """Return mean and standard deviation; 0 and 1 for what says yes or no, and stays as it is."""
    if not len(column) or np.isin(column, (0, 1)).all():
        return YES_OR_NO
    return float(column.mean()), float(column.std()) or 1.0


def _say_unknown(words: Sequence[str], what: str, name: str) -> None:
    if words:
        note(
            f"{name}: {len(words):,} {what} have a word that no training graph has, such as "
            f"{words[0]!a:.40}: it counts for nothing."
        )


@dataclass(frozen=True)
class Graphs:
    """Graphs as tensors, one after the other.

    Attributes:
        nodes: Features of all nodes, (nodes, node_features).
        edges: Features of all edges, (edges, edge_features).
        index: Where each edge begins and ends, in its own graph: (2, edges).
        node_counts: Nodes of each graph.
        edge_counts: Edges of each graph.
        targets: The number of each graph's class; 0 where none is known.
    """

    nodes: Tensor
    edges: Tensor
    index: Tensor
    node_counts: Tensor
    edge_counts: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def union(self, places: Sequence[int]) -> tuple[Tensor, ...]:
        """Return some graphs as one, with their classes: what `Model.forward` takes, and targets.

        Nodes (N, F), edges (E, F), index (2, E), graph (N,), sizes (B,), targets (B,).
        """
        chosen = torch.tensor(places, dtype=torch.int64)
        sizes, counts = self.node_counts[chosen], self.edge_counts[chosen]
        rows = _ranges(self.node_counts, chosen)
        links = _ranges(self.edge_counts, chosen)
        shift = torch.repeat_interleave(sizes.cumsum(0) - sizes, counts)  # (E,)
        graph = torch.repeat_interleave(torch.arange(len(chosen)), sizes)  # (N,)
        index = self.index[:, links] + shift
        return self.nodes[rows], self.edges[links], index, graph, sizes, self.targets[chosen]


def _ranges(counts: Tensor, chosen: Tensor) -> Tensor:
    """Return the rows of some groups, where groups of these sizes follow each other."""
    starts, sizes = (counts.cumsum(0) - counts)[chosen], counts[chosen]
    first = torch.repeat_interleave(starts - sizes.cumsum(0) + sizes, sizes)
    return first + torch.arange(len(first))


def selected(graphs: Packed, chosen: Integers) -> Packed:
    """Return some graphs, in that order."""
    places = torch.from_numpy(chosen)
    rows = _ranges(torch.from_numpy(graphs.node_counts), places).numpy()
    links = _ranges(torch.from_numpy(graphs.edge_counts), places).numpy()
    return Packed(
        tuple(graphs.places[each] for each in chosen),
        tuple(graphs.labels[each] for each in chosen),
        graphs.nodes.taken(rows),
        graphs.edges.taken(links),
        graphs.index[:, links],
        graphs.node_counts[chosen],
        graphs.edge_counts[chosen],
    )


def one_way(graphs: Packed) -> NDArray[np.bool_]:
    """Return whether each edge has no edge back."""
    begin, end = graphs.everywhere
    total = int(graphs.node_counts.sum())
    return ~np.isin(end * total + begin, begin * total + end)


def both_ways(graphs: Packed) -> Packed:
    """Return graphs with an edge back beside each that has none, with the same features."""
    missing = np.flatnonzero(one_way(graphs))
    owner = np.repeat(np.arange(len(graphs)), graphs.edge_counts)
    order = np.argsort(np.concatenate([owner, owner[missing]]), kind="stable")
    rows = np.concatenate([np.arange(len(owner)), missing])[order]
    index = np.concatenate([graphs.index, graphs.index[::-1, missing]], 1)[:, order]
    counts = graphs.edge_counts + np.bincount(owner[missing], minlength=len(graphs))
    return replace(graphs, index=index, edges=graphs.edges.taken(rows), edge_counts=counts)


def with_degrees(graphs: Packed) -> Packed:
    """Return graphs whose nodes have one feature: how many edges lead to them."""
    degrees = np.bincount(graphs.everywhere[1], minlength=int(graphs.node_counts.sum()))
    none = np.zeros((len(degrees), 0), object)
    return replace(graphs, nodes=Cells((False,), degrees[:, None].astype(np.float32), none))


def linked(graphs: Packed, directed: bool, name: str) -> Packed:
    """Return graphs with the edges that pass messages, and with features of all nodes.

    Args:
        graphs: The graphs as they were read.
        directed: Whether messages pass in the direction of an edge only.
        name: Name of the data, for notes.
    """
    if not directed:
        single = int(one_way(graphs).sum())
        if single:
            note(
                f"{name}: {single:,} of {graphs.index.shape[1]:,} edges have none back, and "
                "messages pass in both directions: set directed in data.py if they must not."
            )
        graphs = both_ways(graphs)
    if graphs.nodes.kinds:
        return graphs
    note(f"{name}: nodes have no features: how many edges lead to a node is its only one.")
    return with_degrees(graphs)


def require_room(columns: Columns, model: Any) -> None:
    """Stop if a model has no room for the columns of some data.

    Args:
        columns: How features become numbers.
        model: The Config of the model, which says how many it takes.
    """
    for name, features in (("node_features", columns.nodes), ("edge_features", columns.edges)):
        if features.width > getattr(model, name):
            fail(
                f"the data has {features.width} columns of {name}, words counted one by one, and "
                f"the model has room for {getattr(model, name)}: set task.{name} in the spec."
            )


def tensors(
    graphs: Packed, columns: Columns, widths: tuple[int, int], labels: Sequence[str], name: str
) -> Graphs:
    """Return graphs as tensors, with features of the model's widths.

    Args:
        graphs: The graphs, with the edges that pass messages.
        columns: How features become numbers.
        widths: The numbers that the model takes of a node, and of an edge.
        labels: The names of the classes, in their order; () where none is known.
        name: Name of the data, for notes.
    """
    nodes = columns.nodes.encoded(graphs.nodes, "nodes", name)
    edges = columns.edges.encoded(graphs.edges, "edges", name)
    numbers = {label: number for number, label in enumerate(labels)}
    return Graphs(
        _padded(nodes, widths[0]),
        _padded(edges, widths[1]),
        torch.from_numpy(np.ascontiguousarray(graphs.index)),
        torch.from_numpy(graphs.node_counts),
        torch.from_numpy(graphs.edge_counts),
        torch.tensor([numbers.get(label or "", 0) for label in graphs.labels]),
    )


def _padded(rows: Numbers, width: int) -> Tensor:
    """Return rows with zeros behind them, up to a width."""
    wide = torch.zeros(len(rows), width)
    wide[:, : rows.shape[1]] = torch.from_numpy(rows)
    return wide


def outlines(graph: Packed, columns: Columns) -> Iterator[str]:
    """Yield what data.py prints of one large graph: its features, its size and its edges."""
    for what, features in (("nodes", columns.nodes), ("edges", columns.edges)):
        lines = [*features.lines()]
        more = f", and {len(lines) - SHOWN:,} more" if lines[SHOWN:] else ""
        yield f"features of {what}: {', '.join(lines[:SHOWN]) or 'none'}{more}"
    begin, end = graph.index
    total = len(graph.nodes)
    alone = total - len(np.unique(graph.index))
    yield f"{total:,} nodes, {alone:,} without an edge; {len(begin):,} edges that pass messages"
    repeated = len(begin) - len(np.unique(begin * total + end))
    yield f"{int((begin == end).sum()):,} from a node to itself, {repeated:,} that repeat another"


def usual(model: Any, count: int) -> tuple[Tensor, ...]:
    """Return graphs of the usual size, joined, with zeros for features: what `forward` takes.

    Args:
        model: The Config of the model, which says what is usual.
        count: How many graphs.
    """
    graph = torch.arange(count).repeat_interleave(
        model.num_nodes, output_size=count * model.num_nodes
    )
    ends = torch.arange(count * model.num_edges) % model.num_nodes
    owner = torch.arange(count).repeat_interleave(
        model.num_edges, output_size=count * model.num_edges
    )
    # Edges lead around in each graph, so that every node has some.
    begin = owner * model.num_nodes + ends
    end = owner * model.num_nodes + (ends + 1) % model.num_nodes
    return (
        torch.zeros(len(graph), model.node_features),
        torch.zeros(len(owner), model.edge_features),
        torch.stack([begin, end]),
        graph,
        torch.full((count,), model.num_nodes),
    )


def usual_pairs(model: Any, count: int) -> Tensor:
    """Return pairs of nodes for each of `usual` graphs, (2, count * num_pairs)."""
    first = torch.arange(count).repeat_interleave(
        model.num_pairs, output_size=count * model.num_pairs
    )
    ends = torch.arange(count * model.num_pairs) % model.num_nodes
    pairs = torch.stack([ends, (ends + 1) % model.num_nodes])  # (2, count * num_pairs)
    return pairs + first * int(model.num_nodes)
