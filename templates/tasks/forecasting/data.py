"""Read time series from a table, or two from statsmodels, and cut them into splits by time.

    python data.py --data series.csv      shows what training will read

A table (.csv, .tsv, .jsonl, .json or .parquet; .gz too) has a row for each step and a column for
each series. Dates put the rows into their order, and show which steps have no row. Gaps are filled
by straight lines between the neighbours; a series may begin later or end sooner than the others.
Notes on standard error, here and in train.py, say what was done.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest
from runtime.errors import fail, run
from runtime.notes import note
from runtime.numbers import Column
from runtime.options import data_options
from runtime.order import samples_at
from runtime.series import described_times, read_series
from runtime.settings import load_config
from runtime.splits import SPLITS, in_order

# A lag with a lower autocorrelation is no season. Lower values find seasons in noise.
CLEAR = 0.3
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """How series become samples."""

    val_fraction: float = 0.1
    """Share of a series, before the test split, for validation during training."""
    test_fraction: float = 0.2
    """Share of a series, at its end, that only eval.py reads."""
    season: int = 0
    """Steps of a season; 0 measures it for each series, in its training split."""


@dataclass(frozen=True)
class Series:
    """One series, with a scale and a season that were measured in its training split.

    Attributes:
        name: Name in reports.
        unit: The unit of its values.
        values: Its values, oldest first.
        bounds: The steps of each split.
        season: Steps after which values repeat approximately; 1 if there is no season.
        mean: Mean of the training split.
        scale: Mean absolute difference of training values that are a season apart. MASE divides
            errors by it (Hyndman & Koehler, 2006, section 3).
    """

    name: str
    unit: str
    values: Values
    bounds: dict[str, slice]
    season: int
    mean: float
    scale: float

    def origins(self, split: str, lookback: int, horizon: int) -> range:
        """Return the first steps of the forecasts that lie wholly in a split.

        Its past may lie before the split, because those values are known when the forecast is made.
        """
        # The values of a forecast must lie in the split, or val and test would share some of them.
        steps = self.bounds[split]
        return range(max(steps.start, lookback), steps.stop - horizon + 1)


@dataclass(frozen=True)
class Dataset:
    """Series that one model learns.

    Attributes:
        name: Name in reports.
        sha256: Digest of all values.
        series: Each of them.
    """

    name: str
    sha256: str
    series: tuple[Series, ...]

    def windows(self, model: ModelConfig) -> dict[str, int]:
        """Return the number of windows of each split, over all series."""
        sizes = model.lookback, model.horizon
        return {s: sum(len(each.origins(s, *sizes)) for each in self.series) for s in SPLITS}


def load_series(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the series of a table, or the bundled ones, or stop if one is too short."""
    columns = bundled() if path is None else series_of(path)
    series = [_measured(name, unit, v, config) for (name, unit), v in columns.items()]
    for each, split in itertools.product(series, SPLITS):
        if not each.origins(split, model.lookback, model.horizon):
            steps = each.bounds[split]
            fail(
                f"series {each.name!r} is too short: its {split} split has "
                f"{steps.stop - steps.start} steps, too few to forecast "
                f"{model.horizon} steps from {model.lookback}: give a longer series."
            )
    # The digest covers names too: renaming a series makes another data set in reports.
    total = digest(*(name.encode() + values.tobytes() for (name, _), values in columns.items()))
    label = " and ".join(each.name for each in series) if path is None else path.name
    return Dataset(label, total, tuple(series))


def bundled() -> dict[tuple[str, str], Values]:
    """Return CO2 at Mauna Loa by week and the sea's temperature off Peru by month.

    Both are in the public domain. The library's yearly sunspots are too short: almost all training
    windows of a century would overlap by more than half.
    """
    try:
        from statsmodels.datasets import co2, elnino  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled series come with a library: pip install statsmodels; or use --data.")
    weekly = co2.load_pandas().data["co2"].to_numpy(np.float64)
    years = elnino.load_pandas().data.to_numpy(np.float64)  # a year and its twelve months
    return {("co2_weekly", "ppm"): filled(weekly), ("elnino_monthly", "degC"): years[:, 1:].ravel()}


def series_of(path: Path) -> dict[tuple[str, str], Values]:
    """Return the series of a table by name and unit, or stop."""
    columns = read_series(path, "series", fill=True)
    for name, column in columns.items():
        note_gaps(f"{path}: series {name!r}", column)
    return {(name, "in its own unit"): filled(column) for name, column in columns.items()}


def note_gaps(name: str, column: Column) -> None:
    """Note what `filled` does to a column, and a series that says nothing."""
    known = np.flatnonzero(~np.isnan(column))
    if not len(known):
        fail(f"{name} has no values: remove it.")
    inside = known[-1] - known[0] + 1 - len(known)
    if inside:
        longest = int(np.diff(known).max()) - 1
        note(f"{name}: {inside:,} missing values (at most {longest:,} in a row) become lines.")
    # Forecasts begin after the last known value, which differs from series to series then.
    ends = {"begins after": int(known[0]), "ends before": len(column) - 1 - int(known[-1])}
    for verb, steps in ends.items():
        if steps:
            note(f"{name} {verb} the table, by {steps:,} steps.")
    if np.ptp(column[known]) == 0:
        note(f"{name} has the same value at all steps.")


