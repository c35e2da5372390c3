"""Forecast series with a trained checkpoint.

    python infer.py                                      what follows the bundled series
    python infer.py --input series.csv                   what follows yours
    python infer.py --input series.csv --plot next.png   with the picture where you want it

Prints a table of the next steps, a column for each series, and draws it to OUT/forecast.png.
"""

import argparse
import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from data import Values, bundled, series_of
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import existing, shared_options, sized
from runtime.settings import load_config


@dataclass(frozen=True)
class Config:
    """How forecasts are shown."""

    digits: int = 6
    """Significant digits of a printed value."""
    shown: int = 90
    """Steps of the past that the picture shows."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def forecast(model: Model, past: Values, device: torch.device) -> Values:
    """Return what follows some series (B, lookback), as (B, horizon), in their own units.

    In float64 outside of the model, so that a small change on a large level is not lost.
    """
    mean, scale = past.mean(1, keepdims=True), past.std(1, keepdims=True)
    scale[scale == 0] = 1.0
    scaled = ((past - mean) / scale).astype(np.float32)
    found = model(torch.from_numpy(scaled).to(device)).double().cpu().numpy()
    return np.asarray(found * scale + mean)


def draw(path: Path, series: dict[str, Values], found: Values, shown: int) -> None:
    """Draw the end of each series and its forecast, one below the other."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        fail("drawing needs a library: pip install matplotlib.")
    figure = Figure(figsize=(8, 2.4 * len(series)), layout="constrained")
    every = figure.subplots(len(series), 1, squeeze=False)[:, 0]
    for axes, (name, values), future in zip(every, series.items(), found, strict=True):
        past = values[-shown:]
        axes.plot(range(1 - len(past), 1), past, color="0.3", label="past")
        axes.plot(range(len(future) + 1), [past[-1], *future], color="C0", label="forecast")
        axes.set_title(name.replace("$", r"\$"), loc="left", fontsize=10)
        axes.margins(x=0.01)
    every[0].legend(loc="upper left", fontsize=8)
    every[-1].set_xlabel("steps from the last known one")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, format="png")


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(__doc__)
    group = parser.add_argument_group("options of infer.py")
    group.add_argument(
        "--input",
        type=existing,
        metavar="PATH",
        help="a table with a column for each series (default: the bundled series)",
    )
    group.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        help=f"of weights and arithmetic {sized(proxy, full, 'dtype')}",
    )
    group.add_argument("--plot", type=Path, metavar="PNG", help="(default: OUT/forecast.png)")
    return parser.parse_args()


def main() -> None:
    """Print and draw forecasts."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    config = replace(config, dtype=args.dtype or config.dtype)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    columns = bundled() if args.input is None else series_of(args.input)
    series = {name: values for (name, _), values in columns.items()}
    need = model_config.lookback
    for name, values in series.items():
        if len(values) < need:
            fail(f"series {name!r} has {len(values)} steps, and a forecast needs {need}.")
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, torch.bfloat16 if config.dtype == "bfloat16" else torch.float32)
    past = np.stack([values[-need:] for values in series.values()])
    found = forecast(model, past, device)

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["step", *series])
    for step, row in enumerate(found.T, start=1):
        table.writerow([step, *(f"{value:.{config.digits}g}" for value in row)])
    plot = args.plot or args.out / "forecast.png"
    draw(plot, series, found, config.shown)
    print(f"drawn to {plot}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
