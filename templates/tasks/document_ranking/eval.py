"""Score how a checkpoint orders passages of the test split, and compare with BM25 and chance.

    python eval.py                                    the checkpoint that train.py wrote to `out`
    python eval.py --size full --data judged.csv      the full model, on your queries

A query's candidates are the passages judged for it and others of the split, drawn once for all
methods. Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test
split.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from data import Config as DataConfig
from data import Dataset, Judged, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.sequences import outputs
from runtime.shown import QUERIES, answered, spread

CUTS = (1, 2, 3, 5, 10, 20)  # depths of the list at which the figure has a point
DRAWS = 100  # random orders that estimate chance; more of them change its last digits alone
# k1 limits what a repeated word adds, b how much long passages lose; these are usual values.
BM25_K1, BM25_B = 1.2, 0.75


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Pairs scored at once."""
    candidates: int = 100
    """Passages to order for each query; a query with more judged passages orders all of them."""


Queries = Sequence[tuple[Judged, list[str]]]  # each with its candidates
Ranking = list[float]  # the relevance of a query's candidates, the best-scored first
Scorer = Callable[[str, Sequence[str]], list[float]]


class BM25:
    """BM25 over words (Robertson & Zaragoza, 2009, section 3.4).

    The score of a passage is the sum over words w of the query of idf(w) * f / (f + k1 * (1 - b +
    b * length / mean length)), with f = count(w) and idf(w) = log(1 + (N - n(w) + 0.5) / (n(w) +
    0.5)), where n(w) of the N passages have w.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        bags = [self._words(passage) for passage in passages]
        self.bags = dict(zip(passages, bags, strict=True))
        # The mean length sets which passage is long: longer ones than this are penalized.
        self.mean = sum(bag.total() for bag in bags) / len(bags)
        self.having = Counter(word for bag in bags for word in bag)

    def _words(self, text: str) -> Counter[str]:
        # Whole words in lower case: stemming would help BM25 in English and harm it elsewhere.
        return Counter(re.findall(r"\w+", text.lower()))

    def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """Return the score of each passage."""
        # A word that the query repeats counts once, as in the sum over its words.
        words = self._words(query)
        return [sum(self._weight(word, self.bags[p]) for word in words) for p in passages]

    def _weight(self, word: str, bag: Counter[str]) -> float:
        # A word that all passages share has an idf near 0. Each repetition adds less than the last.
        count, having = bag[word], self.having[word]
        idf = math.log(1 + (len(self.bags) - having + 0.5) / (having + 0.5))
        length = 1 - BM25_B + BM25_B * bag.total() / self.mean
        return idf * count / (count + BM25_K1 * length)


def candidates(data: Dataset, size: int) -> list[tuple[Judged, list[str]]]:
    """Return each query of the test split with its candidates, in random order."""
    # The draw has a fixed seed: every checkpoint and every baseline orders the same passages.
    pool, draw, queries = data.pools["test"], random.Random(0), []
    for judged in data.splits["test"]:
        # More candidates make every score lower, so scores compare only for the same number.
        others = [passage for passage in pool if passage not in judged.passages]
        missing = max(0, size - len(judged.passages))
        chosen = [*judged.passages, *draw.sample(others, min(missing, len(others)))]
        # The network scores pairs one by one, so the order of candidates cannot help it.
        # Sorting is stable: without the shuffle, a scorer that ties everything would look perfect.
        draw.shuffle(chosen)
        queries.append((judged, chosen))
    return queries


def ordered(queries: Queries, scorer: Scorer) -> list[list[str]]:
    """Return each query's candidates in the order of their scores."""
    orders = []
    for judged, passages in queries:
        scores = scorer(judged.query, passages)
        order = sorted(range(len(passages)), key=lambda i: -scores[i])
        orders.append([passages[i] for i in order])
    return orders


def ranked(queries: Queries, orders: Sequence[Sequence[str]]) -> list[Ranking]:
    """Return the relevance of each query's candidates in some order."""
    # A passage that was drawn rather than judged counts as irrelevant to the query.
    return [
        [judged.passages.get(passage, 0.0) for passage in order]
        for (judged, _), order in zip(queries, orders, strict=True)
    ]


def first_rank(ranking: Ranking) -> int:
    """Return the rank of the first relevant passage, from 1."""
    return next(rank for rank, value in enumerate(ranking, start=1) if value > 0)


