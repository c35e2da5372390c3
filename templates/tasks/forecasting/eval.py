"""Score a checkpoint's forecasts on the test split, and compare with three simple forecasts.

    python eval.py                        the checkpoint that train.py wrote to `out`
    python eval.py --data series.csv      a checkpoint that was trained on your series

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from data import Config as DataConfig
from data import Dataset, Series, Values, load_series, window
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Mean, Samples, Score, Weights
from runtime.scripts import Setting, Trained, scoring

Forecast = Callable[[Values], Values]
MODEL = "model"
# Titles for documents; a series without an entry keeps the name of its column.
TITLES = {"co2_weekly": "CO2, weekly", "elnino_monthly": "El Niño, monthly"}


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Forecasts computed at once."""
    penalty: float = 10.0
    """Weight of the squared coefficients in the baseline autoregression."""


def persistence(horizon: int) -> Forecast:
    """Return the forecast that repeats the last value."""
    # On a random walk, no forecast beats this one.
    return lambda past: np.repeat(past[:, -1:], horizon, axis=1)


def seasonal_naive(season: int, horizon: int) -> Forecast:
    """Return the forecast that repeats the last season, or the whole past if that is shorter."""
    # np.resize repeats rows, so steps must be rows while it works.
    return lambda past: np.resize(past[:, -min(season, past.shape[1]) :].T, (horizon, len(past))).T


def autoregression(series: Series, model: ModelConfig, config: Config) -> Forecast:
    """Return ridge regression of all future steps on all past ones, fitted on the training split.

    (X^T X + penalty I)^-1 X^T Y, with a row for each window: X holds its past minus the last
    value, Y its future minus the same value.
    """
    # The fit needs only the sums X^T X and X^T Y, so memory does not grow with the series.
    normal, right = config.penalty * np.eye(model.lookback), np.zeros((1, 1))
    # Linear models of this kind beat many transformers on long horizons (Zeng et al., 2023), so a
    # network that loses to this one is not worth its cost.
    origins = series.origins("train", model.lookback, model.horizon)
    for start in range(0, len(origins), config.batch_size):
        pairs = [window(series, o, model) for o in origins[start : start + config.batch_size]]
        past, future = (np.stack(side) for side in zip(*pairs, strict=True))
        # Subtracting the last value removes a level that drifts over the years, and the intercept.
        rise, gain = past - past[:, -1:], future - past[:, -1:]
        normal, right = normal + rise.T @ rise, right + rise.T @ gain
    weights = np.linalg.solve(normal, right)  # (lookback, horizon)
    return lambda past: past[:, -1:] + (past - past[:, -1:]) @ weights


def neural(model: Model, device: torch.device) -> Forecast:
    """Return the forecast of the checkpoint."""

    @torch.no_grad()
    def forecast(past: Values) -> Values:
        future = model(torch.from_numpy(past.astype(np.float32)).to(device))  # (B, horizon)
        return future.double().cpu().numpy()  # type: ignore[no-any-return]

    return forecast


def errors(
    series: Series, forecasts: dict[str, Forecast], model: ModelConfig, size: int
) -> dict[str, Values]:
    """Return the mean absolute error of each forecast of the test split, by method: (forecasts,).

    The errors are in units of series.scale.
    """
    origins = series.origins("test", model.lookback, model.horizon)
    # Errors are computed batch by batch, because all windows of a long series do not fit in memory.
    parts: dict[str, list[Values]] = {name: [] for name in forecasts}
    for start in range(0, len(origins), size):
        pairs = [window(series, origin, model) for origin in origins[start : start + size]]
        past, future = (np.stack(side) for side in zip(*pairs, strict=True))
        # All methods forecast the same windows, so their errors are comparable.
        for name, forecast in forecasts.items():
            parts[name].append(np.abs(forecast(past) - future).mean(1))
    return {name: np.concatenate(each) for name, each in parts.items()}


def mean_over_series(parts: list[Values], scales: list[float]) -> Score:
    """Return the mean over series of scale * (mean error of its forecasts), as a score.

    The weights are those of all forecasts, series after series.
    """
    cuts = np.cumsum([len(part) for part in parts])[:-1]

    def score(weights: Weights) -> float:
        pairs = zip(parts, np.split(weights, cuts), strict=True)
        means = [Mean(part)(each) if each.any() else np.nan for part, each in pairs]
        return float(np.mean([scale * mean for scale, mean in zip(scales, means, strict=True)]))

    return score


