"""Score a checkpoint on the test split: which text belongs to an image, and which image to a text.

    python eval.py                                 the checkpoint that train.py left in `out`
    python eval.py --size full --data my_photos    the full model, on your images and captions

Prints JSON on stdout. No other script reads the test split. Pairs of one image, or of one text,
are right answers to each other.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import Pair, Pairs, load_pairs
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scripts import Setting, Trained, scoring

WAYS = ("image_to_text", "text_to_image")
REPORTED = (1, 10)  # k of the recall@k that are metrics
DRAWN = (1, 2, 3, 5, 10, 20, 30, 50, 100)  # k of the points in the figure


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 64
    """Pairs passed through the model at once."""
    pairs: int = 1000
    """Largest number of test pairs to search; the first ones. More make each answer harder."""
    baseline_pairs: int = 20000
    """Largest number of training pairs that the baseline searches."""


@torch.no_grad()
def scores(
    model: Model, pairs: Pairs, test: Sequence[Pair], config: Config, device: torch.device
) -> Tensor:
    """Return the cosine of each image (row) with each text (column), (N, N)."""
    images, texts = [], []
    for start in range(0, len(test), config.batch_size):
        some = test[start : start + config.batch_size]
        images.append(model.encode_images(pairs.images(some).to(device)))
        texts.append(model.encode_texts(pairs.tokens(some).to(device)))
    # Vectors have length 1, so their products are cosines.
    return (torch.cat(images).float() @ torch.cat(texts).float().T).cpu()


def right_answers(test: Sequence[Pair]) -> Tensor:
    """Return whether each text (column) is a right answer to each image (row), (N, N)."""
    # An image may have several texts, and a text several images: all of them are right.
    numbers: dict[str, int] = {}

    def equal(values: Sequence[str]) -> Tensor:
        column = torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])
        return column[:, None] == column[None]

    return equal([pair.name for pair in test]) | equal([pair.text for pair in test])


def recalls(scores: Tensor, right: Tensor) -> list[float]:
    """Return recall@k for each k of DRAWN: the share of rows with a right answer in the first k."""
    # A wrong answer that ties with the best right one counts as half a place before it, which is
    # what a random order of the two gives on average.
    best = scores.masked_fill(~right, -math.inf).max(1, keepdim=True).values
    wrong = ~right
    before = ((scores > best) & wrong).sum(1) + 0.5 * ((scores == best) & wrong).sum(1)
    return [(before < k).double().mean().item() for k in DRAWN]


def chance(right: Tensor) -> list[float]:
    """Return the expected recall@k of a random order.

    The mean over rows of 1 - C(n - r, k) / C(n, k), with r right answers among n.
    """
    n, counts = right.size(1), right.sum(1).tolist()
    curve = []
    for k in DRAWN:
        # With k above n, no order can miss.
        missed = [math.comb(n - r, k) / math.comb(n, k) if k <= n else 0.0 for r in counts]
        curve.append(1 - sum(missed) / len(missed))
    return curve


class TfIdf:
    """Texts as vectors of word counts, where rare words weigh more (Sparck Jones, 1972).

    The weight of a word is count * (log((1 + N) / (1 + texts with the word)) + 1), for N texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in set(text.lower().split()))
        self.places = {word: place for place, word in enumerate(counts)}
        weights = [math.log((1 + len(texts)) / (1 + n)) + 1 for n in counts.values()]
        self.weights = torch.tensor(weights)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return vectors (N, W) of length 1; words outside the known texts do not count."""
        rows = torch.zeros(len(texts), len(self.places))
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                if word in self.places:
                    row[self.places[word]] += 1
        return F.normalize(rows * self.weights, dim=1)


def nearest_neighbour(pairs: Pairs, test: Sequence[Pair], config: Config) -> tuple[Tensor, Tensor]:
    """Return the baseline's scores, image to text and text to image, (N, N) each.

    An image takes the text of the training image that is nearest in pixels, and ranks texts by
    TF-IDF against it; a text takes the image of the nearest training text, and ranks by pixels.
    """
    train = pairs.splits["train"][: config.baseline_pairs]
    seen, own = pairs.images(train).flatten(1), pairs.images(test).flatten(1)
    vectors = TfIdf([pair.text for pair in train])
    known, texts = vectors([p.text for p in train]), vectors([p.text for p in test])
    # The nearest training image stands in for the image: its text is what one would guess.
    by_image = known[torch.cdist(own, seen).argmin(1)] @ texts.T
    by_text = -torch.cdist(seen[(texts @ known.T).argmax(1)], own)
    return by_image, by_text


def metrics(curves: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Return recall@1 and recall@10 each way, beside their baselines."""
    rows = []
    for way in WAYS:
        for k in REPORTED:
            values = {name: curve[DRAWN.index(k)] for name, curve in curves[way].items()}
            name, value = f"recall_at_{k}_{way}", values.pop("model")
            title = f"Recall@{k} ({way.replace('_', ' ')})"
            rows.append(metric(name, "share", value, values, title=title, higher_is_better=True))
    return rows


def figure(curves: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Return recall against k, each way, beside the baselines."""
    styles = {"model": "line", "1-NN and TF-IDF": "dashed", "chance": "points"}
    series = [
        {
            "name": f"{name}, {way.replace('_', ' ')}",
            "x": list(DRAWN),
            "y": [round(value, 4) for value in curves[way][name]],
            "style": style,
        }
        for name, style in styles.items()
        # Chance is nearly the same both ways, and is drawn once.
        for way in WAYS
        if name != "chance" or way == WAYS[0]
    ]
    return {"kind": "lines", "x": "k (answers)", "y": "recall@k (share)", "series": series}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by retrieval among pairs of the test split."""
    config = trained.config
    pairs = load_pairs(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    # The task is harder among more pairs: scores compare at equal numbers only.
    test = pairs.splits["test"][: config.pairs]
    own, right = scores(model, pairs, test, config, trained.device), right_answers(test)
    by_image, by_text = nearest_neighbour(pairs, test, config)
    curves = {
        way: {
            "model": recalls(own_scores, answers),
            "1-NN and TF-IDF": recalls(baseline, answers),
            "chance": chance(answers),
        }
        for way, own_scores, baseline, answers in (
            (WAYS[0], own, by_image, right),
            (WAYS[1], own.T, by_text, right.T),
        )
    }
    return Report(pairs.name, pairs.sha256, len(test), metrics(curves), figure(curves))


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="what train.py was given (default: bundled glyphs)",
    settings={"batch_size": Setting("pairs passed at once")},
)

if __name__ == "__main__":
    run(main)