def filled(column: Column) -> Values:
    """Return a column from its first value to its last, with gaps filled on straight lines."""
    # Steps before the first value and after the last one are cut, because a line needs two ends.
    known = np.flatnonzero(~np.isnan(column))
    if not len(known):
        return np.empty(0)
    # The network has no input for missing values. A straight line adds no pattern of its own.
    steps = np.arange(known[0], known[-1] + 1)
    return np.interp(steps, known, column[known])


def season_of(values: Values) -> int:
    """Return the lag at which a series resembles itself most; 1 if it has no season.

    The season is the highest peak of the autocorrelation after its first negative value. A
    parabola, fitted by least squares, is subtracted first as the trend.
    """
    steps = np.linspace(-1, 1, len(values))
    # A trend correlates with itself at every lag, and would hide the peak of the season.
    rest = values - np.polynomial.Polynomial.fit(steps, values, 2)(steps)
    # The Fourier transform gives all lags at once. Padding keeps the end from wrapping to the
    # start.
    spectrum = np.abs(np.fft.rfft(rest, 2 * len(rest))) ** 2
    lags = np.fft.irfft(spectrum)[: len(rest) // 3]
    # A series that its parabola fits exactly has no rest, and 0 / 0 is no correlation.
    if lags[0] <= 1e-12 * np.sum(values**2) or not (lags < 0).any():
        return 1
    # Neighbouring steps are always alike, so peaks count only after the first negative value.
    after = np.arange(max(2, int(np.argmax(lags < 0))), len(lags) - 1)
    peaks = after[(lags[after] > lags[after - 1]) & (lags[after] >= lags[after + 1])]
    best = max(peaks, key=lambda lag: lags[lag], default=0)
    return int(best) if best and lags[best] / lags[0] > CLEAR else 1


def batch_at(
    dataset: Dataset, position: int, count: int, model: ModelConfig, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: past (B, L), future (B, H).

    A sample is a window of one series, standardized by its mean and scale. An epoch takes equally
    many windows of each series, so that a long series does not drown the others: as many as the
    longest has, and those of shorter ones repeat.
    """
    # Windows start at every step: overlapping windows are the only way to get enough samples from a
    # single series.
    ranges = [each.origins("train", model.lookback, model.horizon) for each in dataset.series]
    # Sample i belongs to series i modulo their number, and wraps around where that one is short.
    samples = len(ranges) * max(map(len, ranges))
    pairs = []
    for _, index in samples_at(position, count, samples, seed):
        turn, which = divmod(index, len(ranges))
        origin = ranges[which][turn % len(ranges[which])]
        pairs.append(window(dataset.series[which], origin, model))
    return _stacked(pairs)


def windows(
    dataset: Dataset, split: str, model: ModelConfig, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of all windows of a split; the series take turns."""
    # Taking turns mixes the series within a batch, so a run that validates on the first batches
    # alone sees all of them.
    by_series = [
        [(each, origin) for origin in each.origins(split, model.lookback, model.horizon)]
        for each in dataset.series
    ]
    turns = itertools.zip_longest(*by_series)
    places = [place for turn in turns for place in turn if place is not None]
    for start in range(0, len(places), size):
        yield _stacked([window(s, origin, model) for s, origin in places[start : start + size]])


def window(series: Series, origin: int, model: ModelConfig) -> tuple[Values, Values]:
    """Return the values before a step and those from it on, standardized."""
    cut = series.values[origin - model.lookback : origin + model.horizon]
    # One scale per series, not per window: a window's own scale would hide how far it moves.
    cut = (cut - series.mean) / series.scale  # (lookback + horizon,)
    return cut[: model.lookback], cut[model.lookback :]


def _stacked(pairs: list[tuple[Values, Values]]) -> tuple[Tensor, Tensor]:
    # The network computes in float32; values stay in float64 until they are standardized, because a
    # small change of a large level would be rounded away.
    past, future = (np.stack(side).astype(np.float32) for side in zip(*pairs, strict=True))
    return torch.from_numpy(past), torch.from_numpy(future)


def _measured(name: str, unit: str, values: Values, config: Config) -> Series:
    bounds = in_order(len(values), config.val_fraction, config.test_fraction)
    train = values[bounds["train"]]
    # Fewer than nine steps show no season, so errors are scaled by the change from step to step.
    season = config.season or (season_of(train) if len(train) > 8 else 1)
    apart = np.abs(train[season:] - train[:-season])
    # A constant series has only differences of 0, and dividing by 0 would give NaN.
    scale = float(apart.mean()) if apart.any() else 1.0
    mean = float(train.mean()) if len(train) else 0.0
    return Series(name, unit, values, bounds, season, mean, scale)


def main() -> None:
    """Show the series."""
    args = data_options(__doc__, data="a table (default: bundled)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    dataset = load_series(load_config(Config, "data", args.size), args.data, model)
    print(f"{dataset.name}, sha256 {dataset.sha256}")
    if args.data:
        print(described_times(args.data))
    for each in dataset.series:
        counts = (len(each.origins(s, model.lookback, model.horizon)) for s in SPLITS)
        shown = ", ".join(f"{s} {count:,}" for s, count in zip(SPLITS, counts, strict=True))
        print(
            f"{each.name}: {len(each.values):,} steps from {each.values.min():.6g} to "
            f"{each.values.max():.6g}, season {each.season}; forecasts of {model.horizon} steps "
            f"after {model.lookback}: {shown}"
        )


if __name__ == "__main__":
    run(main)
