"""The whole loop on a CPU: a package, its full model trained, stopped, resumed, scored, released.

Each model is small enough to be trained in seconds, and everything around it is what a user runs.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from helpers import own_questions
from safetensors.torch import load_file

from metagen import files, paths
from metagen.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.ci]


@dataclass(frozen=True)
class Loop:
    """A spec, small by its overrides, with the folder of all that is made of it."""

    spec: Path
    overrides: tuple[str, ...]
    root: Path

    @property
    def package(self) -> Path:
        return self.root / "build" / f"run-{self.spec.stem}"

    @property
    def out(self) -> Path:
        return self.root / "full_run"

    def metagen(self, command: str, *options: object, status: int = 0) -> list[dict[str, Any]]:
        """Run a command of metagen on the spec and return its events."""
        line = [command, self.spec, "--out", self.root / "build", "--json", *options]
        done = CliRunner().invoke(main, [*map(str, line), *self.overrides])
        events = [json.loads(each) for each in done.output.splitlines() if each.startswith("{")]
        assert done.exit_code == status, done.output
        return events

    def script(self, name: str, *options: object) -> str:
        """Run a script of the package at its full size and return what it printed."""
        done = subprocess.run(self.line(name, *options), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def line(self, name: str, *options: object) -> list[str]:
        script = self.package / "code" / f"{name}.py"
        shared = ("--size", "full", "--threads", 1, "--out", self.out)
        return [str(part) for part in (sys.executable, script, *shared, *options)]

    def train_until_stopped(self, *options: object) -> None:
        """Train, and send the signal that a cluster sends, after the first checkpoint."""
        line = self.line("train", "--save-every", 3, *options)
        process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not (self.out / "checkpoint" / "state.json").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        assert process.returncode == 128 + signal.SIGTERM, errors

    def starts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.out / "run.json").read_text())["starts"]
        return found

    def state(self) -> dict[str, str]:
        """Return the digest of each file of the package, by its name."""
        return {
            path.relative_to(self.package).as_posix(): files.sha256(path.read_bytes())
            for path in self.package.rglob("*")
            if path.is_file()
        }

    def model(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.package / "trained" / "model.json").read_text())
        return found


def ran(events: list[dict[str, Any]]) -> set[str]:
    """Return the tasks that a build ran, without the name of the package."""
    return {each["task"] for each in events if each["event"] == "task"}


def released(loop: Loop, *results: object) -> list[dict[str, Any]]:
    """Release the training, and check what every release promises of its weights."""
    events = loop.metagen("release", "--trained", loop.out, *results)
    weights = (loop.out / "checkpoint" / "model.safetensors").read_bytes()
    assert (loop.package / "release" / "model.safetensors").read_bytes() == weights
    assert loop.model()["checkpoint"]["sha256"] == files.sha256(weights)
    assert loop.starts()[-1]["checkpoint"]["sha256"] == files.sha256(weights)
    return events


def changed_alone(before: dict[str, str], after: dict[str, str]) -> None:
    """Check that new weights changed what tells of them, and no file that cannot depend on them."""
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {"trained/model.json", "trained/curve.csv", "release/model.safetensors"} <= changed
    assert {"release/README.md", "README.md", "docs/provenance.json"} <= changed
    apart = ("code/", "blueprint/", "release/code/", "release/blueprint/", "spec_resolved.yaml")
    assert not {path for path in changed if path.startswith(apart)}
    assert "release/config.json" not in changed


def loop_of(loop: Loop, data: tuple[object, ...], results: Any = None) -> None:
    """Go through the whole loop; the model of the first release is partly trained."""
    assert loop.metagen("synth")[-1]["event"] == "end"
    assert loop.model() == {"status": "not trained"}
    loop.train_until_stopped(*data)
    assert [each["status"] for each in loop.starts()] == ["stopped"]
    released(loop)
    assert loop.model()["status"] == "partial"
    first = loop.state()
    loop.script("train", *data, "--resume")
    assert [each["status"] for each in loop.starts()] == ["stopped", "done"]
    loop.script("eval", *data)
    again = ran(released(loop, *(results() if results else ())))
    assert loop.model()["status"] == "trained"
    assert not {task for task in again if task.partition(":")[0] in ("code", "blueprint")}
    changed_alone(first, loop.state())
    full = [
        row
        for row in json.loads((loop.package / "benchmarks" / "results.json").read_text())
        if row["size"] == "full"
    ]
    assert full
    # A report of eval.py has the digest of its weights; one of lm-eval has only a path.
    assert all(row["bound"] == (row["harness"]["name"] == "eval.py") for row in full)
    # Nothing changed since, so nothing runs.
    assert not ran(loop.metagen("release"))


LM = (
    "bench=none",
    "training.data.size=100k tokens",
    "training.config.epochs=1",
    "training.config.batch_size=16",
    "constraints.context_window=64",
    "constraints.parameter_budget.max=1M",
)


def of_the_harness(loop: Loop) -> tuple[object, ...]:
    """Score the checkpoint by lm-eval on a task of our own, if it is installed."""
    if not own_questions.INSTALLED:
        return ()
    folder = loop.root / "harness"
    folder.mkdir()
    return "--results", own_questions.scored(folder, loop.out / "checkpoint", 4)


def test_a_language_model_goes_from_a_spec_to_a_release(tmp_path: Path) -> None:
    loop = Loop(paths.specs() / "text" / "text_llm_tiny.yaml", LM, tmp_path)
    loop_of(loop, (), lambda: of_the_harness(loop))
    release = loop.package / "release"
    rows = json.loads((loop.package / "benchmarks" / "results.json").read_text())
    measured = {row["metric"] for row in rows if row["size"] == "full"}
    assert "bits_per_byte" in measured
    if own_questions.INSTALLED:
        assert any("acc" in metric for metric in measured)
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(release)
    tokenizer = transformers.AutoTokenizer.from_pretrained(release)
    tokens = tokenizer("The import statement", return_tensors="pt").input_ids
    assert torch.isfinite(model(tokens).logits).all()
    assert (
        sum(each.numel() for each in model.parameters()) == loop.model()["checkpoint"]["parameters"]
    )


TABULAR = (
    "bench=none",
    "training.data.size=4k rows",
    "training.config.epochs=5",
    "constraints.parameter_budget.max=50k",
)


def test_a_classifier_of_tables_goes_from_a_spec_to_a_release(tmp_path: Path) -> None:
    loop = Loop(paths.specs() / "tabular" / "tabular_classifier.yaml", TABULAR, tmp_path)
    loop_of(loop, ())
    weights = load_file(loop.package / "release" / "model.safetensors")
    assert (
        sum(each.numel() for each in weights.values()) >= loop.model()["checkpoint"]["parameters"]
    )
