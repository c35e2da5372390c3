"""Read channels of measurements over time from a table, and cut them into windows.

    python data.py --data sensors.csv     shows what training will read

A table (.csv, .tsv, .jsonl, .json or .parquet; .gz too) has a row for each step and a column for
each channel; cells may be empty. Dates put the rows into their order. A column `anomaly` (--label
names another) is 1 at anomalous steps and 0 at all others: training skips every window with an
anomalous step, and eval.py needs such windows in the test split. Notes on standard error, here and
in train.py, say what was done. Without --data, the script reads sensors of the space shuttle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import Config as ModelConfig
from runtime.columns import Schema, deviation_of, scale_of
from runtime.digests import digest
from runtime.errors import fail, run
from runtime.notes import note
from runtime.numbers import Column
from runtime.options import data_options
from runtime.order import samples_at
from runtime.series import described_times, read_series
from runtime.settings import load_config
from runtime.splits import SPLITS, in_order, require_samples
from runtime.tables import described

LABEL = "anomaly"  # the column of labels, unless --label names another
# Words in the names of columns that usually hold such labels.
LABELS = frozenset(
    {"abnormal", "anomalies", "anomalous", "anomaly", "answer", "attack", "class", "defect"}
    | {"event", "failure", "fault", "flag", "fraud", "gt", "incident", "intrusion", "label"}
    | {"labels", "novelty", "outlier", "target", "truth", "y"}
)
Starts = NDArray[np.int64]


@dataclass(frozen=True)
class Config:
    """How channels become samples."""

    val_fraction: float = 0.1
    """Share of the steps, just before the test split, that validate during training."""
    test_fraction: float = 0.4
    """Share of the steps, the latest ones, that only eval.py reads."""


@dataclass(frozen=True)
class Dataset:
    """Channels over time, cut into windows.

    Attributes:
        name: Name of the data in reports.
        sha256: Digest of the data.
        schema: Mean and standard deviation of each channel, over the training split's normal steps.
        values: The standardized channels, (steps, n_channels); NaN where a value is missing.
        anomalous: Whether each step is anomalous, (steps,), or None if the data has no labels.
        bounds: The steps of each split, in order of time.
        window: Steps in a window.
    """

    name: str
    sha256: str
    schema: Schema
    values: Tensor
    anomalous: NDArray[np.bool_] | None
    bounds: dict[str, slice]
    window: int

    # A stride of 1 gives overlapping windows, which is the most training data; a stride of `window`
    # gives windows side by side, so that each step is scored once.
    def starts(self, split: str, stride: int) -> Starts:
        """Return the first steps of the windows that lie wholly in a split."""
        steps = self.bounds[split]
        # A window never crosses into the next split: its steps would be trained on and scored.
        return np.arange(steps.start, steps.stop - self.window + 1, stride)

    def labels(self, starts: Starts) -> NDArray[np.bool_]:
        """Return whether any step of each window is anomalous."""
        if self.anomalous is None:
            return np.zeros(len(starts), dtype=bool)
        # Differences of running counts give all windows at once, however long they are.
        before = np.concatenate(([0], np.cumsum(self.anomalous)))  # (steps + 1,)
        return np.asarray(before[starts + self.window] > before[starts])

    def normal(self, split: str) -> Starts:
        """Return the first steps of a split's windows without an anomalous step."""
        # The model learns to reconstruct what is normal. Anomalies in training data would teach it
        # to reconstruct them as well, and their errors would no longer be larger.
        starts = self.starts(split, 1)
        return np.asarray(starts[~self.labels(starts)])

    def counts(self) -> dict[str, int]:
        """Return the number of windows that training, validation and eval.py read."""
        scored = len(self.starts("test", self.window))
        return {split: len(self.normal(split)) for split in ("train", "val")} | {"test": scored}

    def windows(self, starts: Starts) -> Tensor:
        """Return the windows that start at some steps: (windows, steps, channels)."""
        return cut(self.values, starts, self.window)


