"""A build takes a bound training in: what changes in it runs the tasks that read it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import harness_files
from helpers.building import TINY, fake_measurements
from helpers.trained_run import fitting, write_run

from metagen.engine import graph
from metagen.engine.binding import Binding
from metagen.engine.digest import Environment
from metagen.engine.engine import Engine
from metagen.engine.ledger import Ledger
from metagen.engine.workspace import StateFolder, Workspace
from metagen.errors import TaskError
from metagen.measure import sandbox
from metagen.measure.evidence import EVIDENCE
from metagen.spec import load

SCORE = {
    "metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte",
    "higher_is_better": False, "value": 2.5, "baselines": {},
}  # fmt: skip


class Out:
    """An out folder in which the evidence of one spec is built, and what it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run-text_llm_tiny"
        self.trained: Path | None = None
        self.results: tuple[Path, ...] = ()

    def build(self) -> set[str]:
        """Return the names of the tasks that ran."""
        binding = Binding.of(self.trained, self.results)
        spec = load(TINY, ["evaluation.bench=none", "evaluation.benchmarks=[SciQ, MMLU, GSM8K]"])
        tasks = graph.of_spec(spec, None, lambda run: binding)
        ledger = Ledger(StateFolder(self.folder).ledger)
        engine = Engine(
            tasks, Workspace.on_disk(self.folder, tasks.run, ledger), Environment(ledger)
        )
        try:
            for recipe in tasks.in_order([tasks.maker[EVIDENCE]]):
                engine.build(recipe, lambda *_: None)
            return {name for name, each in engine.outcomes.items() if each.action == "run"}
        finally:
            engine.close()
            ledger.close()

    def read(self, path: str) -> Any:
        return json.loads((self.run / path).read_bytes())

    def scored(self, value: float) -> None:
        assert self.trained
        write_run(self.trained, **fitting(self.run), scores=[{**SCORE, "value": value}])


@pytest.mark.slow
@pytest.mark.ci
def test_a_bound_training_runs_what_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    out = Out(tmp_path / "out")
    assert {"trained:model", "trained:results"} <= out.build()
    assert out.read("trained/model.json") == {"status": "not trained"}
    assert [row["status"] for row in out.read("benchmarks/results.json")] == [
        "not measured", "not run", "not run", "not run",
    ]  # fmt: skip

    out.trained = tmp_path / "full_run"
    out.scored(2.5)
    results = {"trained:results", "benchmarks:results", "benchmarks:evidence"}
    assert out.build() == {"trained:model", *results}
    assert out.read("trained/model.json")["status"] == "trained"
    assert [row["value"] for row in out.read("trained/results.json")] == [2.5]

    out.scored(2.25)
    assert out.build() == results
    assert [row["value"] for row in out.read("trained/results.json")] == [2.25]

    content = harness_files.lm_eval(2e9)
    content["config"]["model_num_parameters"] = out.read("blueprint/params.json")["total"]
    (tmp_path / "lm_eval_out").mkdir()
    path = tmp_path / "lm_eval_out" / "results_1.json"
    path.write_bytes(harness_files.encoded(content))
    out.results = (path.parent,)
    assert out.build() == results
    listed = [(row["benchmark"], row["status"]) for row in out.read("benchmarks/results.json")]
    assert listed[2:] == [
        ("MMLU", "measured"), ("SciQ", "measured"), ("SciQ", "measured"), ("GSM8K", "not run"),
    ]  # fmt: skip
    assert out.build() == set()

    path.write_bytes(path.read_bytes().replace(b"0.255", b"25.5"))
    with pytest.raises(TaskError, match="if the file states percent, divide by 100"):
        out.build()
    assert out.read("benchmarks/results.json")[2]["value"] == 0.255
