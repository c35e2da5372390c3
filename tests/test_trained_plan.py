"""The plan beside the training, samples of output and the measured speed, as files of a package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import docs_fixtures as sample
from helpers import trained_states as made
from helpers.fake_desk import FakeDesk

from metagen import families
from metagen.docs import figures
from metagen.errors import TaskError
from metagen.measure import sandbox
from metagen.sizing.training import PUE
from metagen.trained import bench, checkpoint, plan, samples

TIME = {"constraint": "training_time", "computed": 20.0}
ENERGY = {"constraint": "training_energy", "computed": 1580.0}


class BoundDesk(FakeDesk):
    """A desk over the sample package with a bound checkpoint of small files."""

    def __init__(self, model: dict[str, Any], folder: Path) -> None:
        desk = made.desk(model, [], **{"training__compute__utilization": None})
        files = desk.files | dict.fromkeys(checkpoint.files(families.of_package(desk)), b"")
        super().__init__(files, desk.keys)
        self.folder, self.hashed = folder, set[str]()

    def trained_names(self, folder: str) -> tuple[str, ...]:
        return ("config.json", "junk.bin", "model.safetensors", "optimizer.safetensors")

    def trained_digest(self, path: str) -> str:
        self.hashed.add(path)
        return "00"

    def trained_place(self, path: str) -> Path:
        return self.folder / path


def small(**changed: Any) -> dict[str, Any]:
    return {**made.RECORDED, "checkpoint": {**made.RECORDED["checkpoint"], "bytes": 10}, **changed}


def rows(model: dict[str, Any], *constraints: dict[str, Any]) -> dict[str, dict[str, Any]]:
    desk = made.desk(model, [], training__compute__utilization=None)
    desk.files["blueprint/constraints.json"] = json.dumps(list(constraints)).encode()
    return {row["quantity"]: row for row in json.loads(plan.compared(desk)[plan.TARGET])}


def test_each_side_of_the_plan_names_its_source() -> None:
    table = rows(made.RECORDED, TIME, ENERGY)
    time = table["time"]
    assert (time["planned"], time["unit"]) == (480, "hours")
    assert time["actual"] == pytest.approx(1_823_040.5 / 3600, rel=1e-3)
    assert time["planned_source"] == "blueprint/constraints.json: training_time"
    assert time["actual_source"] == "trained/model.json: seconds.wall"
    assert table["energy of the devices"]["planned"] == pytest.approx(1580 / PUE, rel=1e-3)
    assert table["energy of the devices"]["actual"] == pytest.approx(1.2e11 / 3.6e6, rel=1e-3)
    assert table["device"]["actual"] == "NVIDIA A100-SXM4-40GB"
    assert table["memory of a device"]["actual"] == 33_400_000_000
    assert 0 < table["share of the peak"]["planned"] < 1


def test_a_row_has_at_least_one_side() -> None:
    table = rows(made.UNRECORDED)
    assert "time" not in table
    assert "throughput" not in table
    assert "last validation loss" not in table
    assert table["last training loss"]["planned"] is None
    assert table["training steps"]["actual"] == 477_000
    for row in table.values():
        for side in ("planned", "actual"):
            assert (row[side] is None) == (row[f"{side}_source"] is None)
        assert not row["planned"] is row["actual"] is None


def test_units_of_another_kind_are_not_compared() -> None:
    table = rows({**made.RECORDED, "unit": "images"})
    assert table["tokens read"]["actual"] is None
    assert table["images read"]["planned"] is None


def test_without_a_model_there_is_no_plan_no_sample_and_no_speed() -> None:
    desk = sample.desk()
    assert json.loads(plan.compared(desk)[plan.TARGET]) == []
    assert json.loads(samples.samples(desk)[samples.TARGET]) == []
    assert json.loads(bench.bench(desk)[bench.TARGET]) == {}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that ran in the sandbox, which prints a report of its arguments."""
    commands: list[tuple[str, ...]] = []

    def run(arguments: Any, files: Any, outputs: Any, **rest: Any) -> dict[str, bytes]:
        commands.append(tuple(arguments))
        assert arguments[0] in files
        printed = b'{"version": 1}' if "bench" in arguments[0] else b"The cat sat.\n"
        return {sandbox.STDOUT: printed}

    monkeypatch.setattr(sandbox, "run", run)
    return commands


def test_a_sample_is_the_demonstration_on_the_checkpoint(tmp_path: Path, ran: list[Any]) -> None:
    desk = BoundDesk(small(), tmp_path)
    (made_sample,) = json.loads(samples.samples(desk)[samples.TARGET])
    assert made_sample["output"] == "The cat sat."
    assert made_sample["command"].endswith("""--checkpoint .. --prompt "The \"""")
    (command,) = ran
    assert command[command.index("--checkpoint") + 1] == str(tmp_path / "checkpoint")
    assert command[-2:] == ("--prompt", "The ")
    assert desk.hashed == {"checkpoint/config.json", "checkpoint/model.safetensors"}


def test_the_speed_is_printed_without_the_folders_of_this_machine(
    tmp_path: Path, ran: list[Any]
) -> None:
    data = bench.bench(BoundDesk(small(), tmp_path))[bench.TARGET]
    assert len(ran) == 1
    assert str(tmp_path) not in data.decode()
    assert "--checkpoint .. --size full --device cpu" in json.loads(data)["command"]


def test_a_large_checkpoint_is_not_loaded(tmp_path: Path, ran: list[Any]) -> None:
    desk = BoundDesk(made.RECORDED, tmp_path)
    assert json.loads(samples.samples(desk)[samples.TARGET]) == []
    assert json.loads(bench.bench(desk)[bench.TARGET]) == {}
    assert not ran


def test_a_bench_that_prints_no_report_ends_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", lambda *_, **__: {sandbox.STDOUT: b"no"})
    with pytest.raises(TaskError, match="other than its JSON report"):
        bench.bench(BoundDesk(small(), tmp_path))


def test_paper_and_report_have_a_figure_of_the_losses() -> None:
    starts = (b"%PDF", b"<?xml")
    for recipe, start in zip(figures.OF_THE_TRAINED, starts, strict=True):
        (data,) = recipe.work(made.state("both")).values()
        assert data.startswith(start)
