"""Score links of a graph with a trained checkpoint.

    python infer.py --input graph.json                      the likeliest links that it lacks
    python infer.py --input graph.json --pairs pairs.csv    the pairs of a file
    python infer.py --input graph.json > links.csv          a table in a file

A graph is written as for training. A file of pairs has a `source` and a `target` in each row.
Without one, the pairs of nodes without a link that have a common neighbour are scored, and the
likeliest are printed. A probability is that of a link among as many linked pairs as others; links
are rarer in most graphs.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import codes, fitted, undirected
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.networks import Network, read_network, read_pairs
from runtime.notes import note
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.unions import Graphs, both_ways, linked, read_columns, tensors

MOST_ENDS = 2000  # neighbours of a node that are paired with each other; more would fill the memory


@dataclass(frozen=True)
class Config:
    """How links are scored and printed."""

    batch_size: int = 4096
    """Pairs scored at once."""
    top: int = 20
    """Likeliest links that are printed."""
    digits: int = 4
    """Digits of a printed probability after the point."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def shares(model: Model, graph: Graphs, pairs: Tensor, size: int) -> Tensor:
    """Return the probability of a link between the nodes of each pair, (P,)."""
    like = next(model.parameters())
    # Features take the format of the weights, and places stay whole numbers.
    inputs = (graph.nodes.to(like), graph.edges.to(like), graph.index.to(like.device))
    vectors = model.encode(*inputs)
    parts = [model.score(vectors, each.to(like.device)) for each in torch.split(pairs, size, 1)]
    return torch.cat(parts).float().sigmoid().cpu()


def near(network: Network, name: str) -> Tensor:
    """Return the pairs of nodes with a common neighbour and no link, (2, P)."""
    nodes, links = len(network), torch.from_numpy(network.graph.index)
    ends = torch.cat([links, links.flip(0)], 1)
    found = torch.zeros(0, dtype=torch.int64)
    for node in range(nodes):
        around = ends[1, ends[0] == node]
        if len(around) > MOST_ENDS:
            note(f"{name}: the {len(around):,} neighbours of {network.names[node]} are not paired.")
        elif len(around) > 1:
            found = torch.unique(torch.cat([found, codes(torch.combinations(around).T, nodes)]))
    found = found[~torch.isin(found, codes(links, nodes))]
    if not len(found):
        fail(f"{name} has no two nodes without a link that have a common neighbour: give --pairs.")
    return torch.stack([found // nodes, found % nodes])


def options(group: Group) -> None:
    text = "a graph with the features that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)
    text = "a file of pairs of nodes (default: the likeliest that the graph lacks)"
    group.add_argument("--pairs", type=existing, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each link."""
    config, path = trained.config, trained.args.input
    columns = read_columns(trained.folder)
    model_config = fitted(trained.model, columns, trained.args.size)
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    network = undirected(read_network(path)[1], path.name)
    read = linked(both_ways(network.graph), False, path.name)
    widths = model_config.node_features, model_config.edge_features
    graph = tensors(read, columns, widths, (), path.name)
    chosen: Path | None = trained.args.pairs
    pairs = torch.tensor(read_pairs(chosen, network)).T if chosen else near(network, path.name)
    found = shares(model, graph, pairs, config.batch_size)
    if not chosen:
        best = found.argsort(descending=True, stable=True)[: config.top]
        pairs, found = pairs[:, best], found[best]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["source", "target", "p(link)"])
    for (a, b), share in zip(pairs.T.tolist(), found.tolist(), strict=True):
        table.writerow([network.names[a], network.names[b], f"{share:.{config.digits}f}"])


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("pairs scored at once"),
        "top": Setting("likeliest links that are printed"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
