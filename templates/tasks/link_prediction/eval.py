"""Score a checkpoint on the test links, and compare with methods that count neighbours.

    python eval.py                       the checkpoint that train.py wrote to `out`
    python eval.py --data graph.json     a checkpoint that was trained on your graph

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from data import KINDS, Dataset, batch_of, fitted, load_graph
from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.linear import logistic_regression
from runtime.ranks import average_precision, roc_auc, roc_curve
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.unions import read_columns

AT_ONCE = 1024  # pairs whose neighbours are counted at once
MOST_POINTS = 150  # points of a curve; more make the report longer and look the same
Scores = NDArray[np.float64]  # (pairs,)


@dataclass(frozen=True)
class Config:
    """How the test links are scored."""

    batch_size: int = 4096
    """Pairs scored at once."""
    baseline_nodes: int = 5000
    """Nodes above which the number of links is the only baseline."""
    rank: int = 32
    """Dimensions of the baseline that factorizes the graph."""


@torch.no_grad()
def predict(model: Model, data: Dataset, pairs: Tensor, size: int, device: torch.device) -> Scores:
    """Return the logit of each pair, (P,)."""
    graph = data.graph
    vectors = model.encode(*(each.to(device) for each in (graph.nodes, graph.edges, graph.index)))
    # In float64, logits of nearly equal pairs keep their order in the metrics.
    parts = [
        model.score(vectors, each.to(device)).double().cpu() for each in torch.split(pairs, size, 1)
    ]
    return np.asarray(torch.cat(parts).numpy())


class Neighbours:
    """What the training links say of pairs of nodes, without a network."""

    def __init__(self, data: Dataset) -> None:
        nodes, links = len(data.network), data.links["train"]
        self.table = torch.zeros(nodes, nodes, dtype=torch.float64)
        self.table[links[0], links[1]] = self.table[links[1], links[0]] = 1
        self.degrees = self.table.sum(1)
        self.features = F.normalize(data.graph.nodes.double(), dim=1)

    def common(self, pairs: Tensor, weights: Tensor) -> Tensor:
        """Return the sum of weights of the neighbours that both nodes of a pair have, (P,)."""
        parts = [
            (self.table[a] * self.table[b]) @ weights for a, b in torch.split(pairs, AT_ONCE, 1)
        ]
        return torch.cat(parts)

    def simple(self, pairs: Tensor) -> dict[str, Tensor]:
        """Return scores of pairs by counts of neighbours, each (P,).

        Preferential attachment multiplies the numbers of links (Barabasi & Albert, 1999); Adamic
        and Adar (2003) count a common neighbour less, the more links it has.
        """
        rare = 1 / self.degrees.clamp_min(2).log()
        return {
            "degrees": self.degrees[pairs[0]] * self.degrees[pairs[1]],
            "common neighbours": self.common(pairs, torch.ones_like(rare)),
            "Adamic-Adar": self.common(pairs, rare),
        }

    def factorized(self, pairs: Tensor, rank: int) -> Tensor:
        """Return the entries of the best approximation of the graph's matrix of a rank, (P,)."""
        values, vectors = torch.linalg.eigh(self.table)
        largest = values.abs().argsort(descending=True)[:rank]
        left = vectors[:, largest] * values[largest]
        scores: Tensor = (left[pairs[0]] * vectors[:, largest][pairs[1]]).sum(1)
        return scores

    def columns(self, pairs: Tensor, own: Tensor) -> Tensor:
        """Return what logistic regression reads of each pair, (P, 4).

        Args:
            pairs: (2, P) the pairs.
            own: (P,) 1 where the pair's own link is among the training links, so that it does not
                count; 0 elsewhere.
        """
        simple = self.simple(pairs)
        degrees = (self.degrees[pairs] - own).clamp_min(0)
        alike = (self.features[pairs[0]] * self.features[pairs[1]]).sum(1)
        counts = (simple["common neighbours"], simple["Adamic-Adar"])
        return torch.stack([(1 + degrees).log().sum(0), *(c.log1p() for c in counts), alike], 1)