def cut(values: Tensor, starts: Starts, window: int) -> Tensor:
    """Return windows of values (steps, channels) as (windows, window, channels)."""
    steps = torch.from_numpy(starts).unsqueeze(1) + torch.arange(window)  # (windows, window)
    return values[steps]  # (windows, window, channels)


def load_dataset(config: Config, path: Path | None, label: str, model: ModelConfig) -> Dataset:
    """Return the channels of a table, or the bundled ones, or stop if there are too few."""
    if path is None:
        name, total, columns = bundled()
    else:
        columns = channels_of(path)
        name, total = path.name, digest(path.read_bytes())
    # The label is the answer: it must not be among the channels that the model reads.
    if label != LABEL and label not in columns:
        fail(f"{name} has no column {label!r}: it has {', '.join(columns)}.")
    anomalous = _labels(columns.pop(label, None), label)
    if path is not None:
        note_labels(path, columns, anomalous)
    if not columns:
        fail(f"{name} has no column besides {label!r}: add one for each channel.")
    steps = len(next(iter(columns.values())))
    # Splits are cut by time: neighbouring steps are alike, so a random split would put copies of
    # the training data into the test split.
    bounds = in_order(steps, config.val_fraction, config.test_fraction)
    normal = normal_steps(bounds, anomalous)
    scales = {each: scale_of(column[normal]) for each, column in columns.items()}
    # Val and test use the scale of train: a scale of their own would use steps of the future.
    schema = Schema(scales, {}, {"name": label})
    values = standardized(schema, columns, model)
    dataset = Dataset(name, total, schema, values, anomalous, bounds, model.window)
    # Training stops early by the loss on normal windows alone, so val needs some too.
    sizes = {split: len(dataset.normal(split)) for split in ("train", "val")}
    require_samples(name, f"windows of {model.window} normal steps", sizes)
    scored = dataset.labels(dataset.starts("test", model.window))
    if anomalous is not None and (scored.all() or not scored.any()):
        kind = "normal" if scored.all() else "anomalous"
        note(f"{name}: the test split has no {kind} window, so eval.py has nothing to tell apart.")
    return dataset


def normal_steps(bounds: dict[str, slice], anomalous: NDArray[np.bool_] | None) -> Starts:
    """Return the training steps that are not anomalous, which give the scale of each channel."""
    train = np.arange(bounds["train"].stop)
    # Anomalous steps would widen the scale, so that they stand out less.
    return train if anomalous is None else np.asarray(train[~anomalous[train]])


def channels_of(path: Path) -> dict[str, Column]:
    """Return the channels of a table, and its column of labels if there is one, or stop."""
    # Rows keep their numbers, which infer.py prints, so missing steps are noted and not filled.
    return read_series(path, "channel", fill=False)


def note_labels(
    path: Path, columns: dict[str, Column], anomalous: NDArray[np.bool_] | None
) -> None:
    """Note a channel that may be the answer, and labels that may be the wrong way round."""
    for name, column in columns.items():
        parts = set(name.lower().replace("-", "_").replace(" ", "_").split("_"))
        if parts & LABELS and np.isin(column[~np.isnan(column)], (0.0, 1.0)).all():
            note(
                f"{path}: channel {name!r} is only 0 and 1 and named like a label: if it says "
                f"which steps are anomalous, give --label {name!r}, or the model reads the answer."
            )
    if anomalous is not None and anomalous.mean() > 0.5:
        note(f"{path}: {anomalous.mean():.0%} of the steps are labelled 1, which means anomalous.")


def _labels(column: Column | None, label: str) -> NDArray[np.bool_] | None:
    if column is None:
        return None
    # An empty cell is refused too: an unlabelled step could be an anomaly that trains the model.
    if not np.isin(column, (0.0, 1.0)).all():
        fail(f"column {label!r} must be 1 at steps that are anomalous, and 0 at all others.")
    return np.asarray(column == 1.0)


