"""Label the nodes of a graph with a trained checkpoint.

    python infer.py --input graph.json                  the label of each node
    python infer.py --input graph.json > labels.csv     the same, into a file

A graph is written as for training; labels are not read. Prints a table with a line for each node:
its name, its likeliest class, and the probability of every class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.label_table import print_labels
from runtime.labels import read_labels
from runtime.networks import read_network
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.unions import Graphs, linked, read_columns, tensors


@dataclass(frozen=True)
class Config:
    """How nodes are labelled and printed."""

    digits: int = 4
    """Digits of a printed probability after the point."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def shares(model: Model, graph: Graphs) -> Tensor:
    """Return the probability of each class (K,) for each node: (N, K)."""
    like = next(model.parameters())
    # Features take the format of the weights, and places stay whole numbers.
    logits = model(graph.nodes.to(like), graph.edges.to(like), graph.index.to(like.device))
    return logits.float().softmax(1).cpu()  # type: ignore[no-any-return]


def options(group: Group) -> None:
    text = "a graph with the features that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each node."""
    config, path = trained.config, trained.args.input
    labels, columns = read_labels(trained.folder), read_columns(trained.folder)
    model_config = fitted(trained.model, columns, labels, trained.args.size)
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    _, network = read_network(path)
    # Edges pass messages as in training: in both directions, or in their own alone.
    read = linked(network.graph, trained.data.directed, path.name)
    widths = model_config.node_features, model_config.edge_features
    graph = tensors(read, columns, widths, (), path.name)
    print_labels("node", network.names, shares(model, graph), labels, config.digits)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={"dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32"))},
)

if __name__ == "__main__":
    run(main)
