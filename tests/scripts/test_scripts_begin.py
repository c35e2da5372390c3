"""A run that starts from weights, what a kill leaves of a checkpoint, and who may write it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.generated import Run, same_checkpoint
from safetensors.torch import load_file, save_file

Code = dict[str, ModuleType]


def state_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "checkpoint" / "state.json").read_text())


def first_loss(out: Path) -> float:
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["train_loss"]


def test_a_run_starts_from_weights_and_records_which(
    run: Run, code: Code, trained: Path, tmp_path: Path
) -> None:
    begin = ("--init-from", trained / "checkpoint", "--schedule-steps", 4)
    run("train", "--out", tmp_path / "whole", *begin, "--steps", 4)
    assert first_loss(tmp_path / "whole") < first_loss(trained)
    assert state_of(trained)["init_from"] is None
    weights = (trained / "checkpoint/model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    assert state_of(tmp_path / "whole")["init_from"] == digest
    assert state_of(tmp_path / "whole")["step"] == 4

    run("train", "--out", tmp_path / "cut", *begin, "--steps", 2)
    run("train", "--out", tmp_path / "cut", "--resume", "--steps", 4)
    assert same_checkpoint(tmp_path / "whole/checkpoint", tmp_path / "cut/checkpoint")
    assert state_of(tmp_path / "cut") == state_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--init-from", "{trained}", "--resume"], "give one of them"),
        (["--init-from", "{trained}", "--checkpoint", "{trained}"], "which it starts from"),
        (["--init-from", "{nothing}"], "has no checkpoint"),
        (["--init-from", "{other}"], "was made with d_model = 64, but this run has 32"),
        (["--init-from", "{adapter}"], "an adapter without its model"),
        (["--init-from", "{pickle}"], "its weights in a pickle"),
        (["--checkpoint", "{foreign}"], "weights that train.py did not write"),
    ],
)
def test_a_start_that_cannot_work_is_one_sentence(
    run: Run, trained: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    folders = {name: tmp_path / name for name in ("nothing", "adapter", "pickle", "foreign")}
    for folder in folders.values():
        folder.mkdir()
    (folders["adapter"] / "adapter_model.safetensors").touch()
    (folders["pickle"] / "pytorch_model.bin").touch()
    save_file({"a": torch.zeros(1)}, folders["foreign"] / "model.safetensors")
    other = shutil.copytree(trained / "checkpoint", tmp_path / "other")
    config = json.loads((other / "config.json").read_text()) | {"d_model": 64}
    (other / "config.json").write_text(json.dumps(config))
    folders |= {"trained": trained / "checkpoint", "other": other}
    line = [option.format(**folders) for option in options]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert words in run("train", "--out", tmp_path / "out", *line, status=2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "out").exists()


def test_other_names_of_the_outputs_are_said(
    code: Code, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, folder = code["model"], trained / "checkpoint"
    with torch.device("meta"):
        outline = module.Model(module.Config())
    begun = SimpleNamespace(outline=outline, job=SimpleNamespace(entries={"id2label": {"0": "a"}}))
    config = folder / "config.json"
    kept = config.read_text()
    for saved, said in (({"0": "b"}, True), ({"0": "a"}, False)):
        config.write_text(json.dumps(json.loads(kept) | {"id2label": saved}))
        code["runtime.training"].Run._check_begin(begun, folder)
        assert ("another entry id2label" in capsys.readouterr().err) == said
    config.write_text(kept)


@pytest.fixture
def network(code: Code, trained: Path) -> Callable[[Path], Any]:
    module = code["model"]
    return lambda path: code["runtime.weights"].load_model(
        lambda: module.Model(module.Config()), path
    )


def test_weights_in_16_bits_in_parts_and_saved_twice_are_taken(
    network: Callable[[Path], Any],
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors = load_file(trained / "checkpoint/model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    names = list(tensors)
    table = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(table.values()):
        some = {n: tensors[n].bfloat16() for n in names if table[n] == file}
        save_file(some, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": table}))
    shutil.copy(trained / "checkpoint/config.json", tmp_path)
    state = network(tmp_path).state_dict()
    assert "weights in bfloat16; they are converted to float32" in capsys.readouterr().err
    own = network(trained / "checkpoint").state_dict()
    for name, tensor in own.items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.bfloat16().float())

    for wrong in ({}, {"weight_map": {"a": "../x.safetensors"}}, {"weight_map": ["a"]}):
        index.write_text(json.dumps(wrong))
        with pytest.raises(SystemExit):
            network(tmp_path)
        assert "to a file in the same folder" in capsys.readouterr().err


LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, None),
        ({"rope_theta": 10000.0, "rope_scaling": None}, None),
        ({"rope_theta": 5.0, "rope_scaling": None}, "rope_theta = 5.0"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type = yarn"),
        ({"rope_theta": 1e4, "rope_scaling": {"rope_type": "llama3"}}, "rope_type = llama3"),
        ({"num_attention_heads": 8, "rope_theta": 1e4}, "num_attention_heads = 8"),
        ({"model_type": "gemma", "rope_theta": 1e4}, "model_type = gemma"),
    ],
)
def test_a_config_of_transformers_alone_is_read_by_its_own_names(
    network: Callable[[Path], Any],
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    entries: dict[str, Any],
    words: str | None,
) -> None:
    shutil.copy(trained / "checkpoint/model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | entries))
    if words is None:
        network(tmp_path)
        return
    with pytest.raises(SystemExit):
        network(tmp_path)
    assert words in capsys.readouterr().err


# Kills


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


@pytest.fixture
def kill_at(code: Code, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Iterator[None]]:
    """Let the n-th touch of the disk by `save_checkpoint` end the program."""

    def arm(n: int) -> None:
        calls = itertools.count()

        def armed(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                if next(calls) == n:
                    raise Killed
                return function(*args, **options)

            return call

        for owner, name in (
            (code["runtime.checkpoint"], "write_tensors"),
            (code["runtime.checkpoint"].shutil, "rmtree"),
            (Path, "write_text"),
            (Path, "rename"),
            (Path, "mkdir"),
        ):
            monkeypatch.setattr(owner, name, armed(getattr(owner, name)))

    return arm


@pytest.mark.parametrize("moment", range(14))
def test_a_kill_leaves_a_checkpoint_of_one_step(
    code: Code,
    kill_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    moment: int,
) -> None:
    ours, folder = code["runtime.checkpoint"], tmp_path / "checkpoint"

    def save(step: int) -> None:
        tensors = {"a": torch.full((3,), float(step))}
        state = {"step": step, "init_from": None}
        texts = {"state.json": json.dumps(state), "config.json": str(step)}
        files = dict.fromkeys(("model.safetensors", "optimizer/state.safetensors"), tensors)
        ours.save_checkpoint(folder, files, texts, step)

    save(1)
    kill_at(moment)
    with pytest.raises(Killed):
        save(2)
    monkeypatch.undo()
    step = ours.saved_state(ours.find_checkpoint(folder))["step"]
    assert step == (2 if moment == 13 else 1)
    assert (folder / "config.json").read_text() == str(step)
    for name in ("model.safetensors", "optimizer/state.safetensors"):
        assert load_file(folder / name)["a"].tolist() == [step] * 3
    save(3)
    assert ours.saved_step(folder) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_model_and_an_optimizer_of_two_steps_are_not_mixed(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    run("train", "--out", tmp_path, "--steps", 3, "--schedule-steps", 6)
    folder, other = tmp_path / "checkpoint", trained / "checkpoint"
    assert [path.name for path in folder.glob("*.safetensors")] == ["model.safetensors"]
    for name in ("model.safetensors", "optimizer/state.safetensors"):
        kept = (folder / name).read_bytes()
        shutil.copy(other / name, folder / name)
        error = run("train", "--out", tmp_path, "--resume", status=2)
        assert f"{name} was not saved at step 3" in error
        (folder / name).write_bytes(kept)
    (folder / "state.json").unlink()
    assert "start a new run from these weights" in run(
        "train", "--out", tmp_path, "--resume", status=2
    )


def test_a_signal_between_the_parts_of_a_step_saves_the_last_whole_one(
    run: Run, code: Code, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, passed = code["runtime.training"].Run._loss, itertools.count()

    def interrupted(self: Any, batch: Any) -> Any:
        # Two parts of two steps are four passes, so the signal comes in the third step.
        if next(passed) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, batch)

    options = ("--grad-accum", 2, "--eval-every", 6)
    with monkeypatch.context() as patch:
        patch.setattr(code["runtime.training"].Run, "_loss", interrupted)
        error = run("train", "--out", tmp_path / "cut", *options, status=128 + signal.SIGTERM)
    assert "stopped and saved at step 2: continue with --resume." in error
    assert next(passed) == 5
    assert state_of(tmp_path / "cut")["step"] == 2
    run("train", "--out", tmp_path / "cut", "--resume", *options)
    run("train", "--out", tmp_path / "whole", *options)
    assert same_checkpoint(tmp_path / "cut/checkpoint", tmp_path / "whole/checkpoint")


def test_an_update_that_is_broken_off_changes_nothing(code: Code) -> None:
    layer = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    parts = [lambda: (layer(torch.randn(4, 3)).mean(), 4)] * 2
    update = code["runtime.optimization"].update
    assert update(layer, [optimizer], parts, 1.0, 1.0, lambda: True) is None
    assert all(torch.equal(before[name], each) for name, each in layer.state_dict().items())


def test_a_dry_run_passes_one_part_of_a_step(
    run: Run, code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, passed = code["runtime.training"].Run._loss, []

    def counted(self: Any, batch: Any) -> Any:
        passed.append(len(batch[0]))
        return whole(self, batch)

    monkeypatch.setattr(code["runtime.training"].Run, "_loss", counted)
    monkeypatch.setattr(code["runtime.training"], "say", lambda line: passed.append(line))
    run("train", "--out", tmp_path / "out", "--dry-run", "--grad-accum", 4)
    assert "the dry run passes 1 of the 4 parts of a step." in passed
    assert [each for each in passed if isinstance(each, int)] == [1, 1]


# Who may write


def test_copies_that_a_person_makes_of_a_checkpoint_are_kept(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    for name in ("checkpoint", "checkpoint.old", "checkpoint.new", "checkpoint.bak"):
        shutil.copytree(trained / "checkpoint", tmp_path / name)
    run("train", "--out", tmp_path, "--resume", "--steps", 7, "--schedule-steps", 6)
    assert state_of(tmp_path)["step"] == 7
    for name in ("checkpoint.old", "checkpoint.new", "checkpoint.bak"):
        assert same_checkpoint(tmp_path / name, trained / "checkpoint")


def test_a_file_of_a_person_in_a_checkpoint_is_not_removed(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    (folder / "README.md").write_text("mine")
    for options in (("--resume", "--steps", 7, "--schedule-steps", 6), ()):
        error = run("train", "--out", tmp_path, *options, status=2)
        assert "has the file README.md, which the next checkpoint would remove" in error
    assert (folder / "README.md").read_text() == "mine"


def test_two_trainings_in_one_folder_are_one_sentence(run: Run, code: Code, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    with code["runtime.lock"].locked([out / "checkpoint"]):
        for place in (out, tmp_path / "out" / ".." / "out"):
            assert "another training uses" in run("train", "--out", place, status=2)
        options = ("--out", elsewhere, "--checkpoint", out / "checkpoint")
        assert "another training uses" in run("train", *options, status=2)
        run("train", "--out", out, "--dry-run")
        run("train", "--out", elsewhere, "--steps", 1)
    assert not out.exists()
    run("train", "--out", out, "--steps", 1)
    assert {path.name for path in out.iterdir()} == {"checkpoint", "metrics.jsonl", "run.json"}


def test_a_lock_of_a_killed_training_is_free_and_a_link_is_not_followed(
    code: Code, tmp_path: Path
) -> None:
    lock = tmp_path / ".checkpoint.train-lock"
    lock.write_text("left by a kill")
    with code["runtime.lock"].locked([tmp_path / "checkpoint"]):
        assert lock.is_file()
    assert not lock.exists()
    (tmp_path / "precious").write_text("x")
    lock.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), code["runtime.lock"].locked([tmp_path / "checkpoint"]):
        raise AssertionError("the lock is a link")
    assert (tmp_path / "precious").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "steps", "kept"),
    [
        ('{"step": 1}\n{"step": 2}\n{"st', 3, 2),
        ('{"step": 1}\n{"step": 2}\n{"step": 3}', 3, 2),
        ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', 2, 2),
        ("", 3, 0),
    ],
)
def test_a_line_that_a_kill_cut_short_is_not_joined_with_the_next(
    code: Code, tmp_path: Path, text: str, steps: int, kept: int
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    metrics = code["runtime.metrics"].Metrics(tmp_path, steps)
    metrics.write(steps + 1, {})
    metrics.close()
    rows = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert rows == [*range(1, kept + 1), steps + 1]
