"""Score a checkpoint on the test split, beside naive Bayes on the same training texts.

    python eval.py                                      the checkpoint that train.py left in `out`
    python eval.py --size full --data reviews.csv       the full model, on your texts

Prints JSON on stdout. No other script reads the test split.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import Config as DataConfig
from data import Dataset, Sample, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.sequences import outputs
from runtime.settings import load_config

MOST_LABELS = 20  # that a figure shows
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Texts scored at once."""
    baseline_texts: int = 200000
    """Largest training split, in texts, on which naive Bayes is fitted."""


class NaiveBayes:
    """Multinomial naive Bayes over character n-grams, with add-one smoothing.

    log p(y | x) = log p(y) + sum over n-grams g of x of log p(g | y) + constant
    (McCallum & Nigam, 1998), with p(g | y) = (count(g, y) + 1) / (count(y) + n-grams in all).
    """

    def __init__(self, longest: int, samples: Sequence[Sample], classes: int) -> None:
        self.longest = longest
        counts: Counter[tuple[str, int]] = Counter()
        for text, label in samples:
            counts.update((gram, label) for gram in self._grams(text))
        self.index = {gram: i for i, gram in enumerate(dict.fromkeys(g for g, _ in counts))}
        table = np.ones((len(self.index), classes))
        for (gram, label), count in counts.items():
            table[self.index[gram], label] += count
        self.weights = np.log(table / table.sum(0))  # (n-grams, classes)
        prior = np.bincount([label for _, label in samples], minlength=classes)
        self.prior = np.log(np.maximum(prior, 1e-9) / len(samples))

    def _grams(self, text: str) -> list[str]:
        line = f" {text.lower()} "
        lengths = range(1, self.longest + 1)
        return [line[i : i + n] for n in lengths for i in range(len(line) - n + 1)]

    def predict(self, texts: Sequence[str]) -> Labels:
        """Return the likeliest label of each text."""
        known = ([self.index[g] for g in self._grams(t) if g in self.index] for t in texts)
        return np.array([np.argmax(self.prior + self.weights[rows].sum(0)) for rows in known])


def accuracy(found: Labels, truth: Labels) -> float:
    """Return the share of labels that are right."""
    return float(np.mean(found == truth))


def macro_f1(found: Labels, truth: Labels) -> float:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN), over those that occur."""
    scores = []
    for label in np.union1d(found, truth):
        hits = np.sum((found == label) & (truth == label))
        scores.append(2 * hits / (np.sum(found == label) + np.sum(truth == label)))
    return float(np.mean(scores))


def baselines(data: Dataset, config: Config) -> dict[str, Labels]:
    """Return what simpler methods, fitted on the train split, say of the test split."""
    train, texts = data.splits["train"], [text for text, _ in data.splits["test"]]
    majority = Counter(label for _, label in train).most_common(1)[0][0]
    found = {"majority": np.full(len(texts), majority)}
    if len(train) <= config.baseline_texts:
        for name, longest in (("naive Bayes, characters", 1), ("naive Bayes, 3-grams", 3)):
            found[name] = NaiveBayes(longest, train, len(data.labels)).predict(texts)
    return found


def metrics(found: Labels, truth: Labels, simpler: dict[str, Labels]) -> list[dict[str, Any]]:
    """Return accuracy and macro F1 beside those of the baselines."""
    scores = {"accuracy": accuracy, "macro_f1": macro_f1}
    return [
        metric(
            name,
            "share",
            score(found, truth),
            {each: score(guess, truth) for each, guess in simpler.items()},
            higher_is_better=True,
        )
        for name, score in scores.items()
    ]


def confusion(found: Labels, truth: Labels, labels: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix of the commonest labels: rows are true, columns predicted."""
    shown = sorted(label for label, _ in Counter(truth.tolist()).most_common(MOST_LABELS))
    values = [[int(np.sum((truth == y) & (found == x))) for x in shown] for y in shown]
    names = [labels[label] for label in shown]
    return {"kind": "matrix", "labels": names, "values": values, "x": "predicted", "y": "true"}


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: bundled texts)",
        batch_size=f"texts scored at once {sized(proxy, full, 'batch_size')}",
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
    batch_size = args.batch_size or config.batch_size
    texts = [text for text, _ in data.splits["test"]]
    logits = outputs(model, texts, data.tokenizer, data_config.max_len, batch_size, device)
    found = logits.argmax(1).numpy()
    truth = np.array([label for _, label in data.splits["test"]])
    scores = metrics(found, truth, baselines(data, config))
    figure = confusion(found, truth, data.labels)
    print_report(data.name, data.sha256, len(truth), scores, folder, figure)


if __name__ == "__main__":
    run(main)
