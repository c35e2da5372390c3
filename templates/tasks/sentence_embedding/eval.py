"""Score a checkpoint by retrieval on the test split, and compare with TF-IDF and text length.

    python eval.py                                    the checkpoint that train.py wrote to `out`
    python eval.py --size full --data pairs.csv       the full model, on your pairs

Each text of a pair is a query once; its partner is searched among all partners of its pool. Prints
JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Pair, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.sequences import outputs
from runtime.shown import QUERIES, answered, spread
from runtime.tfidf import TfIdf

CUTS = (1, 2, 3, 5, 10, 20)  # k of the recall@k in the figure
CHUNK = 1024  # queries compared at once; more take more memory and give the same ranks
Similarity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Texts encoded at once."""
    baseline_texts: int = 5000
    """Test texts above which TF-IDF is skipped; its memory grows with their square."""


def first_ranks(similarity: Similarity, pairs: Sequence[Pair], index: dict[str, int]) -> Tensor:
    """Return the rank of the nearest partner of each query, from 1.

    Both texts of a pair are queries. Candidates with equal scores keep the order of `index`.
    """
    pools: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for pair in pairs:
        a, b = (index[text] for text in pair.texts)
        # Candidates come from the other side of the pair, within its pool: a pool of all languages
        # would mix the target language with other ones.
        pools[pair.pool, 0].append((a, b))
        pools[pair.pool, 1].append((b, a))
    ranks = []
    for links in pools.values():
        # Sorted candidates make ties fall in the same order on every machine.
        candidates = torch.tensor(sorted({b for _, b in links}))
        partners: defaultdict[int, list[int]] = defaultdict(list)
        for a, b in links:
            partners[a].append(b)
        for start in range(0, len(partners), CHUNK):
            queries = list(partners)[start : start + CHUNK]
            scores = similarity(torch.tensor(queries), candidates)
            # A stable sort puts ties in the same order for every method.
            order = candidates[scores.argsort(dim=1, descending=True, stable=True)]
            for query, ranked in zip(queries, order, strict=True):
                # A text may have several partners; the rank of the nearest one counts.
                hits = torch.isin(ranked, torch.tensor(partners[query]))
                ranks.append(int(hits.nonzero()[0]) + 1)
    return torch.tensor(ranks)


def similarities(
    vectors: Tensor, texts: Sequence[str], data: Dataset, config: Config
) -> dict[str, Similarity]:
    """Return the similarity of texts by the model and by simpler methods."""
    # Translations and paraphrases have similar lengths, and length alone finds some partners.
    lengths = torch.tensor([float(len(text)) for text in texts])
    methods: dict[str, Similarity] = {
        "model": lambda a, b: vectors[a] @ vectors[b].T,  # (A, B)
        "length match": lambda a, b: -(lengths[a, None] - lengths[b]).abs(),
    }
    # Characters find partners that share names or roots of words, in any language.
    if len(texts) <= config.baseline_texts:
        # Weights of n-grams come from training texts, as the model's knowledge does.
        train = dict.fromkeys(text for pair in data.splits["train"] for text in pair.texts)
        cosines = TfIdf(train).similarities(texts)
        methods["TF-IDF, characters"] = lambda a, b: cosines[a[:, None], b]
    return methods


def recall_at_1(ranks: Tensor) -> Tensor:
    """Return 1 for each query whose nearest candidate is a partner, else 0."""
    # Recall at 1 is what a user sees who takes the first result; MRR also rewards near misses.
    return (ranks == 1).double()


def reciprocal_rank(ranks: Tensor) -> Tensor:
    """Return 1 / rank of the first partner for each query; the mean is MRR."""
    return 1 / ranks.double()


def metrics(ranks: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Return recall at 1 and mean reciprocal rank, with those of the baselines."""
    rows = []
    for name, title, unit, score in (
        ("recall_at_1", "Recall@1", "share", recall_at_1),
        ("mrr", "MRR", "reciprocal rank", reciprocal_rank),
    ):
        scores = {method: Mean(score(each)) for method, each in ranks.items()}
        own, samples = scores.pop("model"), Samples("queries", len(ranks["model"]))
        rows.append(metric(name, unit, own, scores, samples, title=title, higher_is_better=True))
    return rows


def recalls(ranks: dict[str, Tensor]) -> dict[str, Any]:
    """Return recall@k over k, for each method."""
    series = [
        {
            "name": "proxy" if name == "model" else name,
            "x": list(CUTS),
            "y": [round((each <= cut).double().mean().item(), 4) for cut in CUTS],
            "style": "line" if name == "model" else "dashed",
        }
        for name, each in ranks.items()
    ]
    return {"kind": "lines", "x": "nearest texts", "y": "recall (share)", "series": series}


def examples(
    vectors: Tensor, texts: Sequence[str], pairs: Sequence[Pair], index: dict[str, int]
) -> dict[str, Any]:
    """Return some texts of the test split with those nearest to them among their candidates."""
    rows = []
    for place in spread(len(pairs), QUERIES):
        text, pool = pairs[place].texts[0], pairs[place].pool
        links = [each.texts for each in pairs if each.pool == pool]
        candidates = sorted({index[b] for _, b in links})
        partners = {b for a, b in links if a == text}
        scores = vectors[candidates] @ vectors[index[text]]
        order = scores.argsort(descending=True, stable=True).tolist()
        found = [texts[candidates[each]] for each in order]
        rows.append(answered(text, [(each, each in partners) for each in found]))
    return {"asked": "text", "given": "texts, the nearest first", "rows": rows}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by how it ranks the partners of each text."""
    data = load_dataset(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    pairs = data.splits["test"]
    # Each text is encoded once, in alphabetical order, even if several pairs contain it.
    texts = sorted({text for pair in pairs for text in pair.texts})
    index = {text: number for number, text in enumerate(texts)}
    size, length = trained.config.batch_size, trained.data.max_len
    # The checkpoint's own tokenizer reads the texts, as it did in training.
    made = outputs(model, texts, data.tokenizer, length, size, trained.device)
    # Products of vectors of length 1 are cosines.
    vectors = F.normalize(made, dim=-1)
    ranks = {
        name: first_ranks(similarity, pairs, index)
        for name, similarity in similarities(vectors, texts, data, trained.config).items()
    }
    count, scores = len(ranks["model"]), metrics(ranks)
    figure = recalls(ranks) | {"examples": examples(vectors, texts, pairs, index)}
    return Report(data.name, data.sha256, count, scores, figure, n_unit="queries")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled pairs)",
    settings={"batch_size": Setting("texts encoded at once")},
)

if __name__ == "__main__":
    run(main)
