"""Score a checkpoint on the test split, and compare with classifiers that count parts of graphs.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data graphs.jsonl     a checkpoint that was trained on your graphs

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, batches, fitted, load_graphs
from model import Config as ModelConfig
from model import Model
from runtime.classes import accuracy, class_metrics
from runtime.errors import run
from runtime.forest import forest_shares
from runtime.graphs import Packed
from runtime.labels import read_labels, untested
from runtime.linear import logistic_regression
from runtime.ranks import roc_auc, roc_curve
from runtime.report import Report
from runtime.scores import Samples, Score, Weights
from runtime.scripts import Setting, Trained, scoring
from runtime.unions import Graphs, read_columns
from runtime.wl import colours

MOST_DEGREE = 6  # nodes with more edges are counted together
COLUMNS = 2048  # columns of WL counts; colours that share one are counted together
MOST_POINTS = 150  # points of a curve; more make the report longer and look the same
MOST_CURVES = 6  # classes of the figure; more would hide each other
Shares = NDArray[np.float64]  # (graphs, classes)
Targets = NDArray[np.int64]  # (graphs,)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Graphs scored at once."""
    baseline_graphs: int = 20000
    """Training graphs above which the majority is the only baseline."""
    baseline_trees: int = 100
    """Trees of a random forest."""


@torch.no_grad()
def predict(model: Model, graphs: Graphs, size: int, device: torch.device) -> Shares:
    """Return the probability of each class for each graph of a split."""
    parts = []
    for *inputs, _ in batches(graphs, size):
        # In float64, probabilities near 0 keep their order.
        logits = model(*(each.to(device) for each in inputs)).double()
        parts.append(logits.softmax(1).cpu())
    return np.asarray(torch.cat(parts).numpy())


def baselines(data: Dataset, config: Config, seed: int) -> Iterator[tuple[str, Shares]]:
    """Yield simpler classifiers: their names, and probabilities on the test split.

    `majority` predicts the share of each class. The others count the features of nodes and edges,
    and nodes by their number of edges; or the colours of Weisfeiler and Leman, which are parts of a
    graph up to three edges wide. A network that does not beat counts has learned no structure.
    """
    train, test = data.splits["train"], data.splits["test"]
    classes, targets = len(data.labels), train.targets
    shares = torch.bincount(targets, minlength=classes).double() / len(targets)
    yield "majority", np.tile(shares.numpy(), (len(test), 1))
    if len(train) > config.baseline_graphs:
        return
    known, unknown = counts(train), counts(test)
    linear = logistic_regression(known, targets, classes, unknown).exp()
    yield "logistic regression, counts", np.asarray(linear.numpy())
    pairs = {
        "random forest, counts": (known.numpy(), unknown.numpy()),
        "random forest, WL": (wl_counts(data.parts["train"]), wl_counts(data.parts["test"])),
    }
    for name, (rows, others) in pairs.items():
        forest = forest_shares(rows, targets.numpy(), classes, others, config.baseline_trees, seed)
        if forest is not None:
            yield name, forest


def counts(graphs: Graphs) -> Tensor:
    """Return what is in each graph: (graphs, columns), float64.

    Nodes, edges, sums of their features, and nodes by the number of edges that lead to them.
    """
    owner = torch.repeat_interleave(torch.arange(len(graphs)), graphs.node_counts)
    linked = torch.repeat_interleave(torch.arange(len(graphs)), graphs.edge_counts)
    starts = graphs.node_counts.cumsum(0) - graphs.node_counts
    ends = graphs.index[1] + starts[linked]
    degrees = torch.bincount(ends, minlength=len(owner)).clamp_max(MOST_DEGREE)
    nodes = torch.cat([graphs.nodes.double(), torch.eye(MOST_DEGREE + 1).double()[degrees]], 1)

    def sums(rows: Tensor, places: Tensor) -> Tensor:
        return torch.zeros(len(graphs), rows.size(1)).double().index_add(0, places, rows)

    sizes = torch.stack([graphs.node_counts, graphs.edge_counts], 1).double()
    return torch.cat([sizes, sums(nodes, owner), sums(graphs.edges.double(), linked)], 1)


