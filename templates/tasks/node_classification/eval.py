"""Score a checkpoint on the test nodes, and compare with methods that use words or edges alone.

    python eval.py                       the checkpoint that train.py wrote to `out`
    python eval.py --data graph.json     a checkpoint that was trained on your graph

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the labels of the test
split.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, fitted, load_graph
from model import Config as ModelConfig
from model import Model
from runtime.classes import class_metrics, confusion
from runtime.errors import run
from runtime.labels import read_labels, untested
from runtime.linear import logistic_regression
from runtime.report import Report
from runtime.scores import Samples
from runtime.scripts import Trained, scoring
from runtime.unions import read_columns


@dataclass(frozen=True)
class Config:
    """How the test nodes are scored."""

    baseline_nodes: int = 20000
    """Nodes above which only the majority and label propagation are baselines."""
    hops: int = 2
    """Edges over which logistic regression reads the mean features of neighbours."""
    spread: float = 0.9
    """Share of a node's label that label propagation takes from its neighbours."""
    rounds: int = 50
    """Rounds of label propagation."""


@torch.no_grad()
def predict(model: Model, data: Dataset, device: torch.device) -> Tensor:
    """Return the likeliest class of each node of the graph, (N,)."""
    graph = data.graph
    logits = model(*(each.to(device) for each in (graph.nodes, graph.edges, graph.index)))
    return logits.argmax(1).cpu()  # type: ignore[no-any-return]


def baselines(data: Dataset, config: Config) -> Iterator[tuple[str, Tensor]]:
    """Yield simpler classifiers: their names, and the class of each node, (N,).

    `majority` predicts the most frequent class. Label propagation knows edges and no features;
    logistic regression knows the features of a node, or also the mean ones of its neighbours.
    """
    train, classes = data.splits["train"], len(data.labels)
    targets = data.targets[train]
    shares = torch.bincount(targets, minlength=classes)
    yield "majority", shares.argmax().expand(len(data.targets))
    yield "label propagation", propagated(data, config)
    if len(data.targets) > config.baseline_nodes:
        return
    rows = data.graph.nodes.double()
    near = [rows]
    for _ in range(config.hops):
        near.append(neighbours_mean(near[-1], data.graph.index))
    for name, columns in (("features", rows), ("features of neighbours too", torch.cat(near, 1))):
        fitted_to = logistic_regression(columns[train], targets, classes, columns)
        yield f"logistic regression, {name}", fitted_to.argmax(1)


def propagated(data: Dataset, config: Config) -> Tensor:
    """Return classes by label propagation (Zhou et al., 2003): F <- a S F + (1 - a) Y.

    S = D^-1/2 A D^-1/2, and Y holds the labels of the training nodes.
    """
    nodes, train = len(data.targets), data.splits["train"]
    begin, end = data.graph.index
    degrees = torch.bincount(end, minlength=nodes).double().clamp_min(1)
    weights = (degrees[begin] * degrees[end]).rsqrt().unsqueeze(1)
    known = torch.zeros(nodes, len(data.labels), dtype=torch.float64)
    known[train, data.targets[train]] = 1
    shares = known
    for _ in range(config.rounds):
        sums = torch.zeros_like(known).index_add(0, end, weights * shares[begin])
        shares = config.spread * sums + (1 - config.spread) * known
    return shares.argmax(1)


def neighbours_mean(rows: Tensor, index: Tensor) -> Tensor:
    """Return the mean row of the nodes from which edges lead to each node, 0 where none does."""
    begin, end = index
    counts = torch.bincount(end, minlength=len(rows)).clamp_min(1).unsqueeze(1)
    return torch.zeros_like(rows).index_add(0, end, rows[begin]) / counts


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the test nodes."""
    config, folder, size = trained.config, trained.folder, trained.args.size
    data = load_graph(trained.data, trained.args.data, trained.model, size)
    # Classes and features are positions, so other data would mix them up.
    trained.check_data(read_labels(folder), data.labels, data.name, "classes")
    trained.check_data(read_columns(folder), data.columns, data.name, "features")
    model_config = fitted(trained.model, data.columns, data.labels, size)
    model = trained.load(lambda: Model(model_config))
    test = data.splits["test"]
    truth = np.asarray(data.targets[test].numpy())
    own = np.asarray(predict(model, data, trained.device)[test].numpy())
    simple = {n: np.asarray(guess[test].numpy()) for n, guess in baselines(data, config)}
    return Report(
        data.name,
        data.sha256,
        len(truth),
        class_metrics(truth, own, simple, Samples("nodes", len(truth))),
        confusion(own, truth, data.labels),
        n_unit="nodes",
        untested=untested(data.labels, truth.tolist()),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: imports of sympy)",
    settings={},
)

if __name__ == "__main__":
    run(main)
