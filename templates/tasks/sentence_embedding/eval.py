"""Score a checkpoint by retrieval on the test split, beside TF-IDF of characters and length.

    python eval.py                                    the checkpoint that train.py left in `out`
    python eval.py --size full --data pairs.csv       the full model, on your pairs

Each text of a pair is a query once; the partner is sought among all partners of its pool. Prints
JSON on stdout. No other script reads the test split.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Pair, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.sequences import outputs
from runtime.settings import load_config

CUTS = (1, 2, 3, 5, 10, 20)  # numbers of nearest texts that the figure shows
CHUNK = 1024  # queries that are compared at once
Similarity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Texts read at once."""
    baseline_texts: int = 5000
    """Most texts of the test split for which TF-IDF is computed; it takes their square."""


class TfIdf:
    """TF-IDF over character n-grams of one to three: cosines of count times inverse frequency.

    The weight of an n-gram g in a text is count(g) * (1 + log((1 + N) / (1 + texts with g))), N and
    the texts being those of training.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        known = list(texts)
        self.found = Counter(gram for text in known for gram in self._grams(text))
        self.total = len(known)

    def _grams(self, text: str) -> Counter[str]:
        line = f" {text.lower()} "
        return Counter(line[i : i + n] for n in (1, 2, 3) for i in range(len(line) - n + 1))

    def similarities(self, texts: Sequence[str]) -> Tensor:
        """Return the cosines of all pairs of texts, (N, N)."""
        postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, text in enumerate(texts):
            weights = {
                gram: count * (1 + math.log((1 + self.total) / (1 + self.found[gram])))
                for gram, count in self._grams(text).items()
            }
            norm = math.sqrt(sum(weight**2 for weight in weights.values()))
            for gram, weight in weights.items():
                postings[gram].append((row, weight / norm))
        cosines = torch.zeros(len(texts), len(texts))
        for entries in postings.values():
            rows = torch.tensor([row for row, _ in entries])
            weights_of = torch.tensor([weight for _, weight in entries])
            cosines[rows[:, None], rows] += weights_of[:, None] * weights_of
        return cosines


def first_ranks(similarity: Similarity, pairs: Sequence[Pair], index: dict[str, int]) -> Tensor:
    """Return the rank of the nearest partner of each query, from 1; both sides ask.

    Candidates that are equally near stand in the order of the alphabet.
    """
    pools: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for pair in pairs:
        a, b = (index[text] for text in pair.texts)
        pools[pair.pool, 0].append((a, b))
        pools[pair.pool, 1].append((b, a))
    found = []
    for links in pools.values():
        candidates = torch.tensor(sorted({b for _, b in links}))
        partners: defaultdict[int, list[int]] = defaultdict(list)
        for a, b in links:
            partners[a].append(b)
        for start in range(0, len(partners), CHUNK):
            queries = list(partners)[start : start + CHUNK]
            scores = similarity(torch.tensor(queries), candidates)
            order = candidates[scores.argsort(dim=1, descending=True, stable=True)]
            for query, ranked in zip(queries, order, strict=True):
                hits = torch.isin(ranked, torch.tensor(partners[query]))
                found.append(int(hits.nonzero()[0]) + 1)
    return torch.tensor(found)


def similarities(
    vectors: Tensor, texts: Sequence[str], data: Dataset, config: Config
) -> dict[str, Similarity]:
    """Return how near texts are, by the model and by simpler methods."""
    lengths = torch.tensor([float(len(text)) for text in texts])
    found: dict[str, Similarity] = {
        "model": lambda a, b: vectors[a] @ vectors[b].T,
        "length match": lambda a, b: -(lengths[a, None] - lengths[b]).abs(),
    }
    if len(texts) <= config.baseline_texts:
        train = dict.fromkeys(text for pair in data.splits["train"] for text in pair.texts)
        cosines = TfIdf(train).similarities(texts)
        found["TF-IDF, characters"] = lambda a, b: cosines[a[:, None], b]
    return found


def metrics(ranks: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Return recall at 1 and mean reciprocal rank, beside those of the baselines."""
    scores: dict[str, Callable[[Tensor], float]] = {
        "recall_at_1": lambda found: (found == 1).double().mean().item(),
        "mrr": lambda found: (1 / found.double()).mean().item(),
    }
    simpler = {name: found for name, found in ranks.items() if name != "model"}
    return [
        metric(
            name,
            "share" if name == "recall_at_1" else "reciprocal rank",
            score(ranks["model"]),
            {each: score(found) for each, found in simpler.items()},
            higher_is_better=True,
        )
        for name, score in scores.items()
    ]


def recalls(ranks: dict[str, Tensor]) -> dict[str, Any]:
    """Return the curve of recall over how many of the nearest texts are looked at."""
    series = [
        {
            "name": "proxy" if name == "model" else name,
            "x": list(CUTS),
            "y": [round((found <= cut).double().mean().item(), 4) for cut in CUTS],
            "style": "line" if name == "model" else "dashed",
        }
        for name, found in ranks.items()
    ]
    return {"kind": "lines", "x": "nearest texts", "y": "recall (share)", "series": series}


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: bundled pairs)",
        batch_size=f"texts read at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    data = load_dataset(data_config, args.data, model_config, folder)
    model = load_model(lambda: Model(model_config), folder).to(device)
    pairs = data.splits["test"]
    texts = sorted({text for pair in pairs for text in pair.texts})
    index = {text: number for number, text in enumerate(texts)}
    size = args.batch_size or config.batch_size
    found = outputs(model, texts, data.tokenizer, data_config.max_len, size, device)
    vectors = F.normalize(found, dim=-1)
    ranks = {
        name: first_ranks(similarity, pairs, index)
        for name, similarity in similarities(vectors, texts, data, config).items()
    }
    figure = recalls(ranks)
    print_report(data.name, data.sha256, len(ranks["model"]), metrics(ranks), folder, figure)


if __name__ == "__main__":
    run(main)