def wl_counts(graphs: Packed) -> NDArray[np.float32]:
    """Return how often each colour occurs in each graph, in COLUMNS columns (hashed)."""
    owner = np.repeat(np.arange(len(graphs)), graphs.node_counts)
    table = np.zeros((len(graphs), COLUMNS), np.float32)
    for colour in colours(graphs):
        np.add.at(table, (owner, (colour % np.uint64(COLUMNS)).astype(np.int64)), 1)
    return table


def macro_auc(truth: Targets, shares: Shares) -> Score:
    """Return the area under the ROC curve of each class against the others, their mean.

    With two classes it is that of the second. A class that a draw lacks is not in the mean.
    """
    classes = range(1, 2) if shares.shape[1] == 2 else range(shares.shape[1])
    # A class without a test graph has no curve, as its report says.
    areas = [roc_auc(shares[:, k], truth == k) for k in classes if (truth == k).any()]

    def score(weights: Weights) -> float:
        values = np.array([area(weights) for area in areas])
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    return score


def hits(truth: Targets, shares: Shares) -> Score:
    """Return the share of graphs whose most probable class is the true one."""
    return accuracy(truth, shares.argmax(1))


# The area judges the order of probabilities, whatever the shares of the classes.
SCORES = (("accuracy", "accuracy", hits), ("roc_auc", "ROC AUC", macro_auc))


def metrics(shares: Shares, truth: Targets, simple: dict[str, Shares]) -> list[dict[str, Any]]:
    """Return accuracy and the area under the ROC curve, with those of the baselines."""
    return class_metrics(truth, shares, simple, Samples("graphs", len(truth)), SCORES)


def figure(shares: Shares, truth: Targets, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the ROC curve of each class against the others, and that of a random order."""

    def line(name: str, x: Any, y: Any, style: str) -> dict[str, Any]:
        at = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).astype(int))
        return {
            "name": name,
            "x": [round(float(v), 4) for v in np.asarray(x)[at]],
            "y": [round(float(v), 4) for v in np.asarray(y)[at]],
            "style": style,
        }

    common = np.bincount(truth, minlength=len(labels)).argsort(kind="stable")[::-1]
    shown = common[:1] if len(labels) == 2 else sorted(common[:MOST_CURVES].tolist())
    shown = [1] if len(labels) == 2 else [k for k in shown if (truth == k).any()]
    curves = [line(labels[k], *roc_curve(shares[:, k], truth == k), style="line") for k in shown]
    chance = line("random", [0, 1], [0, 1], "dashed")
    return {
        "kind": "lines",
        "x": "false positives (share)",
        "y": "true positives (share)",
        "series": [*curves, chance],
    }


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the graphs of the test split."""
    config, folder, size = trained.config, trained.folder, trained.args.size
    data = load_graphs(trained.data, trained.args.data, trained.model, size)
    # Classes and features are positions, so other data would mix them up.
    trained.check_data(read_labels(folder), data.labels, data.name, "classes")
    trained.check_data(read_columns(folder), data.columns, data.name, "features")
    model_config = fitted(trained.model, data.columns, data.labels, size)
    model = trained.load(lambda: Model(model_config))
    test = data.splits["test"]
    shares = predict(model, test, config.batch_size, trained.device)
    truth = np.asarray(test.targets.numpy())
    simple = dict(baselines(data, config, seed=0))
    return Report(
        data.name,
        data.sha256,
        len(truth),
        metrics(shares, truth, simple),
        figure(shares, truth, data.labels),
        n_unit="graphs",
        untested=untested(data.labels, truth.tolist()),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled molecules)",
    settings={"batch_size": Setting("graphs scored at once")},
)

if __name__ == "__main__":
    run(main)
