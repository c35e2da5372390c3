"""Read a graph, bundled or your own, and cut its links into train, val and test splits.

    python data.py --data graph.json    shows what training will read

A .json file has `nodes`, objects with an `id` and features, and `edges`, objects with `source` and
`target`, as networkx writes them. A .npz file holds `x`, `edge_index` and `edge_attr`, as PyG names
them. A folder has nodes.csv and edges.csv; a .csv or .jsonl file has edges alone. Without --data,
the script reads which modules of sympy import which.

A link has no direction. Those of the training split alone pass messages. Beside each held-out link
stand two pairs without one: an easy one, of any two nodes, and a hard one, of two nodes that links
lead to as often as to those of the split. Among easy ones, the number of a node's links tells most.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import split_of
from runtime.errors import fail, run
from runtime.graphs import Packed
from runtime.module_graph import import_graph
from runtime.networks import Network, read_network
from runtime.notes import note
from runtime.options import data_options
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples
from runtime.unions import Columns, Features, Graphs, linked, outlines, require_room, tensors

BUNDLED = "imports of sympy"
KINDS = ("hard", "uniform")
HELD_OUT = ("val", "test")
TRIES = 100  # draws of pairs without a link, before a graph counts as full of links


@dataclass(frozen=True)
class Config:
    """How links are split."""

    val_fraction: float = 0.05
    """Share of the links for validation during training."""
    test_fraction: float = 0.1
    """Share of the links that only eval.py reads."""


@dataclass(frozen=True)
class Dataset:
    """A graph whose links are in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of the data.
        columns: How features become numbers.
        network: The graph as it was read, with the links of train, each in both directions.
        graph: The same as tensors, a list of one graph; the second half leads back.
        links: The pairs of linked nodes of each split, (2, links).
        apart: Pairs without a link beside those of val and of test, by split and kind.
    """

    name: str
    sha256: str
    columns: Columns
    network: Network
    graph: Graphs
    links: dict[str, Tensor]
    apart: dict[str, dict[str, Tensor]]


def load_graph(config: Config, path: Path | None, model: ModelConfig, size: str) -> Dataset:
    """Return the graph of a path, or the bundled one, or stop if it does not fit the model."""
    name = path.name if path else BUNDLED
    sha256, network = read_network(path) if path else import_graph()
    network = undirected(network, name)
    places = _splits(config, network)
    require_samples(name, "links", {split: len(places[split]) for split in SPLITS})
    every = torch.from_numpy(network.graph.index)
    links = {split: every[:, places[split]] for split in SPLITS}
    nodes = len(network)
    network = replace(network, graph=linked(_there_and_back(network, places["train"]), False, name))
    columns = Columns(Features.of(network.graph.nodes), Features.of(network.graph.edges))
    model = fitted(model, columns, size)
    widths = model.node_features, model.edge_features
    graph = tensors(network.graph, columns, widths, (), name)
    apart = {split: _apart(links[split], every, nodes) for split in HELD_OUT}
    return Dataset(name, sha256, columns, network, graph, links, apart)


def undirected(network: Network, name: str) -> Network:
    """Return a graph that has each link once, with the features of its first edge."""
    graph = network.graph
    low, high = graph.index.min(0), graph.index.max(0)
    _, first = np.unique(low * len(network) + high, return_index=True)
    kept = np.sort(first[low[first] != high[first]])
    loops = int((low == high).sum())
    if loops:
        note(f"{name}: {loops:,} edges from a node to itself are left out: they are no links.")
    one = replace(
        graph,
        index=np.stack([low, high])[:, kept],
        edges=graph.edges.taken(kept),
        edge_counts=np.array([len(kept)]),
    )
    return replace(network, graph=one)


def _splits(config: Config, network: Network) -> dict[str, list[int]]:
    """Return the places of the links of each split."""
    splits: dict[str, list[int]] = {split: [] for split in SPLITS}
    for place, pair in enumerate(network.graph.index.T.tolist()):
        # A digest of both names decides, so new links move no old ones.
        key = "\0".join(sorted(network.names[node] for node in pair))
        splits[split_of(key, config.val_fraction, config.test_fraction)].append(place)
    return splits


def _there_and_back(network: Network, places: list[int]) -> Packed:
    """Return the graph of some links, of which each passes messages in both directions."""
    rows, graph = np.array(places, np.int64), network.graph
    index = graph.index[:, rows]
    return replace(
        graph,
        index=np.concatenate([index, index[::-1]], 1),
        edges=graph.edges.taken(np.concatenate([rows, rows])),
        edge_counts=np.array([2 * len(rows)]),
    )


def fitted(model: ModelConfig, columns: Columns, size: str) -> ModelConfig:
    """Return the model for some data, or stop if the full model has no room for it.

    The proxy takes any features, because its job is to test the code; the full model's size was
    computed for a fixed number.
    """
    if size != "proxy":
        require_room(columns, model)
        return model
    nodes, edges = columns.nodes.width, columns.edges.width
    return replace(model, node_features=nodes, edge_features=edges)


def _apart(links: Tensor, every: Tensor, nodes: int) -> dict[str, Tensor]:
    """Return as many pairs without a link as a split has links, of each kind."""
    generator = torch.Generator().manual_seed(0)
    count = links.size(1)
    return {kind: unlinked(kind, count, links, every, nodes, generator) for kind in KINDS}


def unlinked(
    kind: str, count: int, links: Tensor, known: Tensor, nodes: int, generator: torch.Generator
) -> Tensor:
    """Return pairs of nodes without a known link, (2, count).

    Args:
        kind: Ends of "hard" ones are drawn from those of `links`, of "uniform" ones from all nodes.
        count: How many.
        links: (2, L) links whose ends hard ones have.
        known: (2, K) all links that no pair may be.
        nodes: The number of nodes.
        generator: Draws them.
    """
    pool = links.flatten() if kind == "hard" else torch.arange(nodes)
    taken = codes(known, nodes)
    found = torch.zeros(2, 0, dtype=torch.int64)
    for _ in range(TRIES):
        drawn = pool[torch.randint(len(pool), (2, 2 * count + 8), generator=generator)]
        free = (drawn[0] != drawn[1]) & ~torch.isin(codes(drawn, nodes), taken)
        found = torch.cat([found, drawn[:, free]], 1)
        if found.size(1) >= count:
            return found[:, :count]
    fail("the graph has links between nearly all nodes: there are too few pairs without one.")


def codes(pairs: Tensor, nodes: int) -> Tensor:
    """Return a number for each pair, (P,), the same for both orders."""
    return pairs.min(0).values * nodes + pairs.max(0).values


def batch_of(data: Dataset, pairs: int, position: int, count: int, seed: int) -> tuple[Tensor, ...]:
    """Return the graph so many times, as one, and pairs of nodes that have a link or have none.

    The links that are predicted pass no messages: the network would read the answer. There are as
    many pairs without a link, of which half are hard ones.
    """
    parts = [_hidden(data, pairs, place, seed) for place in range(position, position + count)]
    nodes, total = data.graph.nodes, len(data.network)
    index = [edges + number * total for number, (edges, _, _, _) in enumerate(parts)]
    chosen = [each + number * total for number, (_, _, each, _) in enumerate(parts)]
    return (
        nodes.repeat(count, 1),
        torch.cat([features for _, features, _, _ in parts]),
        torch.cat(index, 1),
        torch.cat(chosen, 1),
        torch.cat([targets for *_, targets in parts]),
    )


def _hidden(
    data: Dataset, pairs: int, position: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return edges that pass messages and their features, and pairs with their targets."""
    # The position alone decides what is drawn, so a resumed run repeats it.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + position) % 2**63)
    links, nodes = data.links["train"], len(data.network)
    count = max(1, min(pairs // 2, links.size(1) // 2))
    order = torch.randperm(links.size(1), generator=generator)
    kept = order[count:].sort().values
    both = torch.cat([kept, kept + links.size(1)])
    hidden = links[:, order[:count]]
    apart = [
        unlinked(kind, size, links, links, nodes, generator)
        for kind, size in (("hard", count - count // 2), ("uniform", count // 2))
    ]
    targets = torch.cat([torch.ones(count), torch.zeros(count)])
    graph = data.graph
    return graph.index[:, both], graph.edges[both], torch.cat([hidden, *apart], 1), targets


def held_out(data: Dataset, split: str) -> tuple[Tensor, ...]:
    """Return the graph of all training links, and pairs of a split: its links and hard ones."""
    links, apart = data.links[split], data.apart[split]["hard"]
    targets = torch.cat([torch.ones(links.size(1)), torch.zeros(apart.size(1))])
    graph = data.graph
    return graph.nodes, graph.edges, graph.index, torch.cat([links, apart], 1), targets


def described(data: Dataset) -> Iterator[str]:
    """Yield what data.py prints of the links of each split."""
    for split, links in data.links.items():
        yield f"{split:>5}: {links.size(1):,} links"


def main() -> None:
    """Show the graph."""
    args = data_options(__doc__, data="a graph (default: imports of sympy)").parse_args()
    config, model = (
        load_config(Config, "data", args.size),
        load_config(ModelConfig, "model", args.size),
    )
    data = load_graph(config, args.data, model, args.size)
    print(f"{data.name}, sha256 {data.sha256}")
    print(*outlines(data.network.graph, data.columns), *described(data), sep="\n")


if __name__ == "__main__":
    run(main)
