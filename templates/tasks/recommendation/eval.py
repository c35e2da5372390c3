"""Score a checkpoint on the test split: which of all items a user takes next.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data ratings.csv      a checkpoint that was trained on your interactions

Every item of the catalogue competes, except those of the user's history. Prints JSON on stdout, and
keeps it in OUT/scores.json. No other script scores by the test split.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, before, load_interactions
from model import NO_ITEM, Model
from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.notes import note
from runtime.recommenders import (
    Integers,
    Numbers,
    Query,
    Scorer,
    ease,
    first,
    hits,
    ndcg,
    neighbours,
    popularity,
    recall,
    together,
)
from runtime.report import Report, metric
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.shown import QUERIES, answered, spread

K = 10  # recommended items that count
DRAWN = (1, 2, 3, 5, 10, 20, 30, 50)  # k of the points in the figure
LATEST = 4  # items of a history that documents name
WEIGHTS = (10.0, 50.0, 200.0, 1000.0)  # regularizations of EASE, of which val chooses
Found = NDArray[np.bool_]


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Users scored at once."""
    baseline_items: int = 10000
    """Items above which popularity is the only baseline: the others take a square table of them."""


def queries(data: Dataset, split: str) -> list[Query]:
    """Return the users with rows in a split and a history before it."""
    at = ("train", "val", "test").index(split)
    begin, known, end = data.ends[:, 0], data.ends[:, at], data.ends[:, at + 1]
    chosen = np.flatnonzero((known > begin) & (end > known))
    item = data.item - 1  # numbered from 0, as scores are
    return [Query(item[begin[u] : known[u]], item[known[u] : end[u]]) for u in chosen]


@torch.no_grad()
def item_vectors(model: Model, data: Dataset, device: torch.device, size: int) -> Tensor:
    """Return the vectors of all items of the catalogue, (items, D)."""
    like = next(model.parameters())
    numbers = torch.arange(NO_ITEM + 1, len(data.catalogue.items) + 1)
    parts = [
        model.encode_items(some.to(device), data.item_features[some].to(like))
        for some in torch.split(numbers, size)
    ]
    return torch.cat(parts)


@torch.no_grad()
def model_first(
    model: Model, data: Dataset, config: Config, device: torch.device, asked: Sequence[Query]
) -> Integers:
    """Return the numbers of the model's best items for each user, the best first: (users, k)."""
    model_config, vectors = model.config, item_vectors(model, data, device, config.batch_size)
    firsts = iter(_first_rows(data).tolist())

    def scores(histories: Sequence[Any]) -> Numbers:
        rows = np.array([next(firsts) for _ in histories])
        inputs = before(data, rows, "test", model_config.ordered)
        user = model.encode_users(
            *(each.to(device) for each in inputs.tensors(data, model_config.history_length))
        )
        return np.asarray((user.float() @ vectors.float().T).double().cpu().numpy())

    return first(scores, asked, max(DRAWN), config.batch_size)


def _first_rows(data: Dataset) -> NDArray[np.int64]:
    """Return the first test row of each user of `queries`, in their order."""
    begin, known, end = data.ends[:, 0], data.ends[:, 2], data.ends[:, 3]
    return np.asarray(known[(known > begin) & (end > known)])


def baselines(data: Dataset, config: Config, asked: Sequence[Query]) -> dict[str, Found]:
    """Return what simpler recommenders find, by their names.

    All learn from the training rows and see the histories that the model sees.
    """
    made: dict[str, Scorer] = {"popularity": popularity(data.shares[NO_ITEM + 1 :])}
    if len(data.catalogue.items) <= config.baseline_items:
        rows = data.rows("train")
        gram = together(data.owner[rows], data.item[rows] - 1, len(data.catalogue.items))
        made["item neighbours"] = neighbours(gram)
        made["EASE"] = chosen(gram, data, config)
    else:
        note(f"EASE is left out: more than {config.baseline_items:,} items.")
    return {
        name: hits(first(each, asked, max(DRAWN), config.batch_size), asked)
        for name, each in made.items()
    }


def chosen(gram: Numbers, data: Dataset, config: Config) -> Scorer:
    """Return EASE with the regularization that finds most on the val split."""
    val = queries(data, "val")

    def share(weight: float) -> float:
        found = hits(first(ease(gram, weight), val, K, config.batch_size), val)
        return float(recall(found, val, K).mean())

    return ease(gram, max(WEIGHTS, key=share) if val else WEIGHTS[0])


Measure = Callable[[Found, Sequence[Query], int], Numbers]
MEASURES: tuple[tuple[str, str, Measure], ...] = (
    (f"recall_at_{K}", f"recall@{K}", recall),
    (f"ndcg_at_{K}", f"nDCG@{K}", ndcg),
)


def metrics(
    own: Found, others: Mapping[str, Found], asked: Sequence[Query]
) -> list[dict[str, Any]]:
    """Return recall@10 and nDCG@10, with those of the baselines."""
    samples = Samples("users", len(asked))
    return [
        metric(
            name,
            "share",
            Mean(measure(own, asked, K)),
            {other: Mean(measure(found, asked, K)) for other, found in others.items()},
            samples,
            title=title,
            higher_is_better=True,
        )
        for name, title, measure in MEASURES
    ]


def figure(own: Found, others: Mapping[str, Found], asked: Sequence[Query]) -> dict[str, Any]:
    """Return recall against k, with the baselines."""
    styles = {"proxy": "line", "popularity": "points"}
    drawn = [k for k in DRAWN if k <= own.shape[1]]
    series = [
        {
            "name": name,
            "x": drawn,
            "y": [round(float(recall(found, asked, k).mean()), 4) for k in drawn],
            "style": styles.get(name, "dashed"),
        }
        for name, found in {"proxy": own, **others}.items()
    ]
    return {"kind": "lines", "x": "k (items)", "y": "recall@k (share)", "series": series}


def examples(best: Integers, asked: Sequence[Query], items: Sequence[str]) -> dict[str, Any]:
    """Return what some users took last, with the items that the model puts first for them."""
    rows = []
    for place in spread(len(asked), QUERIES):
        query = asked[place]
        # A small catalogue has too few items without those of the history.
        found = [item for item in best[place].tolist() if item not in query.history]
        answers = [(items[item], item in query.relevant) for item in found]
        rows.append(answered(taken(query, items), answers))
    return {"asked": "taken so far", "given": "recommended next, the best first", "rows": rows}


def taken(query: Query, items: Sequence[str]) -> str:
    """Return the latest items of a history, and how many others there are."""
    names = ", ".join(items[item] for item in query.history[-LATEST:])
    others = len(query.history) - LATEST
    return f"{names}, and {others:,} before" if others > 0 else names


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the users of the test split."""
    config = trained.config
    data, model_config = load_interactions(
        trained.data, trained.args.data, trained.model, trained.args.size, trained.folder
    )
    model = trained.load(lambda: Model(model_config))
    asked = queries(data, "test")
    if not asked:
        fail(f"{data.name}: no user of the test split has a history before it.")
    best = model_first(model, data, config, trained.device, asked)
    own = hits(best, asked)
    others = baselines(data, config, asked)
    rows = metrics(own, others, asked)
    curve = figure(own, others, asked) | {"examples": examples(best, asked, data.catalogue.items)}
    return Report(data.name, data.sha256, len(asked), rows, curve, n_unit="users")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled imports)",
    settings={"batch_size": Setting("users scored at once")},
)

if __name__ == "__main__":
    run(main)
