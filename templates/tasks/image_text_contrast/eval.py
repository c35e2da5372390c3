"""Score a checkpoint on the test split: which text belongs to an image, and which image to a text.

    python eval.py                                 the checkpoint that train.py left in `out`
    python eval.py --size full --data my_photos    the full model, on your images and captions

Prints JSON on stdout. No other script reads the test split. Pairs of one image, or of one text,
are right answers to each other.
"""

import argparse
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
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.settings import load_config

WAYS = ("image_to_text", "text_to_image")
REPORTED = (1, 10)  # of the k of recall@k
DRAWN = (1, 2, 3, 5, 10, 20, 30, 50, 100)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 64
    """Pairs passed through the model at once."""
    pairs: int = 1000
    """Pairs of the test split among which is searched, at most: the first ones."""
    baseline_pairs: int = 20000
    """Training pairs, at most, in which the baseline looks for the nearest one."""


@torch.no_grad()
def scores(
    model: Model, pairs: Pairs, test: Sequence[Pair], config: Config, device: torch.device
) -> Tensor:
    """Return the products of all images (rows) and texts (columns) of some pairs, (N, N)."""
    images, texts = [], []
    for start in range(0, len(test), config.batch_size):
        some = test[start : start + config.batch_size]
        images.append(model.encode_images(pairs.images(some).to(device)))
        texts.append(model.encode_texts(pairs.tokens(some).to(device)))
    return (torch.cat(images).float() @ torch.cat(texts).float().T).cpu()


def right_answers(test: Sequence[Pair]) -> Tensor:
    """Return which text belongs to which image, (N, N): of one pair, one image, or one text."""
    numbers: dict[str, int] = {}

    def equal(values: Sequence[str]) -> Tensor:
        column = torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])
        return column[:, None] == column[None]

    return equal([pair.name for pair in test]) | equal([pair.text for pair in test])


def recalls(scores: Tensor, right: Tensor) -> list[float]:
    """Return recall@k for each k of DRAWN: the share of rows with a right answer in the first k.

    A wrong answer with the score of the best right one stands before it half of the times.
    """
    best = scores.masked_fill(~right, -math.inf).max(1, keepdim=True).values
    wrong = ~right
    before = ((scores > best) & wrong).sum(1) + 0.5 * ((scores == best) & wrong).sum(1)
    return [(before < k).double().mean().item() for k in DRAWN]


def chance(right: Tensor) -> list[float]:
    """Return what a random order is expected to give: 1 - C(n - r, k) / C(n, k) for r of n."""
    n, counts = right.size(1), right.sum(1).tolist()
    found = []
    for k in DRAWN:
        missed = [math.comb(n - r, k) / math.comb(n, k) if k <= n else 0.0 for r in counts]
        found.append(1 - sum(missed) / len(missed))
    return found


class TfIdf:
    """Texts as vectors of their words, the rarer the heavier (Sparck Jones, 1972)."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in set(text.lower().split()))
        self.places = {word: place for place, word in enumerate(counts)}
        weights = [math.log((1 + len(texts)) / (1 + n)) + 1 for n in counts.values()]
        self.weights = torch.tensor(weights)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return vectors (N, W) of length 1; words of no text that it was made of do not count."""
        rows = torch.zeros(len(texts), len(self.places))
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                if word in self.places:
                    row[self.places[word]] += 1
        return F.normalize(rows * self.weights, dim=1)


def nearest_neighbour(pairs: Pairs, test: Sequence[Pair], config: Config) -> tuple[Tensor, Tensor]:
    """Return what the baseline scores, image to text and text to image, (N, N) each.

    An image takes the text of the training image that is nearest in pixels, and ranks texts by
    TF-IDF against it; a text takes the image of the nearest training text, and ranks by pixels.
    """
    train = pairs.splits["train"][: config.baseline_pairs]
    seen, own = pairs.images(train).flatten(1), pairs.images(test).flatten(1)
    vectors = TfIdf([pair.text for pair in train])
    known, texts = vectors([p.text for p in train]), vectors([p.text for p in test])
    by_image = known[torch.cdist(own, seen).argmin(1)] @ texts.T
    by_text = -torch.cdist(seen[(texts @ known.T).argmax(1)], own)
    return by_image, by_text


def metrics(curves: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Return recall@1 and recall@10 each way, beside their baselines."""
    found = []
    for way in WAYS:
        for k in REPORTED:
            values = {name: curve[DRAWN.index(k)] for name, curve in curves[way].items()}
            name, value = f"recall_at_{k}_{way}", values.pop("model")
            found.append(metric(name, "share", value, values, higher_is_better=True))
    return found


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
        for way in WAYS
        if name != "chance" or way == WAYS[0]
    ]
    return {"kind": "lines", "x": "k (answers)", "y": "recall@k (share)", "series": series}


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: bundled glyphs)",
        batch_size=f"pairs passed at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    pairs = load_pairs(load_config(DataConfig, "data", args.size), args.data, model_config, folder)
    model = load_model(lambda: Model(model_config), folder).to(device)
    test = pairs.splits["test"][: config.pairs]
    found, right = scores(model, pairs, test, config, device), right_answers(test)
    by_image, by_text = nearest_neighbour(pairs, test, config)
    curves = {
        way: {"model": recalls(own, answers), "1-NN and TF-IDF": recalls(base, answers)}
        | {"chance": chance(answers)}
        for way, own, base, answers in (
            (WAYS[0], found, by_image, right),
            (WAYS[1], found.T, by_text, right.T),
        )
    }
    print_report(pairs.name, pairs.sha256, len(test), metrics(curves), folder, figure(curves))


if __name__ == "__main__":
    run(main)
