"""Score a checkpoint on the test split, and compare with ridge regression on character n-grams.

    python eval.py                                      the checkpoint that train.py wrote to `out`
    python eval.py --size full --data wines.csv         the full model, on your texts

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from dataclasses import dataclass

import numpy as np

from data import Config as DataConfig
from data import Dataset, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.regression import Values, best_penalty, kernel_ridge, number_metrics, scatter
from runtime.report import Report
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.sequences import outputs
from runtime.splits import SPLITS
from runtime.targets import read_target
from runtime.tfidf import TfIdf

LONGEST = 5  # characters of an n-gram: parts of words, and short words


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 32
    """Texts scored at once."""
    baseline_texts: int = 5000
    """Texts of all splits above which ridge regression is left out; it compares all pairs."""


def ridge_regression(data: Dataset) -> Values:
    """Return the numbers of the test split by ridge regression on TF-IDF of character n-grams.

    The penalty is the best one for the validation split.
    """
    texts = [text for split in SPLITS for text, _ in data.splits[split]]
    sizes = [len(data.splits[split]) for split in SPLITS]
    train, val, test = np.split(np.arange(len(texts)), np.cumsum(sizes)[:-1])
    # N-grams and their weights come from training texts, as the model's knowledge does.
    known = TfIdf((text for text, _ in data.splits["train"]), LONGEST)
    cosines = known.similarities(texts).double().numpy()
    kernel, y = cosines[np.ix_(train, train)], targets(data, "train")
    penalty = best_penalty(
        lambda each: kernel_ridge(kernel, y, cosines[np.ix_(val, train)], each),
        targets(data, "val"),
    )
    return kernel_ridge(kernel, y, cosines[np.ix_(test, train)], penalty)


def targets(data: Dataset, split: str) -> Values:
    """Return the standardized numbers of a split."""
    return np.array([number for _, number in data.splits[split]])


def baselines(data: Dataset, config: Config) -> dict[str, Values]:
    """Return the numbers of the test split by simpler methods, fitted on the train split."""
    target = data.target
    # The mean of the train split has an R² of about 0: a method below it learned nothing.
    simpler = {"mean": np.full(len(data.values["test"]), target.mean)}
    if sum(map(len, data.splits.values())) <= config.baseline_texts:
        simpler["ridge regression"] = ridge_regression(data) * target.std + target.mean
    return simpler


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the texts of the test split."""
    folder, path = trained.folder, trained.args.data
    target = read_target(folder)
    data = load_dataset(trained.data, path, target.name, trained.model, folder)
    # Numbers are standardized by the train split: another one would shift every prediction.
    trained.check_data(target, data.target, data.name, "texts")
    model = trained.load(lambda: Model(trained.model))
    texts, truth = [text for text, _ in data.splits["test"]], data.values["test"]
    size, length = trained.config.batch_size, trained.data.max_len
    # The checkpoint's own tokenizer reads the texts, as it did in training.
    made = outputs(model, texts, data.tokenizer, length, size, trained.device)
    predicted, samples = target.restored(made), Samples("texts", len(truth))
    simpler = baselines(data, trained.config)
    return Report(
        data.name,
        data.sha256,
        len(truth),
        number_metrics(truth, predicted, simpler, samples, target.name),
        scatter(truth, predicted, target.name, "texts"),
        n_unit="texts",
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
