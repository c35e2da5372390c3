"""What eval.py prints: metrics beside their baselines, as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.settings import read_json


def metric(
    name: str,
    unit: str,
    value: float,
    baselines: Mapping[str, float],
    *,
    higher_is_better: bool | None,
    **source: Any,
) -> dict[str, Any]:
    """Return one metric.

    Args:
        name: Its field's name, such as `accuracy`.
        unit: What it is counted in; `share` for a part of one.
        value: Of the checkpoint.
        baselines: Of simpler methods on the same split, by their names.
        higher_is_better: Whether more is better; None for a figure that is no score.
        source: `benchmark`, `dataset`, `sha256`, `split`, `n` or `status`, where they are not those
            of the report, whose metrics are "measured".
    """
    return {
        "metric": name,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "value": value,
        "baselines": dict(baselines),
        **source,
    }


def print_report(
    dataset: str,
    sha256: str,
    n: int,
    metrics: Sequence[Mapping[str, Any]],
    folder: Path,
    figure: Mapping[str, Any] | None = None,
) -> None:
    """Print the scores of a checkpoint on the test split.

    Args:
        dataset: Name of the data.
        sha256: Digest of the data.
        n: What was scored: samples, tokens.
        metrics: What `metric` returned.
        folder: The checkpoint.
        figure: What a picture of the result shows; its `kind` says how it is drawn.
    """
    report = {
        "dataset": dataset,
        "sha256": sha256,
        "split": "test",
        "n": n,
        "metrics": list(metrics),
        "figure": figure,
        "checkpoint_step": read_json(folder / "state.json").get("step"),
    }
    print(json.dumps(report, indent=2))
