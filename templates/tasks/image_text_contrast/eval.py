"""Score a checkpoint on the test split by retrieval: texts for images, and images for texts.

    python eval.py                                 the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_photos    the full model, on your images and captions

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split. Pairs
that share an image or a text are right answers to each other.
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
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring

WAYS = ("image_to_text", "text_to_image")
REPORTED = (1, 10)  # k of the recall@k that are metrics
DRAWN = (1, 2, 3, 5, 10, 20, 30, 50, 100)  # k of the points in the figure
QUERIES = {"image_to_text": "images", "text_to_image": "texts"}
Curve = dict[int, Mean]  # recall@k by k


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 64
    """Pairs encoded at once."""
    pairs: int = 1000
    """Test pairs to search, taken from the start; more of them lower the recall."""
    baseline_pairs: int = 20000
    """Training pairs that the baseline searches, taken from the start."""


@torch.no_grad()
def scores(
    model: Model, pairs: Pairs, test: Sequence[Pair], config: Config, device: torch.device
) -> Tensor:
    """Return the cosine of each image (row) with each text (column), (N, N)."""
    images, texts = [], []
    for start in range(0, len(test), config.batch_size):
        some = test[start : start + config.batch_size]
        # Each image and each text is encoded once; all pairs then cost one product of matrices.
        images.append(model.encode_images(pairs.images(some).to(device)))
        texts.append(model.encode_texts(pairs.tokens(some).to(device)))
    # Vectors have length 1, so their products are cosines. Float32 avoids ties by rounding.
    return (torch.cat(images).float() @ torch.cat(texts).float().T).cpu()


def right_answers(test: Sequence[Pair]) -> Tensor:
    """Return whether each text (column) is a right answer to each image (row), (N, N)."""
    # An image may have several texts, and a text several images; all of them are right.
    numbers: dict[str, int] = {}

    def equal(values: Sequence[str]) -> Tensor:
        column = torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])
        return column[:, None] == column[None]

    return equal([pair.name for pair in test]) | equal([pair.text for pair in test])


def places(scores: Tensor, right: Tensor) -> Tensor:
    """Return how many wrong answers stand before the best right one, for each row: (N,).

    Recall@k is the share of rows with fewer than k.
    """
    # A wrong answer with the score of the best right one counts as half a place before it, the mean
    # of a random order. Otherwise a model that gives all answers one score would look perfect.
    best = scores.masked_fill(~right, -math.inf).max(1, keepdim=True).values
    wrong = ~right
    return ((scores > best) & wrong).sum(1) + 0.5 * ((scores == best) & wrong).sum(1)


def recalls(before: Tensor) -> Curve:
    """Return recall@k over rows with `before` wrong answers, for each k of DRAWN."""
    return {k: Mean(before < k) for k in DRAWN}


def chance(right: Tensor) -> Curve:
    """Return the expected recall@k of a random order, for each k of DRAWN.

    The mean over rows of 1 - C(n - r, k) / C(n, k), with r right answers among n.
    """
    # Images with several texts are easier to match by chance, so the formula counts right answers.
    n, counts = right.size(1), right.sum(1).tolist()
    curve = {}
    for k in DRAWN:
        # No order misses if k exceeds n.
        missed = [math.comb(n - r, k) / math.comb(n, k) if k <= n else 0.0 for r in counts]
        curve[k] = Mean([1 - each for each in missed])
    return curve


class TfIdf:
    """Texts as vectors of word counts with higher weights for rare words (Sparck Jones, 1972).

    The weight of a word is count * (log((1 + N) / (1 + texts with the word)) + 1), for N texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in set(text.lower().split()))
        # Only training texts fix the words and weights, as they do for the model.
        self.places = {word: place for place, word in enumerate(counts)}
        # Adding 1 keeps words that all texts contain from having no weight.
        weights = [math.log((1 + len(texts)) / (1 + n)) + 1 for n in counts.values()]
        self.weights = torch.tensor(weights)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return vectors (N, W) of length 1; words that are not in the known texts do not count."""
        rows = torch.zeros(len(texts), len(self.places))
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                if word in self.places:
                    row[self.places[word]] += 1
        return F.normalize(rows * self.weights, dim=1)


def nearest_neighbour(pairs: Pairs, test: Sequence[Pair], config: Config) -> tuple[Tensor, Tensor]:
    """Return the baseline's scores, image to text and text to image, (N, N) each.

    For an image, the baseline takes the text of the training image with the nearest pixels, and
    ranks texts by their TF-IDF to it. For a text, it takes the image of the nearest training text,
    and ranks images by their pixels.
    """
    # The search compares all pairs of images, so its cost grows with both sets.
    train = pairs.splits["train"][: config.baseline_pairs]
    seen, own = pairs.images(train).flatten(1), pairs.images(test).flatten(1)
    vectors = TfIdf([pair.text for pair in train])
    known, texts = vectors([p.text for p in train]), vectors([p.text for p in test])
    # The text of the nearest training image is the best guess without a model of both sides. A
    # model that only memorized its training pairs does no better.
    by_image = known[torch.cdist(own, seen).argmin(1)] @ texts.T
    by_text = -torch.cdist(seen[(texts @ known.T).argmax(1)], own)
    return by_image, by_text


def metrics(curves: dict[str, dict[str, Curve]]) -> list[dict[str, Any]]:
    """Return recall@1 and recall@10 each way, with their baselines."""
    rows = []
    for way in WAYS:
        for k in REPORTED:
            # Both directions are reported: a model can be good at one and poor at the other.
            scores = {name: curve[k] for name, curve in curves[way].items()}
            name, own = f"recall_at_{k}_{way}", scores.pop("model")
            samples = Samples(QUERIES[way], len(own.values))
            title = f"Recall@{k} ({way.replace('_', ' ')})"
            row = metric(name, "share", own, scores, samples, title=title, higher_is_better=True)
            rows.append(row)
    return rows


def figure(curves: dict[str, dict[str, Curve]]) -> dict[str, Any]:
    """Return recall against k, each way, with the baselines."""
    styles = {"model": "line", "1-NN and TF-IDF": "dashed", "chance": "points"}
    series = [
        {
            "name": f"{'proxy' if name == 'model' else name}, {way.replace('_', ' ')}",
            "x": list(DRAWN),
            "y": [round(float(score.values.mean()), 4) for score in curves[way][name].values()],
            "style": style,
        }
        for name, style in styles.items()
        # Chance is almost the same in both directions, so it is drawn once.
        for way in WAYS
        if name != "chance" or way == WAYS[0]
    ]
    return {"kind": "lines", "x": "k (answers)", "y": "recall@k (share)", "series": series}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by retrieval among pairs of the test split."""
    config = trained.config
    pairs = load_pairs(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    # More pairs make the task harder, so scores compare only for equal numbers of pairs.
    test = pairs.splits["test"][: config.pairs]
    own, right = scores(model, pairs, test, config, trained.device), right_answers(test)
    by_image, by_text = nearest_neighbour(pairs, test, config)
    curves = {
        way: {
            "model": recalls(places(own_scores, answers)),
            "1-NN and TF-IDF": recalls(places(baseline, answers)),
            "chance": chance(answers),
        }
        for way, own_scores, baseline, answers in (
            (WAYS[0], own, by_image, right),
            # Text to image is the same table with rows and columns exchanged.
            (WAYS[1], own.T, by_text, right.T),
        )
    }
    rows, curve = metrics(curves), figure(curves)
    return Report(pairs.name, pairs.sha256, len(test), rows, curve, n_unit="pairs")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled glyphs)",
    settings={"batch_size": Setting("pairs encoded at once")},
)

if __name__ == "__main__":
    run(main)
