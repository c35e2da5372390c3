"""Label graphs with a trained checkpoint.

    python infer.py --input new.jsonl                  the label of each graph of a file
    python infer.py --input new.jsonl > labels.csv     the same, into a file

A file is written as for training; labels are not read. Prints a table with a line for each graph:
its number, from 1, its likeliest class, and the probability of every class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import batches, fitted
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.graphs import read_graphs
from runtime.label_table import print_labels
from runtime.labels import read_labels
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.unions import Graphs, linked, read_columns, tensors


@dataclass(frozen=True)
class Config:
    """How graphs are labelled and printed."""

    batch_size: int = 256
    """Graphs labelled at once."""
    digits: int = 4
    """Digits of a printed probability after the point."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def shares(model: Model, graphs: Graphs, size: int) -> Tensor:
    """Return the probability of each class (K,) for each graph: (graphs, K)."""
    like = next(model.parameters())
    parts = []
    for nodes, edges, *rest, _ in batches(graphs, size):
        # Features take the format of the weights, and places stay whole numbers.
        inputs = (nodes.to(like), edges.to(like), *(each.to(like.device) for each in rest))
        parts.append(model(*inputs).float().softmax(1).cpu())
    return torch.cat(parts)


def options(group: Group) -> None:
    text = "a file of graphs with the features that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each graph."""
    config, path = trained.config, trained.args.input
    labels, columns = read_labels(trained.folder), read_columns(trained.folder)
    model_config = fitted(trained.model, columns, labels, trained.args.size)
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    # Edges pass messages as in training: in both directions, or in their own alone.
    read = linked(read_graphs(path, labelled=False), trained.data.directed, path.name)
    widths = model_config.node_features, model_config.edge_features
    graphs = tensors(read, columns, widths, (), path.name)
    made = shares(model, graphs, config.batch_size)
    print_labels("graph", range(1, len(made) + 1), made, labels, config.digits)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("graphs labelled at once"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
