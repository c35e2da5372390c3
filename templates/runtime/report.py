"""The report of eval.py: metrics with their baselines and intervals, as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.checkpoint import saved_step
from runtime.notes import note
from runtime.scores import Samples, Score, compared

NO_INTERVAL: Mapping[str, Any] = {
    "standard_error": None,
    "interval": None,
    "differences": None,
    "resamples": None,
    "interval_method": "none: the score has no parts to resample",
    "interval_unit": None,
    "interval_n": None,
}


@dataclass(frozen=True)
class Report:
    """The scores of a checkpoint.

    Attributes:
        dataset: Name of the data, or of the environment.
        sha256: Digest of the data; None without a file, as for an environment.
        n: Number of scored samples, tokens or episodes; None if each metric has its own.
        metrics: Results of `metric`.
        figure: Content of the figure of the result; its `kind` is `lines`, `matrix`, `images`, or
            one that the task's own outcome.py draws. With None, the figure shows each metric
            next to its baselines.
        split: The scored split; None for data without splits.
        steps_unit: Unit of train.py's --steps, such as `environment steps`; None for updates of
            the weights.
        n_unit: What `n` counts, in the plural, such as `images`.
        untested: The classes without a sample in the split, so that no score says anything of them.
    """

    dataset: str
    sha256: str | None
    n: int | None
    metrics: Sequence[Mapping[str, Any]]
    figure: Mapping[str, Any] | None = None
    split: str | None = "test"
    steps_unit: str | None = None
    n_unit: str | None = None
    untested: Sequence[str] = ()


def metric(
    name: str,
    unit: str,
    own: Score | float,
    baselines: Mapping[str, Score | float],
    samples: Samples | None = None,
    *,
    title: str,
    higher_is_better: bool | None,
    **source: Any,
) -> dict[str, Any]:
    """Return one metric, with its standard error and 95 % interval over the test split.

    Args:
        name: Identifier in files, such as `ndcg_at_10`.
        unit: Unit of the value; `share` for a fraction, which documents print in percent.
        own: Score of the checkpoint, as a function of how often each sample counts; a number has
            no interval.
        baselines: Scores of simpler methods on the same data, by the methods' names. A function
            makes the comparison with the checkpoint a paired one.
        samples: What is resampled; None if `own` is a number.
        title: Name in documents and figures, in the field's usual spelling, such as `nDCG@10`.
        higher_is_better: Direction; None for a figure that is no score.
        source: `benchmark`, `dataset`, `sha256`, `split`, `n`, `n_unit` or `status`, if the
            metric's differs from the report's; the status of a report is "measured".
    """
    interval: dict[str, Any] = dict(NO_INTERVAL)
    value = _value(own, samples)
    # A score of nothing is NaN, and stays so however its samples are drawn.
    if samples is not None and callable(own) and not math.isnan(value):
        interval = compared(own, baselines, samples)
    if unit == "share" and interval["interval"]:
        # An interval that is moved to its score may end outside what a share can be.
        interval["interval"] = tuple(min(1.0, max(0.0, end)) for end in interval["interval"])
    return {
        "metric": name,
        "title": title,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "value": value,
        "baselines": {each: _value(score, samples) for each, score in baselines.items()},
        **interval,
        **source,
    }


def _value(score: Score | float, samples: Samples | None) -> float:
    if not callable(score):
        return float(score)
    assert samples is not None, "a score that is a function needs samples"
    return score(np.ones(samples.count))


def brief(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `contents` does without the scores of single resamples."""
    metrics = [
        {name: value for name, value in metric.items() if name != "resamples"}
        for metric in content["metrics"]
    ]
    return {**content, "metrics": metrics}


def contents(report: Report, folder: Path) -> dict[str, Any]:
    """Return what eval.py prints of a report, with the step of a folder's checkpoint if known."""
    step = saved_step(folder)
    if step is None:
        note(f"{folder} was not saved by train.py, so the step of its weights is unknown.")
    content: dict[str, Any] = {
        "dataset": report.dataset,
        "sha256": report.sha256,
        "split": report.split,
        "n": report.n,
        "n_unit": report.n_unit,
        "metrics": list(report.metrics),
        "figure": report.figure,
        "checkpoint_step": step,
    }
    if report.steps_unit:
        content["steps_unit"] = report.steps_unit
    if report.untested:
        content["untested"] = list(report.untested)
    return content