def samples(counts: list[int], horizon: int) -> Samples:
    """Return the forecasts of some series, in groups that do not share a step of their future."""
    # Neighbouring forecasts overlap in all steps but one, so one error is worth little more than
    # the next: only forecasts a whole horizon apart are counted as independent.
    groups, first = [], 0
    for count in counts:
        groups.append(first + np.arange(count) // horizon)
        first = int(groups[-1][-1]) + 1
    return Samples("forecasts", sum(counts), np.concatenate(groups), "stretches of the horizon")


def metrics(
    dataset: Dataset, scaled: list[dict[str, Values]], horizon: int
) -> list[dict[str, Any]]:
    """Return MASE over all series, and the mean absolute error of each, with the baselines.

    MASE is the mean absolute error divided by that of the seasonal naive forecast in the training
    split (Hyndman & Koehler, 2006); lower is better. Each series has the same weight.
    """
    counts = [len(each[MODEL]) for each in scaled]

    def row(
        name: str,
        unit: str,
        some: list[dict[str, Values]],
        scales: list[float],
        title: str,
        **source: Any,
    ) -> dict[str, Any]:
        scores = {
            method: mean_over_series([each[method] for each in some], scales) for method in some[0]
        }
        own, windows = scores.pop(MODEL), samples([len(each[MODEL]) for each in some], horizon)
        return metric(
            name, unit, own, scores, windows, title=title, higher_is_better=False, **source
        )

    # Scaled errors have no unit, so the mean over series in ppm and degrees makes sense.
    rows = [row("mase", "ratio", scaled, [1.0] * len(scaled), "MASE")]
    # Errors in a series' own unit are what its user can judge.
    for series, each, count in zip(dataset.series, scaled, counts, strict=True):
        title = f"MAE ({TITLES.get(series.name, series.name)})"
        rows.append(row(f"mae_{series.name}", series.unit, [each], [series.scale], title, n=count))
    return rows


def picture(series: Series, forecasts: dict[str, Forecast], model: ModelConfig) -> dict[str, Any]:
    """Return the last forecast of the test split, with its past and the true values."""
    # The last forecast is the furthest from the training data, so it is not the most flattering
    # one.
    origin = series.origins("test", model.lookback, model.horizon)[-1]
    past, future = window(series, origin, model)

    def line(name: str, values: Values, first: int, style: str) -> dict[str, Any]:
        y = [round(float(value), 4) for value in values * series.scale + series.mean]
        return {"name": name, "x": [first + i for i in range(len(y))], "y": y, "style": style}

    # A forecast's line starts at the last known value, so that it joins the line of the past.
    guesses = {
        name: np.concatenate([past[-1:], forecasts[name](past[None])[0]])
        for name in (MODEL, "seasonal naive")
    }
    return {
        "kind": "lines",
        "x": "steps from the last known one",
        "y": f"{series.name} ({series.unit})",
        "series": [
            line("truth", np.concatenate([past, future]), 1 - len(past), "line"),
            line("proxy", guesses[MODEL], 0, "line"),
            line("seasonal naive", guesses["seasonal naive"], 0, "dashed"),
        ],
    }


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every forecast that lies in the test split."""
    config, model_config = trained.config, trained.model
    lookback, horizon = model_config.lookback, model_config.horizon
    dataset = load_series(trained.data, trained.args.data, model_config)
    model = trained.load(lambda: Model(model_config))

    def forecasts(series: Series) -> dict[str, Forecast]:
        return {
            MODEL: neural(model, trained.device),
            "persistence": persistence(horizon),
            "seasonal naive": seasonal_naive(series.season, horizon),
            "linear autoregression": autoregression(series, model_config, config),
        }

    # Baselines are fitted to each series separately; the checkpoint is one model for all series.
    every = [forecasts(series) for series in dataset.series]
    pairs = list(zip(dataset.series, every, strict=True))
    scaled = [errors(series, each, model_config, config.batch_size) for series, each in pairs]
    counts = [len(series.origins("test", lookback, horizon)) for series in dataset.series]
    # The figure shows the first series; more would not fit a column of the paper.
    figure = picture(dataset.series[0], every[0], model_config)
    scores = metrics(dataset, scaled, horizon)
    return Report(dataset.name, dataset.sha256, sum(counts), scores, figure, n_unit="forecasts")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: the bundled series)",
    settings={"batch_size": Setting("forecasts computed at once")},
)

if __name__ == "__main__":
    run(main)
