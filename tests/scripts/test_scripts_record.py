"""What train.py and eval.py leave beside a checkpoint: run.json, and scores.json."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.generated import Run

Code = dict[str, ModuleType]


def starts(out: Path) -> list[dict[str, Any]]:
    content = json.loads((out / "run.json").read_text())
    assert content["version"] == 1
    return content["starts"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_training_records_what_it_ran_and_did(folder: Path, trained: Path, text: Path) -> None:
    (entry,) = starts(trained)
    weights = sha256(trained / "checkpoint" / "model.safetensors")
    # A folder of the machine may name its user, so only the last part of a path is recorded.
    said = f"python train.py --threads 1 --data {text.name} --out {trained.name}"
    assert entry["command"] == said
    assert (entry["status"], entry["size"], entry["seed"]) == ("done", "proxy", 42)
    assert entry["began"] <= entry["ended"]
    assert entry["steps"] == {"from": 0, "to": 6}
    assert (entry["unit"], entry["units"]) == ("tokens", 6 * 4 * 16)
    assert entry["checkpoint"] == {"step": 6, "sha256": weights}
    assert entry["config"] == sha256(folder / "config.json")
    assert entry["code"]["train.py"] == sha256(folder / "train.py")
    assert entry["code"]["runtime/loop.py"] == sha256(folder / "runtime" / "loop.py")
    assert entry["devices"]["count"] == 1
    assert (entry["precision"], entry["parallel"]) == ("float32", "none")
    assert {"python", "torch"} <= entry["versions"].keys()
    assert entry["settings"]["train"]["steps"] == 6
    assert entry["settings"]["model"]["d_model"] == 32
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").open()]
    assert entry["losses"] == {"train": lines[-1]["train_loss"], "val": lines[-1]["val_loss"]}
    assert entry["throughput"] > 0
    assert entry["memory_peak"] > 2**20
    assert entry["seconds"]["device"] > 0
    assert entry["energy"]["source"] in ("RAPL", "not measured")


def test_a_training_records_its_data_by_split(trained: Path, text: Path) -> None:
    (entry,) = starts(trained)
    data = entry["data"]
    assert (data["name"], data["unit"]) == ("text.txt", "tokens")
    assert data["sha256"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert sum(data["splits"].values()) == text.stat().st_size
    assert data["counts"]["documents"] == {"train": 1, "val": 0, "test": 0}
    assert data["counts"]["bytes"] == data["splits"]


def test_a_resumed_run_adds_an_entry(run: Run, trained: Path, tmp_path: Path) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    run("train", "--out", out, "--resume", "--steps", 8, "--schedule-steps", 6)
    first, second = starts(out)
    assert first == starts(trained)[0]
    assert second["steps"] == {"from": 6, "to": 8}
    assert second["units"] == 2 * 4 * 16
    assert second["checkpoint"]["sha256"] == sha256(out / "checkpoint" / "model.safetensors")


def test_a_killed_start_stays_running_at_its_last_checkpoint(
    run: Run, code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, saves = code["runtime.record"].Record, []

    def killed(self: Any, step: int, digest: str) -> None:
        saved(self, step, digest)
        saves.append(step)
        if step == 4:
            raise SystemExit(2)

    saved = record.saved
    with monkeypatch.context() as patch:
        # A kill runs nothing: neither the end of the record nor another save.
        patch.setattr(record, "saved", killed)
        patch.setattr(record, "__exit__", lambda *_: None)
        run("train", "--out", tmp_path, "--save-every", 2, status=2)
    (entry,) = starts(tmp_path)
    assert saves == [2, 4]
    assert (entry["status"], entry["ended"]) == ("running", None)
    assert (entry["steps"]["to"], entry["checkpoint"]["step"]) == (4, 4)
    run("train", "--out", tmp_path, "--resume")
    first, second = starts(tmp_path)
    assert first == entry
    assert (second["status"], second["steps"]) == ("done", {"from": 4, "to": 6})


def test_a_training_that_ends_with_an_error_has_failed(run: Run, tmp_path: Path) -> None:
    run("train", "--out", tmp_path, "--learning-rate", 1e30, "--steps", 40, status=2)
    (entry,) = starts(tmp_path)
    assert (entry["status"], entry["checkpoint"]) == ("failed", None)
    assert entry["steps"] == {"from": 0, "to": 0}
    assert entry["ended"]


DAMAGED = ('{"version": 1, "starts": [{"com', "", "[]", '{"starts": 3}', '{"version": 1}')


DEEP = f'{{"version": 1, "starts": [{{"a": {"[" * 600 + "]" * 600}}}]}}'


@pytest.mark.parametrize("content", [*DAMAGED, '{"version": 1, "starts": [3]}', DEEP])
def test_a_damaged_record_is_one_sentence_and_stays(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    error = run("train", "--out", tmp_path, status=2).splitlines()[-1]
    assert error.endswith("restore it, or move it out of the folder, and a new one begins.")
    assert str(tmp_path / "run.json") in error
    assert (tmp_path / "run.json").read_text() == content
    assert not (tmp_path / "checkpoint").exists()


def test_a_record_of_another_version_or_behind_a_link_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"version": 1, "starts": []}')
    (tmp_path / "run.json").symlink_to(tmp_path / "other.json")
    assert "damaged or another file" in run("train", "--out", tmp_path, status=2)
    (tmp_path / "run.json").unlink()
    (tmp_path / "run.json").write_text('{"version": 2, "starts": []}')
    assert "has another version than 1" in run("train", "--out", tmp_path, status=2)


def scores(out: Path) -> list[dict[str, Any]]:
    content = json.loads((out / "scores.json").read_text())
    assert content["version"] == 1
    return content["scores"]


def test_a_score_is_kept_with_the_digest_of_its_weights(
    run: Run, code: Code, folder: Path, trained: Path, tmp_path: Path
) -> None:
    place = ("--out", tmp_path / "here", "--checkpoint", trained / "checkpoint")
    printed = json.loads(run("eval", *place))
    (score,) = scores(tmp_path / "here")
    assert score["report"] == printed
    weights = sha256(trained / "checkpoint" / "model.safetensors")
    assert score["checkpoint"] == {"sha256": weights, "step": 6}
    assert score["command"].startswith("python eval.py --threads 1 --data ")
    assert score["size"] == "proxy"
    assert score["code"]["eval.py"] == sha256(folder / "eval.py")
    (metric,) = printed["metrics"]
    low, high = metric["interval"]
    assert metric["standard_error"] == pytest.approx((high - low) / 3.92, rel=0.2)
    assert not (trained / "scores.json").exists()


def test_a_score_replaces_one_of_the_same_command_and_weights_alone(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    run("eval", "--out", out)
    run("eval", "--out", out)
    assert len(scores(out)) == 1
    run("eval", "--out", out, "--batch-size", 3)
    run("train", "--out", out, "--resume", "--steps", 7, "--schedule-steps", 6)
    run("eval", "--out", out)
    assert [each["checkpoint"]["step"] for each in scores(out)] == [6, 6, 7]


def test_damaged_scores_are_refused_before_anything_is_scored(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores.json").write_text('{"version": 1, "scor')
    place = ("--out", tmp_path, "--checkpoint", trained / "checkpoint")
    assert 'list of "scores"' in run("eval", *place, status=2)
    assert (tmp_path / "scores.json").read_text() == '{"version": 1, "scor'


def test_weights_that_change_while_they_are_scored_have_no_score(
    run: Run, code: Code, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    load = code["runtime.shares"].load_share

    def replaced(*args: Any) -> Any:
        network = load(*args)
        weights = out / "checkpoint" / "model.safetensors"
        shutil.copyfile(weights, out / "new")
        (out / "new").rename(weights)
        return network

    monkeypatch.setattr(code["eval"], "load_share", replaced)
    assert "changed while it was scored" in run("eval", "--out", out, status=2)
    assert not (out / "scores.json").exists()


class Calls(types.ModuleType):
    """A library of --report-to that records what it is asked to do."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.done: list[tuple[str, Any]] = []
        self.id = f"{name}-1"
        self.info = types.SimpleNamespace(run_id=f"{name}-1")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Calls:
            self.done.append((name, {**options, "args": args}))
            return self

        return call

    def asked(self, name: str) -> list[dict[str, Any]]:
        return [options for each, options in self.done if each == name]


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Calls]:
    found = {name: Calls(name) for name in ("wandb", "trackio", "mlflow")}
    for name, library in found.items():
        monkeypatch.setitem(sys.modules, name, library)
    for name in ("WANDB_MODE", "TRACKIO_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.setenv(name, "x")  # pytest restores the variable afterwards
        monkeypatch.delenv(name)
    return found


ALL = ("--report-to", "wandb", "trackio", "mlflow")


def test_loggers_get_each_step_and_stay_offline(
    run: Run, libraries: dict[str, Calls], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("train", "--out", tmp_path, *ALL)
    assert os.environ["WANDB_MODE"] == "offline"
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "trackio")
    wandb, trackio, mlflow = libraries.values()
    assert wandb.asked("init")[0]["dir"] == str(tmp_path)
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert mlflow.asked("set_tracking_uri")[0]["args"] == (database,)
    for library, name in ((wandb, "log"), (trackio, "log"), (mlflow, "log_metrics")):
        assert [each["step"] for each in library.asked(name)] == [1, 2, 3, 4, 5, 6]
        assert "learning_rate" in library.asked(name)[0]["args"][0]
        # A value that was not measured is left out, since loggers would draw it as 0 or fail.
        assert "val_loss" not in library.asked(name)[0]["args"][0]
    assert wandb.asked("init")[0]["config"]["train.batch_size"] == 4
    assert wandb.asked("finish")
    assert trackio.asked("finish")
    assert mlflow.asked("end_run")


def test_a_resumed_run_goes_on_in_the_same_run_of_each_logger(
    run: Run, libraries: dict[str, Calls], tmp_path: Path
) -> None:
    run("train", "--out", tmp_path, "--steps", 3, *ALL)
    ids = starts(tmp_path)[0]["loggers"]
    assert ids["wandb"] == "wandb-1"
    run("train", "--out", tmp_path, "--resume", "--steps", 6, "--schedule-steps", 3, *ALL)
    first, second = libraries["wandb"].asked("init")
    assert (first["id"], second["id"], second["resume"]) == (None, "wandb-1", "allow")
    first, second = libraries["trackio"].asked("init")
    assert (second["name"], second["resume"]) == (first["name"], "must")
    first, second = libraries["mlflow"].asked("start_run")
    assert (first["run_id"], second["run_id"]) == (None, "mlflow-1")
    assert len(libraries["mlflow"].asked("log_params")) == 1
    # A new run in the same folder is another run.
    run("train", "--out", tmp_path, "--steps", 1, *ALL)
    assert libraries["wandb"].asked("init")[-1]["id"] is None


def test_none_stands_alone(run: Run, tmp_path: Path) -> None:
    error = run("train", "--out", tmp_path, "--report-to", "none", "tensorboard", status=2)
    assert "--report-to none stands alone" in error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow", "tensorboard"])
def test_the_library_itself_takes_a_run_and_its_continuation(
    folder: Path, text: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip(name)
    line = [sys.executable, folder / "train.py", "--threads", 1, "--data", text, "--out", "out"]
    for more in (("--steps", 3), ("--steps", 6, "--resume")):
        options = ("--schedule-steps", 6, "--report-to", name, *more)
        # Nothing is uploaded: an address that answers nothing would end the training.
        done = subprocess.run(
            [str(part) for part in (*line, *options)],
            cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    first, second = starts(tmp_path / "out")
    assert first["loggers"] == second["loggers"]
    # What a library keeps of its own, such as logs of wandb, is in the user's home.
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "home"}