def bundled() -> tuple[str, str, dict[str, Column]]:
    """Return 49,097 readings of nine sensors of the space shuttle, of which 3,511 are anomalous.

    The data is the Statlog set of UCI, as river ships it. Its steps are not in order of time, so
    a window of the proxy is a single step.
    """
    try:
        import river
    except ImportError:
        fail("the bundled readings come with a library: pip install river; or use --data.")
    path = Path(str(river.__file__)).parent / "datasets" / "shuttle.csv.gz"
    if not path.is_file():
        fail("this version of river has no shuttle.csv.gz: pip install 'river>=0.21,<1'.")
    # The digest covers the packed file, so it changes if a release of river changes the readings.
    table: Any = np.genfromtxt(path, delimiter=",", names=True, dtype=np.float64)
    columns = {name: table[name] for name in table.dtype.names}
    return "shuttle", digest(path.read_bytes()), columns


def standardized(schema: Schema, columns: dict[str, Column], model: ModelConfig) -> Tensor:
    """Return channels (steps, n_channels) as deviations from their means in standard deviations.

    NaN stands for a missing value. If the model has more channels than the data,
    the remaining ones are NaN. Stops if there are too many channels, or one of the schema's is
    missing.
    """
    # A checkpoint has a fixed number of input channels, so a larger table needs a larger model.
    if len(schema.numeric) > model.n_channels:
        fail(
            f"there are {len(schema.numeric)} channels, and the model has room for "
            f"{model.n_channels}: set n_channels in architecture.dims of the spec."
        )
    for name in schema.numeric:
        if name not in columns:
            fail(f"the table has no channel {name!r}, which the model was trained on: add it.")
    # The schema fixes the order of channels, because a new table may list its columns differently.
    steps = len(columns[next(iter(schema.numeric))])
    # The model replaces NaN by the mean and leaves it out of the error, so unused channels and
    # missing values cost nothing.
    values = np.full((steps, model.n_channels), np.nan, np.float32)
    for place, (name, (mean, std)) in enumerate(schema.numeric.items()):
        values[:, place] = (columns[name] - mean) / std
    return torch.from_numpy(values)


def batch_at(dataset: Dataset, starts: Starts, position: int, count: int, seed: int) -> Tensor:
    """Return the windows at some positions of the training order, (B, T, C)."""
    # The position alone decides the windows, so a resumed run continues with the same ones.
    order = [index for _, index in samples_at(position, count, len(starts), seed)]
    return dataset.windows(starts[order])


def batches(dataset: Dataset, starts: Starts, size: int) -> Iterator[Tensor]:
    """Yield windows in batches."""
    # Held-out windows keep their order, so that two runs report the same loss.
    for at in range(0, len(starts), size):
        yield dataset.windows(starts[at : at + size])


def main() -> None:
    """Show the channels."""
    parser = data_options(__doc__, data="a table (default: bundled)")
    parser.add_argument("--label", metavar="COLUMN", default=LABEL, help="(default: %(default)s)")
    args = parser.parse_args()
    model = load_config(ModelConfig, "model", args.size)
    dataset = load_dataset(load_config(Config, "data", args.size), args.data, args.label, model)
    print(f"{dataset.name}, sha256 {dataset.sha256}")
    for split in SPLITS:
        starts = dataset.starts(split, model.window)
        count = int(dataset.labels(starts).sum())
        print(f"{split:>5}: {len(starts):,} windows side by side, {count:,} of them anomalous")
    if args.data:
        print(described_times(args.data))
    if dataset.anomalous is None:
        print(f"no column {args.label!r}, so no step is known to be anomalous")
    columns = channels_of(args.data) if args.data else bundled()[2]
    for name, (mean, _) in dataset.schema.numeric.items():
        column = columns[name]
        # The scale of a constant channel is 1, because nothing can be divided by 0.
        deviation = deviation_of(column[normal_steps(dataset.bounds, dataset.anomalous)])
        print(f"  {described(name, column)}; mean {mean:.4g}, deviation {deviation:.4g}")


if __name__ == "__main__":
    run(main)
