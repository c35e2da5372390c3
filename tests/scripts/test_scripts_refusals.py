"""What cannot work ends a generated script in one sentence, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.generated import Run, same_checkpoint


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA"), "memory is full: use"),
        (MemoryError(), "memory is full: use"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
            "memory is full: use",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "x: No space left on device."),
    ],
)
def test_a_machine_that_is_full_ends_a_script_in_one_sentence(
    code: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    words: str,
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        code["train"].run(main)
    assert stopped.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert words in sentence


def test_a_reader_that_leaves_early_gets_no_error(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    data = subprocess.run(
        [sys.executable, "data.py"], cwd=folder, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (data.returncode, data.stderr) == (1, b"")


def test_an_error_of_ours_is_not_dressed_up(code: dict[str, ModuleType]) -> None:
    def main() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        code["train"].run(main)


def test_a_missing_tensorboard_is_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    error = run("train", "--out", tmp_path, "--report-to", "tensorboard", status=2)
    assert error.endswith("--report-to tensorboard needs a library: pip install tensorboard.\n")


def test_a_missing_compiler_is_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(function: object) -> None:
        raise RuntimeError("no C++ compiler was found\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    error = run("train", "--out", tmp_path, "--compile", status=2)
    assert "does not work here (no C++ compiler was found): omit --compile." in error


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint(
    run: Run,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: dict[str, ModuleType],
) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    monkeypatch.setattr(code["runtime.training"], "update", lambda *_: (float("nan"), 1.0))
    error = run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)
    assert "the loss is nan" in error
    assert "at step 7: lower --learning-rate" in error
    assert same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("train", ["--data", "missing.txt"], "missing.txt does not exist"),
        ("train", ["--data", "/dev/null"], "null is neither a text file"),
        ("train", ["--checkpoint", "{full}"], "has other files"),
        ("train", ["--resume"], "has no checkpoint"),
        ("train", ["--grad-accum", "3"], "4 samples cannot be divided into 3 equal parts"),
        ("train", ["--data", "{short}"], "too few tokens"),
        ("train", ["--data", "{binary}"], "cannot be read as UTF-8"),
        ("train", ["--data", "{jsonl}"], 'lines.jsonl:2 is not a JSON object with a "text"'),
        ("train", ["--learning-rate", "1e30", "--warmup-steps", "0"], "lower --learning-rate"),
        ("train", ["--learning-rate", "-1"], "--learning-rate must be a number above 0"),
        ("train", ["--learning-rate", "0"], "--learning-rate must be a number above 0"),
        ("train", ["--learning-rate", "nan"], "--learning-rate must be a number above 0"),
        ("train", ["--learning-rate", "inf"], "--learning-rate must be a number above 0"),
        ("train", ["--warmup-steps", "-1"], "--warmup-steps must be a whole number of 0 or more"),
        ("train", ["--seed", "-1"], "--seed must be a whole number"),
        ("train", ["--steps", "1" + "0" * 30], "--steps must be a whole number of 1 or more"),
        ("train", ["--batch-size", "1" + "0" * 18], "--batch-size must be a whole number"),
        ("eval", [], "has no checkpoint"),
        ("infer", ["--prompt", ""], "has no checkpoint"),
        ("infer", ["--prompt", "x", "--top-p", "0"], "--top-p must be a number above 0"),
    ],
)
def test_what_cannot_work_ends_in_one_sentence_and_status_2(
    run: Run, tmp_path: Path, name: str, options: list[str], words: str
) -> None:
    places = {
        "full": tmp_path / "full",
        "short": tmp_path / "short.txt",
        "binary": tmp_path / "binary.txt",
        "jsonl": tmp_path / "lines.jsonl",
    }
    places["full"].mkdir()
    (places["full"] / "thesis.txt").write_text("x")
    places["short"].write_text("x" * 20)
    places["binary"].write_bytes(b"\xff\x01\xfe" * 100)
    places["jsonl"].write_text('{"text": "a"}\n{"body": "b"}\n')
    filled = [option.format(**places) for option in options]
    error = run(name, "--out", tmp_path / "out", *filled, status=2)
    sentence = error.strip().splitlines()[-1]
    assert sentence.startswith(f"{name}.py: ")
    assert words in sentence
    assert (places["full"] / "thesis.txt").exists()
    assert not (tmp_path / "out" / "checkpoint").exists()


@pytest.mark.parametrize("name", ["eval", "infer"])
def test_a_checkpoint_of_another_model_is_refused(
    run: Run, trained: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"d_model": 64}))
    prompt = ("--prompt", "x") if name == "infer" else ()
    error = run(name, "--out", tmp_path, *prompt, status=2)
    assert "was made with d_model = 64, but this run has 32" in error


def test_a_resumed_run_must_be_the_same_run(run: Run, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    options = ("--out", tmp_path, "--resume", "--steps", 8)
    assert "train.seed = 42, but this run has 1" in run("train", *options, "--seed", 1, status=2)
    batch = run("train", *options, "--batch-size", 8, status=2)
    assert "train.batch_size = 4, but this run has 8" in batch
    done = run("train", "--out", tmp_path, "--resume", status=2)
    assert "is already at step 6" in done


@pytest.mark.parametrize("wrong", ["text", {"a": 6}])
@pytest.mark.parametrize(
    "field", ["step", "init_from", "train.steps", "train.seed", "data.seq_len", "sha256"]
)
def test_a_state_of_wrong_types_names_the_field(
    run: Run, trained: Path, tmp_path: Path, field: str, wrong: object
) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    state = json.loads((folder / "state.json").read_text())
    for changed in (state | {field: wrong}, {k: v for k, v in state.items() if k != field}):
        (folder / "state.json").write_text(json.dumps(changed))
        error = run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)
        assert field.removeprefix("train.") in error.splitlines()[-1]


def test_a_damaged_checkpoint_is_refused(run: Run, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    (folder / "model.safetensors").write_bytes(b"not tensors")
    assert "cannot be read" in run("eval", "--out", tmp_path, status=2)
    shutil.copy(trained / "checkpoint" / "model.safetensors", folder)
    for damaged, words in (
        (b"not tensors", "optimizer/state.safetensors cannot be read"),
        ((folder / "model.safetensors").read_bytes(), "belongs to another model"),
    ):
        (folder / "optimizer/state.safetensors").write_bytes(damaged)
        assert words in run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)


def test_a_model_that_cannot_fit_is_refused_before_it_is_allocated(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        code["runtime.device"].memory_table(10**14, 2 * 10**14, 1, torch.device("cpu"))
    assert "needs 1600000.0 GB" in capsys.readouterr().err


def test_no_checkpoint_is_unpickled(folder: Path) -> None:
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "pickle" not in text.replace("without pickle", "")
        assert "torch.load" not in text
