"""Score a checkpoint's forecasts on the test split, beside three simple forecasts.

    python eval.py                        the checkpoint that train.py left in `out`
    python eval.py --data series.csv      a checkpoint that was trained on your series

Prints JSON on stdout. No other script reads the test split.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from data import Config as DataConfig
from data import Dataset, Series, Values, load_series, window
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.settings import load_config

Forecast = Callable[[Values], Values]
MODEL = "model"


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Forecasts made at once."""
    penalty: float = 10.0
    """Weight of the squared coefficients of the autoregression that is a baseline."""


def persistence(horizon: int) -> Forecast:
    """Return the forecast that repeats the last value."""
    return lambda past: np.repeat(past[:, -1:], horizon, axis=1)


def seasonal_naive(season: int, horizon: int) -> Forecast:
    """Return the forecast that repeats the last season, or as much of it as is seen."""
    return lambda past: np.resize(past[:, -min(season, past.shape[1]) :].T, (horizon, len(past))).T


def autoregression(series: Series, model: ModelConfig, config: Config) -> Forecast:
    """Return ridge regression of all future steps on all past ones, both less the last value.

    It is fitted on the windows of the training split.
    """
    normal, right = config.penalty * np.eye(model.lookback), np.zeros((1, 1))
    origins = series.origins("train", model.lookback, model.horizon)
    for start in range(0, len(origins), config.batch_size):
        pairs = [window(series, o, model) for o in origins[start : start + config.batch_size]]
        past, future = (np.stack(side) for side in zip(*pairs, strict=True))
        rise, gain = past - past[:, -1:], future - past[:, -1:]
        normal, right = normal + rise.T @ rise, right + rise.T @ gain
    weights = np.linalg.solve(normal, right)  # (lookback, horizon)
    return lambda past: past[:, -1:] + (past - past[:, -1:]) @ weights


def neural(model: Model, device: torch.device) -> Forecast:
    """Return the forecast of the checkpoint."""

    @torch.no_grad()
    def forecast(past: Values) -> Values:
        found = model(torch.from_numpy(past.astype(np.float32)).to(device))
        return found.double().cpu().numpy()  # type: ignore[no-any-return]

    return forecast


def errors(
    series: Series, forecasts: dict[str, Forecast], model: ModelConfig, size: int
) -> dict[str, float]:
    """Return the mean absolute error of forecasts on the test split, in the series' scale."""
    origins = series.origins("test", model.lookback, model.horizon)
    sums = dict.fromkeys(forecasts, 0.0)
    for start in range(0, len(origins), size):
        pairs = [window(series, origin, model) for origin in origins[start : start + size]]
        past, future = (np.stack(side) for side in zip(*pairs, strict=True))
        for name, forecast in forecasts.items():
            sums[name] += float(np.abs(forecast(past) - future).mean(1).sum())
    return {name: value / len(origins) for name, value in sums.items()}


def metrics(
    dataset: Dataset, found: list[dict[str, float]], counts: list[int]
) -> list[dict[str, Any]]:
    """Return MASE over all series, and the mean absolute error of each, beside the baselines."""
    names = [name for name in found[0] if name != MODEL]
    mean = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    rows = [
        metric("mase", "ratio", mean[MODEL], {n: mean[n] for n in names}, higher_is_better=False)
    ]
    for series, each, count in zip(dataset.series, found, counts, strict=True):
        value, rest = each[MODEL] * series.scale, {n: each[n] * series.scale for n in names}
        rows.append(
            metric(f"mae_{series.name}", series.unit, value, rest, higher_is_better=False, n=count)
        )
    return rows


def picture(series: Series, forecasts: dict[str, Forecast], model: ModelConfig) -> dict[str, Any]:
    """Return the last forecast of the test split, with what came before and what came true."""
    origin = series.origins("test", model.lookback, model.horizon)[-1]
    past, future = window(series, origin, model)

    def line(name: str, values: Values, first: int, style: str) -> dict[str, Any]:
        y = [round(float(value), 4) for value in values * series.scale + series.mean]
        return {"name": name, "x": [first + i for i in range(len(y))], "y": y, "style": style}

    guesses = {
        name: np.concatenate([past[-1:], forecasts[name](past[None])[0]])
        for name in (MODEL, "seasonal naive")
    }
    return {
        "kind": "lines",
        "x": "steps from the last one that is seen",
        "y": f"{series.name} ({series.unit})",
        "series": [
            line("truth", np.concatenate([past, future]), 1 - len(past), "line"),
            line(MODEL, guesses[MODEL], 0, "line"),
            line("seasonal naive", guesses["seasonal naive"], 0, "dashed"),
        ],
    }


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: the bundled series)",
        batch_size=f"forecasts made at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    dataset = load_series(load_config(DataConfig, "data", args.size), args.data, model_config)
    model = load_model(lambda: Model(model_config), folder).to(device)
    size, horizon = args.batch_size or config.batch_size, model_config.horizon

    def forecasts(series: Series) -> dict[str, Forecast]:
        return {
            MODEL: neural(model, device),
            "persistence": persistence(horizon),
            "seasonal naive": seasonal_naive(series.season, horizon),
            "linear autoregression": autoregression(series, model_config, config),
        }

    every = [forecasts(series) for series in dataset.series]
    pairs = list(zip(dataset.series, every, strict=True))
    found = [errors(series, each, model_config, size) for series, each in pairs]
    counts = [len(s.origins("test", model_config.lookback, horizon)) for s in dataset.series]
    figure = picture(dataset.series[0], every[0], model_config)
    scores = metrics(dataset, found, counts)
    print_report(dataset.name, dataset.sha256, sum(counts), scores, folder, figure)


if __name__ == "__main__":
    run(main)