def baselines(data: Dataset, config: Config, pairs: Tensor) -> Iterator[tuple[str, Scores]]:
    """Yield simpler methods: their names, and scores of pairs, (P,).

    All read the links of the training split alone. Logistic regression learns what degrees, common
    neighbours and the likeness of features say together.
    """
    if len(data.network) > config.baseline_nodes:
        degrees = torch.bincount(data.links["train"].flatten(), minlength=len(data.network))
        yield "degrees", np.asarray((degrees[pairs[0]] * degrees[pairs[1]]).double().numpy())
        return
    known = Neighbours(data)
    for name, scores in known.simple(pairs).items():
        yield name, np.asarray(scores.numpy())
    yield f"SVD of rank {config.rank}", np.asarray(known.factorized(pairs, config.rank).numpy())
    *_, chosen, targets = batch_of(data, 2 * data.links["train"].size(1), 0, 1, 0)
    rows = known.columns(chosen, targets.double())
    others = known.columns(pairs, torch.zeros(pairs.size(1), dtype=torch.float64))
    logs = logistic_regression(rows, targets.long(), 2, others)
    yield "logistic regression", np.asarray((logs[:, 1] - logs[:, 0]).numpy())


def metrics(
    truth: NDArray[np.bool_], own: Scores, simple: dict[str, Scores], kind: str
) -> list[dict[str, Any]]:
    """Return ROC AUC and average precision against one kind of pairs, with the baselines'."""
    samples = Samples("pairs", len(truth))
    suffix = "" if kind == "hard" else f"_{kind}"
    return [
        metric(
            name + suffix,
            "share",
            score(own, truth),
            {each: score(values, truth) for each, values in simple.items()},
            samples,
            title=f"{title}, {kind} negatives",
            higher_is_better=True,
        )
        for name, title, score in (
            ("roc_auc", "ROC AUC", roc_auc),
            ("average_precision", "average precision", average_precision),
        )
    ]


def figure(truth: NDArray[np.bool_], values: dict[str, Scores]) -> dict[str, Any]:
    """Return the ROC curve of each method, and that of a random order."""

    def line(name: str, x: Any, y: Any, style: str) -> dict[str, Any]:
        at = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).astype(int))
        return {
            "name": name,
            "x": [round(float(v), 4) for v in np.asarray(x)[at]],
            "y": [round(float(v), 4) for v in np.asarray(y)[at]],
            "style": style,
        }

    curves = [line(name, *roc_curve(each, truth), style="line") for name, each in values.items()]
    return {
        "kind": "lines",
        "x": "false positives (share)",
        "y": "true positives (share)",
        "series": [*curves, line("random", [0, 1], [0, 1], "dashed")],
    }


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the test links, against hard pairs and against any."""
    config, size = trained.config, trained.args.size
    data = load_graph(trained.data, trained.args.data, trained.model, size)
    # Features are positions, so other data would mix them up.
    trained.check_data(read_columns(trained.folder), data.columns, data.name, "features")
    model_config = fitted(trained.model, data.columns, size)
    model = trained.load(lambda: Model(model_config))
    links, rows, picture = data.links["test"], [], None
    for kind in KINDS:
        pairs = torch.cat([links, data.apart["test"][kind]], 1)
        truth = np.arange(pairs.size(1)) < links.size(1)
        own = predict(model, data, pairs, config.batch_size, trained.device)
        simple = dict(baselines(data, config, pairs))
        rows += metrics(truth, own, simple, kind)
        # The figure has the hard pairs, which come first.
        picture = picture or figure(truth, {"proxy" if size == "proxy" else "model": own, **simple})
    return Report(data.name, data.sha256, links.size(1), rows, picture, n_unit="links")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: imports of sympy)",
    settings={"batch_size": Setting("pairs scored at once")},
)

if __name__ == "__main__":
    run(main)
