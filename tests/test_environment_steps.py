"""A benchmark without splits: returns over environment steps, from the report to the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import docs_fixtures as sample
from helpers.generated import RUNTIME
from test_measure_trial import desk_with

from metagen import paths
from metagen.docs import cards, paper
from metagen.measure import trial

EVAL = """
import pathlib

import numpy
from safetensors.numpy import save_file

from runtime.journal import to_text
from runtime.report import Report, brief, contents, metric

checkpoint = pathlib.Path("out/checkpoint")
save_file({"policy": numpy.zeros(2)}, checkpoint / "model.safetensors", {"step": "240"})
(checkpoint / "state.json").write_text('{"step": 240}')
returns = metric("mean_return", "reward", 312.5, {"random policy": 22.1}, title="mean return",
                 higher_is_better=True)
curve = {"name": "proxy", "x": [0, 240], "y": [20.0, 312.5]}
figure = {"kind": "lines", "x": "environment steps", "y": "return", "series": [curve]}
report = Report("CartPole-v1", None, None, [returns], figure, split=None,
                steps_unit="environment steps")
print(to_text(brief(contents(report, checkpoint))))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of results.json."""
    desk = desk_with(tmp_path_factory.mktemp("package"), "evaluation: {seeds: 1}\n", evaluate=EVAL)
    for path in RUNTIME:
        template = paths.template(path)
        desk.package[path] = paths.source(template).read_bytes()
    desk.package |= trial.trial(desk)
    content: list[dict[str, Any]] = json.loads(trial.results(desk)[trial.RESULTS])
    return content


def test_results_hold_no_split_and_the_unit_that_the_task_names(rows):
    (row,) = rows
    assert [row[name] for name in ("split", "n", "sha256")] == [None, None, None]
    assert row["steps_unit"] == "environment steps"
    assert (row["title"], row["unit"], row["higher_is_better"]) == ("mean return", "reward", True)


def test_documents_print_the_steps_and_leave_out_the_splits(rows):
    desk = sample.desk(results=rows)
    works = {recipe.name: recipe.work for recipe in (*cards.RECIPES, *paper.RECIPES)}
    names = ("docs:model_card", "docs:data_card", "docs:eval_report")
    sections = ("paper:abstract", "paper:evaluation", "paper:reproducibility")
    documents = [
        text
        for name in (*names, *sections)
        for path, text in works[name](desk).items()
        if "provenance" not in path
    ]
    for document in documents:
        text = document.decode()
        assert "CartPole-v1" in text or "mean return" in text
        for absent in ("not measured", "SHA-256 of the", "(SHA-256", "Held-out split",
                       "held-out split is", "on held-out data", ", n ="):  # fmt: skip
            assert absent not in text
    printed = "".join(document.decode() for document in documents)
    assert printed.count("environment steps") >= 4
    assert "training steps with" not in printed
    assert "mean return" in printed


def test_the_default_counts_updates_of_the_weights(tmp_path: Path):
    desk = desk_with(tmp_path, "evaluation: {seeds: 1}\n")
    desk.package |= trial.trial(desk)
    (row,) = json.loads(trial.results(desk)[trial.RESULTS])
    assert row["steps_unit"] == "training steps"
