"""The generated train.py: what it writes, and that it resumes exactly."""

from __future__ import annotations

import copy
import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.generated import Run, same_checkpoint
from safetensors.torch import load_file


def test_training_writes_metrics_and_a_checkpoint(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["val_loss"] is not None for row in rows] == [False, False, True] * 2
    names = {"step", "train_loss", "val_loss", "learning_rate", "grad_norm", "tokens_per_second"}
    assert rows[0].keys() == names  # no share of a peak that nobody knows
    assert rows[0]["tokens_per_second"] is None  # the first step also allocates
    assert all(row["tokens_per_second"] > 0 and row["grad_norm"] > 0 for row in rows[1:])
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    names = {path.name for path in (trained / "checkpoint").iterdir()}
    assert names == {
        *("model.safetensors", "optimizer", "config.json", "state.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    config = json.loads((trained / "checkpoint" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["hidden_size"] == config["d_model"] == 32


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    run: Run, trained: Path, tmp_path: Path, stop: int
) -> None:
    run("train", "--out", tmp_path, "--steps", stop, "--schedule-steps", 6)
    assert not same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")
    run("train", "--out", tmp_path, "--resume")
    assert same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")
    losses = [
        [json.loads(line)["train_loss"] for line in (out / "metrics.jsonl").open()]
        for out in (tmp_path, trained)
    ]
    assert losses[0] == losses[1]


def test_a_step_may_be_taken_in_parts(run: Run, trained: Path, tmp_path: Path) -> None:
    run("train", "--out", tmp_path, "--grad-accum", 4)
    whole = load_file(trained / "checkpoint" / "model.safetensors")
    parts = load_file(tmp_path / "checkpoint" / "model.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-4, rtol=1e-3)


def test_a_shorter_run_has_a_whole_schedule_of_its_own_which_a_resumed_one_keeps(
    run: Run, tmp_path: Path
) -> None:
    def rates() -> list[float]:
        rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
        return [row["learning_rate"] / 0.003 for row in rows]

    run("train", "--out", tmp_path, "--steps", 3)
    assert rates() == pytest.approx([1.0, 1.0, 0.55])  # a third of the three warms up, not two
    run("train", "--out", tmp_path, "--resume", "--steps", 4)
    assert rates()[3:] == pytest.approx([0.1])


def test_parts_of_unequal_size_weigh_by_their_targets(code: dict[str, ModuleType]) -> None:
    module = code["model"]
    torch.manual_seed(0)
    whole = module.Model(module.Config())
    parts = copy.deepcopy(whole)
    x, y = torch.randint(256, (4, 8)), torch.randint(256, (4, 8))
    for model, cuts in ((whole, [4]), (parts, [1, 3])):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        pairs = zip(x.split(cuts), y.split(cuts), strict=True)
        losses = [lambda m=model, a=a, b=b: (m(a, b), b.numel()) for a, b in pairs]
        code["runtime.optimization"].update(model, [optimizer], losses, 1.0, 100.0)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_some_weights_learn_at_a_multiple_of_the_rate(code: dict[str, ModuleType]) -> None:
    module, ours = code["model"], code["runtime.optimization"]
    torch.manual_seed(0)
    model = module.Model(module.Config())
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    ours.multiply_rates([optimizer], model, {"embed_tokens.weight": 3.0})
    x, y = torch.randint(256, (2, 8)), torch.randint(256, (2, 8))
    model(x, y).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    ours.update(model, [optimizer], [lambda: (model(x, y), y.numel())], 0.5, 1e9)
    for name, parameter in model.named_parameters():
        rate = 1.5 if name == "embed_tokens.weight" else 0.5
        torch.testing.assert_close(before[name] - parameter, rate * gradients[name])


def test_the_first_weights_have_the_scales_of_the_settings(code: dict[str, ModuleType]) -> None:
    module, train = code["model"], code["train"]
    config = module.Config(tie_embeddings=False)

    def first(**scales: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return dict(train.scaled(module.Model(config), train.Config(**scales)).named_parameters())

    plain = first(table_scale=1.0, write_scale=1.0)
    for name, weight in first(table_scale=3.0, write_scale=0.0).items():
        writes = name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight"))
        scale = 0.0 if writes else 3.0 if name.startswith("embed_tokens") else 1.0
        assert torch.equal(weight, scale * plain[name]), name


def test_an_epoch_shows_every_sample_once_whatever_the_batches(code: dict[str, ModuleType]) -> None:
    samples_at = code["data"].samples_at
    stream = samples_at(0, 30, 10, seed=1)
    for epoch in range(3):
        assert sorted(i for e, i in stream if e == epoch) == list(range(10))
    assert stream[:10] != [(0, i) for _, i in stream[10:20]]
    assert [pair for start in range(0, 30, 3) for pair in samples_at(start, 3, 10, 1)] == stream


def test_a_kill_between_the_renames_loses_no_checkpoint(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / ".checkpoint.train-old")
    (tmp_path / ".checkpoint.train-new").mkdir()
    run("train", "--out", tmp_path, "--resume", "--steps", 7, "--schedule-steps", 6)
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 7
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "metrics.jsonl", "run.json"}


def test_a_full_disk_leaves_the_last_checkpoint(
    run: Run,
    code: dict[str, ModuleType],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")

    def full_disk(path: Path, *_: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(code["runtime.checkpoint"], "write_tensors", full_disk)
    error = run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)
    assert "cannot be written: No space left on device; the last checkpoint is unchanged" in error
    assert same_checkpoint(folder, trained / "checkpoint")
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "metrics.jsonl", "run.json"}


LONG = ("--steps", 80, "--schedule-steps", 80, "--eval-every", 40, "--save-every", 1)


@pytest.fixture(scope="module")
def long(code: dict[str, ModuleType], text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an uninterrupted run, long enough to be interrupted."""
    out = tmp_path_factory.mktemp("long")
    line = ["train.py", "--threads", 1, "--data", text, "--out", out, *LONG]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(part) for part in line])
        code["train"].main()
    return out / "checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.ci), signal.SIGKILL],
)
def test_a_run_stopped_by_a_signal_goes_on_bit_for_bit(
    folder: Path,
    code: dict[str, ModuleType],
    run: Run,
    text: Path,
    long: Path,
    tmp_path: Path,
    kind: signal.Signals,
) -> None:
    line = [sys.executable, folder / "train.py", "--threads", 1, "--data", text, *LONG]
    line += ["--out", tmp_path]
    process = subprocess.Popen([str(part) for part in line], stderr=subprocess.PIPE, text=True)
    state = tmp_path / "checkpoint" / "state.json"
    for _ in range(24000):
        if state.exists():
            break
        time.sleep(0.005)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=30)
    if kind == signal.SIGKILL:
        assert process.returncode == -kind
    else:
        assert process.returncode == 128 + kind, errors
        assert ": continue with --resume" in errors
        step = json.loads(state.read_text())["step"]
        assert step == len((tmp_path / "metrics.jsonl").read_text().splitlines())
    # A kill between the two renames leaves the checkpoint under its hidden name.
    code["runtime.checkpoint"].find_checkpoint(tmp_path / "checkpoint")
    assert not same_checkpoint(tmp_path / "checkpoint", long)
    run("train", "--out", tmp_path, "--resume", *LONG)
    assert same_checkpoint(tmp_path / "checkpoint", long)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 80
    first, second = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert first["status"] == ("running" if kind == signal.SIGKILL else "stopped")
    # A kill may come between a checkpoint and the record of it.
    assert first["steps"]["to"] <= second["steps"]["from"] < second["steps"]["to"] == 80


def test_what_is_watched_saved_or_recomputed_changes_no_bit(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    watched = ("--eval-every", 1, "--save-every", 2, "--report-to", "tensorboard")
    run("train", "--out", tmp_path, "--grad-checkpoint", "full", *watched)
    assert same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")
    assert list((tmp_path / "tensorboard").iterdir())
    run("train", "--out", tmp_path / "selective", "--grad-checkpoint", "selective")
    assert same_checkpoint(tmp_path / "selective" / "checkpoint", trained / "checkpoint")


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    run("train", "--out", tmp_path / "out", "--dry-run")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_compiled_model_saves_the_names_and_nearly_the_weights_of_one_that_is_not(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    run("train", "--out", tmp_path, "--compile")
    plain = load_file(trained / "checkpoint" / "model.safetensors")
    compiled = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert plain.keys() == compiled.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, atol=1e-4, rtol=1e-3)


def test_tensors_are_written_as_the_library_writes_them(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    tensors = {
        "a": torch.randn(3, 5),
        "scalar": torch.tensor(2.0),
        "half": torch.randn(7).bfloat16(),
        "turned": torch.arange(6).view(2, 3).T,
        "none": torch.empty(0, 4),
    }
    code["runtime.checkpoint"].write_tensors(tmp_path / "x.safetensors", tensors)
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
