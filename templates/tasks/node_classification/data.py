"""Read a graph whose nodes have a class each, bundled or your own, and split its nodes.

    python data.py --data graph.json    shows what training will read

A .json file has `nodes`, objects with an `id`, a `label` and features, and `edges`, objects with
`source` and `target`, as networkx writes them. A .npz file holds `x`, `edge_index`, `edge_attr`,
`y`, and `train_mask`, `val_mask` and `test_mask`, as PyG names them. Or PATH is a folder with
nodes.csv and edges.csv. A node may have a `split`, and none needs a label: nodes without one pass
messages. Without --data, the script reads which modules of sympy import which, and a module's label
is its sub-package.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import split_of, uniform
from runtime.errors import run
from runtime.labels import labels_of, require_outputs
from runtime.listing import printable
from runtime.module_graph import import_graph
from runtime.networks import Network, read_network
from runtime.options import data_options
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left
from runtime.unions import Columns, Features, Graphs, linked, outlines, require_room, tensors

BUNDLED = "imports of sympy"
# Few nodes have a label in the field's benchmarks: a fifth of each class, and a tenth to validate.
FEW_TRAIN, FEW_VAL = 0.2, 0.1
MOST_SHOWN = 20  # classes that data.py counts by name


@dataclass(frozen=True)
class Config:
    """How a graph is read, and its nodes are split."""

    val_fraction: float = 0.1
    """Share of the labelled nodes for validation during training."""
    test_fraction: float = 0.1
    """Share of the labelled nodes that only eval.py reads the labels of."""
    directed: bool = False
    """Whether edges pass messages in their own direction only; false adds the edges back."""


@dataclass(frozen=True)
class Dataset:
    """A graph whose labelled nodes are in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of the data.
        labels: The names of the classes; a name's place is its number.
        columns: How features become numbers.
        network: The graph as it was read, with the edges that pass messages.
        graph: The same as tensors, a list of one graph.
        targets: The class of each node, (N,); 0 where none is known.
        splits: The nodes of each split.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    columns: Columns
    network: Network
    graph: Graphs
    targets: Tensor
    splits: dict[str, Tensor]


def load_graph(config: Config, path: Path | None, model: ModelConfig, size: str) -> Dataset:
    """Return the graph of a path, or the bundled one, or stop if it does not fit the model."""
    name = path.name if path else BUNDLED
    sha256, network = read_network(path) if path else import_graph()
    splits = _splits(config, network) if path else _few_of_each(network)
    require_samples(name, "labelled nodes", {split: len(splits[split]) for split in SPLITS})
    used = {split: [network.labels[node] or "" for node in splits[split]] for split in SPLITS}
    labels = labels_of(used, name, "node")
    network = replace(network, graph=linked(network.graph, config.directed, name))
    # Features of all nodes are there while the network learns; the labels of some are not.
    columns = Columns(Features.of(network.graph.nodes), Features.of(network.graph.edges))
    model = fitted(model, columns, labels, size)
    widths = model.node_features, model.edge_features
    numbers = {label: number for number, label in enumerate(labels)}
    return Dataset(
        name,
        sha256,
        labels,
        columns,
        network,
        tensors(network.graph, columns, widths, (), name),
        torch.tensor([numbers.get(label or "", 0) for label in network.labels]),
        {split: torch.tensor(places) for split, places in splits.items()},
    )


def fitted(model: ModelConfig, columns: Columns, labels: Sequence[str], size: str) -> ModelConfig:
    """Return the model for some data, or stop if the full model has no room for it.

    The proxy takes any features and classes, because its job is to test the code; the full model's
    size was computed for a fixed number.
    """
    if size == "proxy":
        nodes, edges = columns.nodes.width, columns.edges.width
        return replace(model, node_features=nodes, edge_features=edges, num_classes=len(labels))
    require_room(columns, model)
    require_outputs(labels, model.num_classes)
    return model


def _splits(config: Config, network: Network) -> dict[str, list[int]]:
    """Return the labelled nodes of each split: those that the data names, or cut by digests."""
    named = {split for split in network.splits if split}
    shares = shares_left(named, config.val_fraction, config.test_fraction)
    splits: dict[str, list[int]] = {split: [] for split in SPLITS}
    for node, (label, split) in enumerate(zip(network.labels, network.splits, strict=True)):
        if label is None or (named and split is None):
            continue
        # A digest of the name decides, so new nodes move no old ones.
        cut = split_of(network.names[node], *shares)
        splits[cut if split in (None, "train") else split].append(node)
    return splits


def _few_of_each(network: Network) -> dict[str, list[int]]:
    """Return a fifth of the nodes of each class to train on, a tenth to validate, and the rest."""
    splits: dict[str, list[int]] = {split: [] for split in SPLITS}
    for label in sorted({label for label in network.labels if label}):
        nodes = [node for node, own in enumerate(network.labels) if own == label]
        nodes.sort(key=lambda node: uniform(network.names[node]))
        train, val = (max(1, int(share * len(nodes))) for share in (FEW_TRAIN, FEW_VAL))
        splits["train"] += nodes[:train]
        splits["val"] += nodes[train : train + val]
        splits["test"] += nodes[train + val :]
    return splits


def batch_of(data: Dataset, split: str, count: int) -> tuple[Tensor, ...]:
    """Return the graph so many times, as one, and the nodes of a split with their classes.

    All nodes pass messages, and the loss is that of the split's. A graph that is there twice drops
    other features in training.
    """
    nodes, edges, index, *_ = data.graph.union([0] * count)
    first = torch.arange(count).unsqueeze(1) * len(data.network)
    chosen, targets = data.splits[split], data.targets[data.splits[split]]
    return nodes, edges, index, (first + chosen).flatten(), targets.repeat(count)


def main() -> None:
    """Show the graph."""
    args = data_options(__doc__, data="a graph (default: imports of sympy)").parse_args()
    config, model = (
        load_config(Config, "data", args.size),
        load_config(ModelConfig, "model", args.size),
    )
    data = load_graph(config, args.data, model, args.size)
    print(f"{data.name}, sha256 {data.sha256}")
    print(*outlines(data.network.graph, data.columns), sep="\n")
    for split, nodes in data.splits.items():
        counts = Counter(data.labels[k] for k in data.targets[nodes].tolist())
        shares = ", ".join(f"{printable(n)} {c:,}" for n, c in counts.most_common(MOST_SHOWN))
        print(f"{split:>5}: {len(nodes):,} nodes: {shares}")
    print(f"{sum(label is None for label in data.network.labels):,} nodes have no label")


if __name__ == "__main__":
    run(main)
