"""Score a checkpoint's predictions on the test split, and compare with two simpler methods.

    python eval.py                        the checkpoint that train.py wrote to `out`
    python eval.py --data table.csv       a checkpoint that was trained on your table

For numbers, the baselines are the mean and ridge regression; for classes, the most common class and
logistic regression. A small test split gives uncertain scores, so a small table is also
cross-validated: for each fold of each repeat, a network is trained on the other rows, with the
checkpoint's settings, and scored on the fold. Prints JSON on stdout, and keeps it in
OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data import Config as DataConfig
from data import Facts, encoded, load_rows, load_table, untested
from model import Config as ModelConfig
from model import Model
from runtime.classes import accuracy, macro_f1
from runtime.columns import Rows, Table, design, folds_of, read_schema
from runtime.crossval import as_trained, trained_network
from runtime.errors import run
from runtime.regression import r2, ridge, rmse, scatter
from runtime.report import Report, metric
from runtime.scores import Samples, Score
from runtime.scripts import Setting, Trained, scoring
from runtime.settings import load_config
from train import Config as TrainConfig
from train import job_on

Values = NDArray[Any]  # (rows,): numbers, or numbers of classes
Predictions = dict[str, Values]
MODEL, TRUTH = "model", "truth"
MOST_LABELS = 20  # rows of the confusion matrix; cells of more would be too small to read


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 1024
    """Rows scored at once."""
    penalty: float = 1.0
    """Weight of the squared coefficients of ridge regression; half of it for logistic."""
    folds: int = 5
    """Folds of a cross-validation; more folds train more networks, each on more rows."""
    repeats: int = 2
    """Cross-validations, each with folds of its own; 0 for none."""
    most_rows: int = 2000
    """Largest number of rows in a table to cross-validate."""
    baseline_rows: int = 100000
    """Largest number of training rows for a baseline."""


def linear(table: Table, model: ModelConfig, config: Config) -> Values:
    """Return predictions for the test rows by ridge regression, fitted on training rows."""
    train = table.rows(table.parts["train"][: config.baseline_rows])
    test = table.rows(table.parts["test"])
    # Categories become columns of 0 and 1, and missing numbers 0, which is the mean.
    y = train[2].double().numpy()
    return ridge(design(train, model), y, design(test, model), config.penalty)


def logistic(table: Table, model: ModelConfig, config: Config) -> Values:
    """Return the class of each test row by logistic regression, fitted on training rows.

    Its loss is the sum of cross-entropies and penalty / 2 times the sum of squared coefficients.
    """
    train = table.rows(table.parts["train"][: config.baseline_rows])
    test = table.rows(table.parts["test"])
    x, y = torch.from_numpy(design(train, model)), train[2]
    # Half of the penalty matches the usual form of ridge and logistic regression in libraries.
    weights = torch.zeros(x.shape[1], len(table.schema.target["classes"]), dtype=torch.float64)
    bias = torch.zeros(weights.shape[1], dtype=torch.float64)
    parameters = [weights.requires_grad_(), bias.requires_grad_()]
    # The loss is convex, so the start does not matter; float64 lets L-BFGS converge fully.
    search = torch.optim.LBFGS(parameters, max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        entropy = F.cross_entropy(x @ weights + bias, y, reduction="sum")
        total = entropy + config.penalty / 2 * (weights**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)  # type: ignore[no-untyped-call]
    scores = torch.from_numpy(design(test, model)) @ weights + bias
    return np.asarray(scores.argmax(1).numpy())


def number_predictions(
    outputs: Tensor, table: Table, rows: Rows, model: ModelConfig, config: Config
) -> Predictions:
    """Return predictions and truth in the unit of the target."""
    mean, std = table.schema.target["mean"], table.schema.target["std"]
    test = table.parts["test"]
    return {
        MODEL: outputs[:, 0].numpy() * std + mean,
        # The mean of the training rows has an R² of about 0: a method below it learned nothing.
        "mean": np.full(len(test), mean),
        "ridge regression": linear(table, model, config) * std + mean,
        TRUTH: rows.values[test],
    }


def class_predictions(
    outputs: Tensor, table: Table, rows: Rows, model: ModelConfig, config: Config
) -> Predictions:
    """Return predictions and truth as numbers of classes."""
    train, test = (table.rows(table.parts[split])[2] for split in ("train", "test"))
    # The model may have more outputs than the table has classes; extra outputs are no classes.
    known = outputs[:, : len(table.schema.target["classes"])]
    return {
        MODEL: known.argmax(1).numpy(),
        # The accuracy of the most common class shows how unequal the classes are.
        "commonest class": np.full(len(test), int(train.mode().values)),
        "logistic regression": logistic(table, model, config),
        TRUTH: test.numpy(),
    }


def picture_of_numbers(values: Predictions, target: Facts) -> dict[str, Any]:
    """Return a figure of predictions against the truth."""
    return scatter(values[TRUTH], values[MODEL], target["name"], "rows")


def confusion(values: Predictions, target: Facts) -> dict[str, Any]:
    """Return a figure of the number of rows by true class and predicted class."""
    labels = target["classes"][:MOST_LABELS]
    # Rows are true classes, columns predicted ones; both in the order of the schema.
    counts = [
        [int(np.sum((values[TRUTH] == y) & (values[MODEL] == x))) for x in range(len(labels))]
        for y in range(len(labels))
    ]
    return {"kind": "matrix", "labels": labels, "values": counts, "x": "predicted", "y": "true"}


@dataclass(frozen=True)
class Measure:
    """A metric: its title, its unit (None for the target's own unit), and its formula."""

    title: str
    unit: str | None
    higher_is_better: bool
    score: Callable[[Values, Values], Score]


@dataclass(frozen=True)
class Kind:
    """Functions that differ by the kind of target when predictions are scored.

    Attributes:
        predictions: Returns the truth and each method's predictions for the test rows, from the
            network's outputs (rows, n_outputs).
        measures: The metrics by their names.
        picture: Returns a figure of the result.
    """

    predictions: Callable[[Tensor, Table, Rows, ModelConfig, Config], Predictions]
    measures: dict[str, Measure]
    picture: Callable[[Predictions, Facts], dict[str, Any]]


KINDS = {
    "number": Kind(
        number_predictions,
        {
            # RMSE has the unit of the target; R² compares across targets.
            "rmse": Measure("RMSE", None, False, rmse),
            "r2": Measure("R²", "share of variance", True, r2),
        },
        picture_of_numbers,
    ),
    "class": Kind(
        class_predictions,
        {
            # Accuracy favours frequent classes; macro F1 weighs all classes alike.
            "accuracy": Measure("accuracy", "share", True, accuracy),
            "macro_f1": Measure("macro F1", "share", True, macro_f1),
        },
        confusion,
    ),
}


@torch.no_grad()
def outputs_of(network: nn.Module, table: Table, size: int) -> Tensor:
    """Return the network's outputs for the test rows, (rows, n_outputs), float64."""
    device = next(network.parameters()).device
    batches = table.batches("test", size)
    # Outputs are float64, so that sums over many rows lose no digits.
    return torch.cat([network(n.to(device), c.to(device)).double().cpu() for n, c, _ in batches])


def metrics(
    kind: Kind, values: Predictions, target: str, suffix: str, samples: Samples, **source: Any
) -> list[dict[str, Any]]:
    """Return each metric of the network with those of the baselines."""
    truth = values[TRUTH]
    rows = []
    for name, measure in kind.measures.items():
        scores = {each: measure.score(truth, v) for each, v in values.items() if each != TRUTH}
        own = scores.pop(MODEL)
        unit, higher = measure.unit or target, measure.higher_is_better
        rows.append(
            metric(
                name + suffix,
                unit,
                own,
                scores,
                samples,
                title=measure.title + suffix.replace("_", " "),
                higher_is_better=higher,
                **source,
            )
        )
    return rows


def predictions(
    network: nn.Module, table: Table, rows: Rows, trained: Trained[Config, DataConfig, ModelConfig]
) -> Predictions:
    """Return the truth, and the predictions of the network and the baselines."""
    outputs = outputs_of(network, table, trained.config.batch_size)
    kind = KINDS[trained.data.target_kind]
    return kind.predictions(outputs, table, rows, trained.model, trained.config)


def cross_validated(
    rows: Rows, trained: Trained[Config, DataConfig, ModelConfig]
) -> tuple[Predictions, Samples]:
    """Return the predictions of all folds, each by a network that trained on the other rows.

    The samples are predictions, one for each row and repeat; a row's predictions are a group.
    """
    config, data = trained.config, trained.data
    # Each fold trains a new network, because the checkpoint has seen most rows of each fold.
    own = load_config(TrainConfig, "train", trained.args.size)
    settings, steps = as_trained(own, trained.folder)
    folds, numbers = [], []
    for parts in folds_of(rows, data.val_fraction, config.folds, config.repeats):
        # Means and categories are computed again, from the training rows of this fold alone.
        fold = encoded(data, rows, parts, trained.model)
        job = job_on(fold, settings, data, trained.model)
        network = trained_network(job, steps, trained.device)
        folds.append(predictions(network, fold, rows, trained))
        numbers.append(np.asarray(fold.parts["test"]))
    # Each row counts once per repeat; more repeats average over more divisions into folds.
    values = {name: np.concatenate([fold[name] for fold in folds]) for name in folds[0]}
    groups = np.concatenate(numbers)
    return values, Samples("predictions", len(groups), groups, "rows")


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the rows of the test split."""
    config, data, path = trained.config, trained.data, trained.args.data
    schema = read_schema(trained.folder)
    rows = load_rows(data, path, schema.target["name"] if path else None)
    # The split is computed again from digests of rows, so it equals that of training.
    table, kind = load_table(data, rows, trained.model), KINDS[data.target_kind]
    # Columns are standardized by the training rows: another table would shift every prediction.
    trained.check_data(schema, table.schema, rows.name, "rows")

    values = predictions(trained.load(lambda: Model(trained.model)), table, rows, trained)
    count = len(table.parts["test"])
    scores = metrics(kind, values, rows.target, "", Samples("rows", count))
    # The figure shows the checkpoint's own predictions; those of the folds are other networks'.
    picture = kind.picture(values, schema.target)
    if config.repeats and len(rows.values) <= config.most_rows:
        values, samples = cross_validated(rows, trained)
        # Each row is scored once per repeat, but it is one row.
        source = {"split": "cross-validation", "n": len(rows.values)}
        scores += metrics(kind, values, rows.target, "_cross_validated", samples, **source)
    absent = untested(rows, table.parts, schema.target)
    return Report(rows.name, rows.sha256, count, scores, picture, n_unit="rows", untested=absent)


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: the bundled table)",
    settings={
        "batch_size": Setting("rows scored at once"),
        "repeats": Setting("cross-validations, 0 for none", int, tuple(range(11))),
    },
)

if __name__ == "__main__":
    run(main)
