"""Score a checkpoint on the test split, and compare with naive Bayes on the training texts.

    python eval.py                                      the checkpoint that train.py wrote to `out`
    python eval.py --size full --data reviews.csv       the full model, on your texts

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data import Config as DataConfig
from data import Dataset, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.classes import class_metrics, confusion
from runtime.errors import run
from runtime.labels import untested
from runtime.report import Report
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.sequences import outputs
from runtime.text_batches import Sample

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Texts scored at once."""
    baseline_texts: int = 200000
    """Largest training split for naive Bayes, in texts; its counts fill the memory."""


class NaiveBayes:
    """Multinomial naive Bayes over character n-grams, with add-one smoothing.

    log p(y | x) = log p(y) + sum over n-grams g of x of log p(g | y) + constant
    (McCallum & Nigam, 1998), with p(g | y) = (count(g, y) + 1) / (n-grams of texts of y + V) for V
    different n-grams. N-grams that are not in the training texts are ignored.
    """

    def __init__(self, longest: int, samples: Sequence[Sample], classes: int) -> None:
        self.longest = longest
        # Characters, not words: languages and styles show in them, and no tokenizer is needed.
        counts: Counter[tuple[str, int]] = Counter()
        for text, label in samples:
            counts.update((gram, label) for gram in self._grams(text))
        self.index = {gram: i for i, gram in enumerate(dict.fromkeys(g for g, _ in counts))}
        table = np.ones(
            (len(self.index), classes)
        )  # 1, not 0: an n-gram that a class lacks must not rule it out
        for (gram, label), count in counts.items():
            table[self.index[gram], label] += count
        self.weights = np.log(table / table.sum(0))  # (n-grams, classes)
        prior = np.bincount([label for _, label in samples], minlength=classes)
        # A label without a training text gets a tiny prior, so that its logarithm is finite.
        self.prior = np.log(np.maximum(prior, 1e-9) / len(samples))

    def _grams(self, text: str) -> list[str]:
        # Spaces at both ends make n-grams at the edge of a word differ from those inside one.
        line = f" {text.lower()} "
        lengths = range(1, self.longest + 1)
        return [line[i : i + n] for n in lengths for i in range(len(line) - n + 1)]

    def predict(self, texts: Sequence[str]) -> Labels:
        """Return the likeliest label of each text."""
        # A text without any known n-gram gets the most common label.
        known = ([self.index[g] for g in self._grams(t) if g in self.index] for t in texts)
        return np.array([np.argmax(self.prior + self.weights[rows].sum(0)) for rows in known])


def baselines(data: Dataset, config: Config) -> dict[str, Labels]:
    """Return the labels of the test split by simpler methods that are fitted on the train split."""
    train, texts = data.splits["train"], [text for text, _ in data.splits["test"]]
    # The accuracy of the majority label shows how unequal the classes are.
    # Baselines learn from the train split alone, like the model.
    majority = Counter(label for _, label in train).most_common(1)[0][0]
    labels = {"majority": np.full(len(texts), majority)}
    # The table of naive Bayes has a row for each different n-gram, so a large split is skipped.
    if len(train) <= config.baseline_texts:
        # Single characters measure spelling; 3-grams add short words and endings.
        for name, longest in (("naive Bayes, characters", 1), ("naive Bayes, 3-grams", 3)):
            labels[name] = NaiveBayes(longest, train, len(data.labels)).predict(texts)
    return labels


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the texts of the test split."""
    data = load_dataset(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    texts, length = [text for text, _ in data.splits["test"]], trained.data.max_len
    size = trained.config.batch_size
    # The checkpoint's own tokenizer reads the texts, as it did in training.
    logits = outputs(model, texts, data.tokenizer, length, size, trained.device)
    predicted = logits.argmax(1).numpy()
    truth = np.array([label for _, label in data.splits["test"]])
    samples, simpler = Samples("texts", len(truth)), baselines(data, trained.config)
    scores = class_metrics(truth, predicted, simpler, samples)
    figure = confusion(predicted, truth, data.labels)
    return Report(
        data.name,
        data.sha256,
        len(truth),
        scores,
        figure,
        n_unit="texts",
        untested=untested(data.labels, truth.tolist()),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled texts)",
    settings={"batch_size": Setting("texts scored at once")},
)

if __name__ == "__main__":
    run(main)
