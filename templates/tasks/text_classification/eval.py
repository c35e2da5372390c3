"""Score a checkpoint on the test split, beside naive Bayes on the same training texts.

    python eval.py                                      the checkpoint that train.py left in `out`
    python eval.py --size full --data reviews.csv       the full model, on your texts

Prints JSON on stdout. No other script reads the test split.
"""

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
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scripts import Setting, Trained, scoring
from runtime.sequences import outputs

MOST_LABELS = 20  # in the confusion matrix; more would not be legible
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
    (McCallum & Nigam, 1998), with p(g | y) = (count(g, y) + 1) / (n-grams of texts of y + V) for V
    different n-grams. N-grams that training did not see are left out.
    """

    def __init__(self, longest: int, samples: Sequence[Sample], classes: int) -> None:
        self.longest = longest
        counts: Counter[tuple[str, int]] = Counter()
        for text, label in samples:
            counts.update((gram, label) for gram in self._grams(text))
        self.index = {gram: i for i, gram in enumerate(dict.fromkeys(g for g, _ in counts))}
        table = np.ones((len(self.index), classes))  # add-one smoothing
        for (gram, label), count in counts.items():
            table[self.index[gram], label] += count
        self.weights = np.log(table / table.sum(0))  # (n-grams, classes)
        prior = np.bincount([label for _, label in samples], minlength=classes)
        # A label that no training text has keeps a tiny prior, whose logarithm is finite.
        self.prior = np.log(np.maximum(prior, 1e-9) / len(samples))

    def _grams(self, text: str) -> list[str]:
        # Spaces at both ends let n-grams tell how a word begins and ends.
        line = f" {text.lower()} "
        lengths = range(1, self.longest + 1)
        return [line[i : i + n] for n in lengths for i in range(len(line) - n + 1)]

    def predict(self, texts: Sequence[str]) -> Labels:
        """Return the likeliest label of each text."""
        # A text whose n-grams are all new gets the commonest label.
        known = ([self.index[g] for g in self._grams(t) if g in self.index] for t in texts)
        return np.array([np.argmax(self.prior + self.weights[rows].sum(0)) for rows in known])


def accuracy(predicted: Labels, truth: Labels) -> float:
    """Return the share of labels that are right."""
    return float(np.mean(predicted == truth))


def macro_f1(predicted: Labels, truth: Labels) -> float:
    """Return the mean of F1 = 2 TP / (2 TP + FP + FN) over labels that are true or predicted."""
    scores = []
    for label in np.union1d(predicted, truth):
        hits = np.sum((predicted == label) & (truth == label))
        scores.append(2 * hits / (np.sum(predicted == label) + np.sum(truth == label)))
    return float(np.mean(scores))


def baselines(data: Dataset, config: Config) -> dict[str, Labels]:
    """Return the labels that simpler methods, fitted on the train split, give the test split."""
    train, texts = data.splits["train"], [text for text, _ in data.splits["test"]]
    # The majority's accuracy shows how unequal the classes are.
    majority = Counter(label for _, label in train).most_common(1)[0][0]
    labels = {"majority": np.full(len(texts), majority)}
    # Its table has a row for each different n-gram of training.
    if len(train) <= config.baseline_texts:
        for name, longest in (("naive Bayes, characters", 1), ("naive Bayes, 3-grams", 3)):
            labels[name] = NaiveBayes(longest, train, len(data.labels)).predict(texts)
    return labels


def metrics(predicted: Labels, truth: Labels, simpler: dict[str, Labels]) -> list[dict[str, Any]]:
    """Return accuracy and macro F1, beside those of the baselines."""
    return [
        metric(
            name,
            "share",
            score(predicted, truth),
            {each: score(guess, truth) for each, guess in simpler.items()},
            title=title,
            higher_is_better=True,
        )
        for name, title, score in (
            ("accuracy", "accuracy", accuracy),
            ("macro_f1", "macro F1", macro_f1),
        )
    ]


def confusion(predicted: Labels, truth: Labels, labels: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix of the commonest labels: rows are true, columns predicted."""
    # Common labels have the numbers to tell a pattern from chance.
    shown = sorted(label for label, _ in Counter(truth.tolist()).most_common(MOST_LABELS))
    values = [[int(np.sum((truth == y) & (predicted == x))) for x in shown] for y in shown]
    names = [labels[label] for label in shown]
    return {"kind": "matrix", "labels": names, "values": values, "x": "predicted", "y": "true"}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the texts of the test split."""
    data = load_dataset(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    texts, length = [text for text, _ in data.splits["test"]], trained.data.max_len
    size = trained.config.batch_size
    logits = outputs(model, texts, data.tokenizer, length, size, trained.device)
    predicted = logits.argmax(1).numpy()
    truth = np.array([label for _, label in data.splits["test"]])
    scores = metrics(predicted, truth, baselines(data, trained.config))
    figure = confusion(predicted, truth, data.labels)
    return Report(data.name, data.sha256, len(truth), scores, figure)


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="what train.py was given (default: bundled texts)",
    settings={"batch_size": Setting("texts scored at once")},
)

if __name__ == "__main__":
    run(main)