def reciprocal_rank(ranking: Ranking) -> float:
    """Return 1 / first relevant rank; the mean over queries is MRR."""
    # Most users read the first answer only, so the rank of the first relevant passage is what
    # counts.
    return 1 / first_rank(ranking)


def ndcg_at_10(ranking: Ranking) -> float:
    """Return DCG@10 / DCG@10 of the best order.

    DCG@k = sum over ranks r up to k of (2^relevance - 1) / log2(1 + r) (Burges et al., 2005).
    """

    # nDCG rewards graded relevance, which the reciprocal rank ignores.
    def gained(order: Ranking) -> float:
        return sum((2**v - 1) / math.log2(1 + r) for r, v in enumerate(order[:10], start=1))

    # The best order gains less for a query with few answers, so each query is compared with its
    # own.
    return gained(ranking) / gained(sorted(ranking, reverse=True))


def by_chance(rankings: Sequence[Ranking], score: Callable[[Ranking], float]) -> list[float]:
    """Return the mean score of random orders of each query's candidates."""
    # A fixed seed and sorted relevances give every checkpoint the same score of chance.
    draw, means = random.Random(0), []
    for each in map(sorted, rankings):
        # Random orders of the same relevances have the expected score, whatever the gains are.
        orders = (draw.sample(each, len(each)) for _ in range(DRAWS))
        means.append(sum(map(score, orders)) / DRAWS)
    return means


def metrics(model: Sequence[Ranking], bm25: Sequence[Ranking]) -> list[dict[str, Any]]:
    """Return MRR and nDCG@10, with their baselines."""
    scores = (
        ("mrr", "MRR", "reciprocal rank", reciprocal_rank),
        ("ndcg_at_10", "nDCG@10", "share of the best", ndcg_at_10),
    )
    return [
        metric(
            name,
            unit,
            Mean([score(each) for each in model]),
            {
                "chance": Mean(by_chance(model, score)),
                "BM25": Mean([score(each) for each in bm25]),
            },
            Samples("queries", len(model)),
            title=title,
            higher_is_better=True,
        )
        for name, title, unit, score in scores
    ]


def depths(rankings: dict[str, Sequence[Ranking]]) -> dict[str, Any]:
    """Return the share of queries with a relevant passage in the first k, over k."""
    series = []
    for name, each in rankings.items():
        ranks = [first_rank(ranking) for ranking in each]
        shares = [sum(rank <= cut for rank in ranks) / len(ranks) for cut in CUTS]
        series.append(
            {
                "name": name,
                "x": list(CUTS),
                "y": [round(share, 4) for share in shares],
                # Dashed baselines differ from the proxy even in print without colours.
                # A line is easier to follow than points, even though only the values of CUTS are
                # exact.
                "style": "line" if name == "proxy" else "dashed",
            }
        )
    return {
        "kind": "lines",
        "x": "best passages",
        "y": "queries answered (share)",
        "series": series,
    }


def examples(queries: Queries, orders: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return some queries with the passages that the model puts first."""
    rows = []
    for place in spread(len(queries), QUERIES):
        judged = queries[place][0]
        passages = [(text, judged.passages.get(text, 0.0) > 0) for text in orders[place]]
        rows.append(answered(judged.query, passages))
    return {"asked": "query", "given": "passages, the best first", "rows": rows}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by the order of each query's candidates."""
    size, length = trained.config.batch_size, trained.data.max_len
    data = load_dataset(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    # All methods order the same candidates, so their scores differ by the order alone.
    queries = candidates(data, trained.config.candidates)

    def scorer(query: str, passages: Sequence[str]) -> list[float]:
        pairs = [(query, passage) for passage in passages]
        return outputs(model, pairs, data.tokenizer, length, size, trained.device).tolist()

    # BM25 knows the words of the whole test pool, as a search engine knows its index.
    orders = ordered(queries, scorer)
    own = ranked(queries, orders)
    bm25 = ranked(queries, ordered(queries, BM25(data.pools["test"]).scores))
    figure = depths({"proxy": own, "BM25": bm25}) | {"examples": examples(queries, orders)}
    scores = metrics(own, bm25)
    return Report(data.name, data.sha256, len(own), scores, figure, n_unit="queries")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled sentences)",
    settings={"batch_size": Setting("pairs scored at once")},
)

if __name__ == "__main__":
    run(main)
