"""Forecast series with a trained checkpoint.

    python infer.py                                      the next steps of the bundled series
    python infer.py --input series.csv                   the next steps of yours
    python infer.py --input series.csv --plot next.png   saves the figure to next.png

Prints a table of the next steps, a column for each series, and draws them to OUT/forecast.png.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data import Config as DataConfig
from data import Values, bundled, series_of
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving


@dataclass(frozen=True)
class Config:
    """How forecasts are shown."""

    digits: int = 6
    """Significant digits of a printed value."""
    shown: int = 90
    """Past steps in the figure."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def forecast(model: Model, past: Values, device: torch.device) -> Values:
    """Return the next steps of series (B, lookback), as (B, horizon), in their own units."""
    # Levels are subtracted in float64: bfloat16 has three digits, so it would round away a small
    # change of a large level.
    mean, scale = past.mean(1, keepdims=True), past.std(1, keepdims=True)
    scale[scale == 0] = 1.0  # a constant series becomes 0, not NaN
    scaled = ((past - mean) / scale).astype(np.float32)
    future = model(torch.from_numpy(scaled).to(device)).double().cpu().numpy()
    return np.asarray(future * scale + mean)


def draw(path: Path, series: dict[str, Values], future: Values, shown: int) -> None:
    """Draw the end of each series and its forecast, one below the other."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        fail("drawing needs a library: pip install matplotlib.")
    figure = Figure(figsize=(8, 2.4 * len(series)), layout="constrained")
    # Series have different units, so each one gets axes of its own.
    every = figure.subplots(len(series), 1, squeeze=False)[:, 0]
    for axes, (name, values), steps in zip(every, series.items(), future, strict=True):
        past = values[-shown:]
        axes.plot(range(1 - len(past), 1), past, color="0.3", label="past")
        # The forecast starts at the last known value, so that the two lines join.
        axes.plot(range(len(steps) + 1), [past[-1], *steps], color="C0", label="forecast")
        # matplotlib would typeset text between two dollar signs as mathematics.
        axes.set_title(name.replace("$", r"\$"), loc="left", fontsize=10)
        axes.margins(x=0.01)
    every[0].legend(loc="upper left", fontsize=8)
    every[-1].set_xlabel("steps from the last known one")
    path.parent.mkdir(parents=True, exist_ok=True)
    # The format is explicit: a file name without .png would fail or give another format.
    figure.savefig(path, dpi=150, format="png")


def options(group: Group) -> None:
    group.add_argument(
        "--input",
        type=existing,
        metavar="PATH",
        help="a table with a column for each series (default: the bundled series)",
    )
    group.add_argument("--plot", type=Path, metavar="PNG", help="(default: OUT/forecast.png)")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print and draw forecasts."""
    args, config, need = trained.args, trained.config, trained.model.lookback
    columns = bundled() if args.input is None else series_of(args.input)
    series = {name: values for (name, _), values in columns.items()}
    # A short series is not padded: the forecast would depend on invented steps.
    for name, values in series.items():
        if len(values) < need:
            fail(f"series {name!r} has {len(values)} steps, but a forecast needs {need}: add some.")
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    # The network reads a fixed number of steps, the latest ones.
    past = np.stack([values[-need:] for values in series.values()])  # (series, lookback)
    future = forecast(model, past, trained.device)

    # A row per step and a column per series is the form that --input takes too.
    # A row per step and a column per series is also the form of --input.
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["step", *series])
    for step, row in enumerate(future.T, start=1):
        table.writerow([step, *(f"{value:.{config.digits}g}" for value in row)])
    plot = args.plot or args.out / "forecast.png"
    draw(plot, series, future, config.shown)
    # stdout carries the table alone, so that it can be piped into a file.
    print(f"wrote {plot}", file=sys.stderr)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
