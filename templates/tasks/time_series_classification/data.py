"""Read series with a class each, bundled or your own, and cut them into train, val and test splits.

    python data.py --data series.jsonl    shows what training will read

A row of a .jsonl, .json, .parquet or .arrow file is a series: `series` has its values, or a list of
them for each channel, and `label` its class. A .ts file is written as the archives of UCR and UEA
are; a .csv or .tsv file has a line for each series, the class first; a .npz file holds `X` (series,
channels, steps) and `y`. Or PATH is a folder with such files for each split; a missing split is cut
from train. Series of another length than the model's are stretched to it. Without --data, the
script reads outlines of leaves of six species.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, divided, files_digest
from runtime.errors import fail, run
from runtime.formats import list_rows
from runtime.labels import labels_of
from runtime.listing import printable
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.records import split_files
from runtime.settings import load_config, read_json
from runtime.splits import SPLITS, copies, require_samples, shares_left
from runtime.waves import SUFFIXES, Numbers, Wave, check_channels, read_waves, shipped

BUNDLED = "OSULeaf"
MOST_SHOWN = 20  # classes that data.py counts by name
Parts = dict[str, list[Wave]]


@dataclass(frozen=True)
class Config:
    """How series become samples."""

    val_fraction: float = 0.1
    """Share of the series for validation during training."""
    test_fraction: float = 0.2
    """Share of the series that only eval.py reads."""


@dataclass(frozen=True)
class Split:
    """The series of a split, float32 (N, channels, lookback), and their classes (N,)."""

    series: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Dataset:
    """Series in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all series, their labels and splits.
        labels: The names of the classes; a name's place is its number.
        lengths: The fewest and the most steps of a series before all were stretched alike.
        splits: The samples by split.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    lengths: tuple[int, int]
    splits: dict[str, Split]

    @property
    def channels(self) -> int:
        """The channels of each series."""
        return self.splits["train"].series.size(1)


def load_series(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the series of a path at the model's length, or the bundled ones, or stop."""
    name = path.name if path else BUNDLED
    sha256, parts = _files(config, path) if path else _bundled(config)
    require_samples(name, "series", {split: len(parts[split]) for split in SPLITS})
    every = [wave for part in parts.values() for wave in part]
    check_channels(every)
    lengths = [each.channels.shape[1] for each in every]
    ends = min(lengths), max(lengths)
    if path and ends != (model.lookback, model.lookback):
        note(
            f"{name}: series have {ends[0]:,} to {ends[1]:,} steps, and each is stretched to the "
            f"model's {model.lookback:,}, on straight lines between its steps."
        )
    used = {split: [each.label or "" for each in part] for split, part in parts.items()}
    labels = labels_of(used, name, "series")
    splits = {split: _split(part, labels, model.lookback) for split, part in parts.items()}
    return Dataset(name, sha256, labels, ends, splits)


def fitted(model: ModelConfig, channels: int, labels: Sequence[str], size: str) -> ModelConfig:
    """Return the model for some data, or stop if the full model was made for other data.

    The proxy takes any channels and classes, because its job is to test the code; the full model's
    size was computed for a fixed number.
    """
    if size == "proxy":
        return replace(model, n_channels=channels, num_classes=len(labels))
    for what, count, key in (
        ("n_channels", channels, "num_outputs"),
        ("num_classes", len(labels), "num_classes"),
    ):
        if count != getattr(model, what):
            fail(
                f"the data has {count} for {what}, and the full model has {getattr(model, what)}: "
                f"give other data by --data, or set task.{key} in the spec."
            )
    return model


def read_channels(folder: Path) -> int:
    """Return how many channels the series of a checkpoint have, or stop."""
    count = read_json(folder / "config.json").get("num_input_channels")
    if type(count) is not int or count < 1:
        fail(f"{folder / 'config.json'} states no channels: choose a checkpoint of this task.")
    return count


def stretched(waves: Sequence[Wave], steps: int) -> Tensor:
    """Return series of any length as float32 (N, channels, steps), on straight lines."""
    made = [[_at(channel, steps) for channel in each.channels] for each in waves]
    # Levels are subtracted in float64: float32 would round away a small change of a large level.
    rows = np.array(made)
    return torch.from_numpy((rows - rows.mean(2, keepdims=True)).astype(np.float32))


def _at(values: Numbers, steps: int) -> Numbers:
    if len(values) == steps:
        return values
    return np.interp(np.linspace(0, len(values) - 1, steps), np.arange(len(values)), values)


def _split(waves: Sequence[Wave], labels: Sequence[str], steps: int) -> Split:
    numbers = {label: number for number, label in enumerate(labels)}
    targets = torch.tensor([numbers[each.label or ""] for each in waves])
    return Split(stretched(waves, steps), targets)


def _bundled(config: Config) -> tuple[str, Parts]:
    """Return the outlines that come with aeon; val is cut from the training file."""
    paths = [shipped(split) for split in ("TRAIN", "TEST")]
    train, test = (read_waves(path, labelled=True) for path in paths)
    total = digest(*(path.read_bytes() for path in paths))
    return total, {**divided(train, _key, config.val_fraction, 0.0), "test": test}


def _files(config: Config, path: Path) -> tuple[str, Parts]:
    """Return the series of a file, or of the files of a folder."""
    files = split_files(list_rows(path, SUFFIXES)) if path.is_dir() else {"train": [path]}
    if not files["train"]:
        fail(f"{path} has no file of series ({', '.join(SUFFIXES)}).")
    found = {
        s: [w for p in paths for w in read_waves(p, labelled=True)] for s, paths in files.items()
    }
    every = [(split, each) for split, paths in files.items() for each in paths]
    names = [f"{s} {p.relative_to(path) if path.is_dir() else p.name}" for s, p in every]
    total = files_digest([each for _, each in every], names)
    train = found.pop("train")
    parts = {
        **divided(train, _key, *shares_left(found, config.val_fraction, config.test_fraction)),
        **found,
    }
    _say_copies(path, parts)
    return total, parts


def _key(wave: Wave) -> str:
    return digest(wave.channels.tobytes())


def _say_copies(path: Path, parts: Parts) -> None:
    """Say how many training series val or test hold too, which makes a score too good."""
    twice = copies({split: list(map(_key, part)) for split, part in parts.items()})
    if twice:
        note(f"{path}: {twice:,} series of train are equal to one in val or test.")


def batch_at(split: Split, position: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: (B, C, L) and classes (B,)."""
    # The position alone decides the series, so a resumed run repeats them, and several processes
    # share the work without overlap.
    indices = [index for _, index in samples_at(position, count, len(split.targets), seed)]
    return split.series[indices], split.targets[indices]


def batches(split: Split, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the series of a split in order, in batches."""
    for start in range(0, len(split.targets), size):
        some = slice(start, start + size)
        yield split.series[some], split.targets[some]


def main() -> None:
    """Show the series."""
    args = data_options(__doc__, data="series (default: outlines of leaves)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_series(load_config(Config, "data", args.size), args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(
        f"{data.lengths[0]:,} to {data.lengths[1]:,} steps in {data.channels} channels, "
        f"{len(data.labels)} classes"
    )
    for split, part in data.splits.items():
        counts = Counter(part.targets.tolist()).most_common(MOST_SHOWN)
        shares = ", ".join(f"{printable(data.labels[label])} {count:,}" for label, count in counts)
        print(f"{split:>5}: {len(part.targets):,} series: {shares}")


if __name__ == "__main__":
    run(main)
