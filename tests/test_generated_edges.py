"""What people run into with inference, evaluation and data: a sentence, and exit status 2."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.generated import TINY, modules, write_package
from safetensors.torch import load_file, save_file

Stop = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    threads = torch.get_num_threads()
    with modules(folder) as found:
        yield found
    torch.set_num_threads(threads)


@pytest.fixture
def checkpoint(code: dict[str, ModuleType], tmp_path: Path) -> Path:
    """A checkpoint as train.py writes it, of random weights."""
    module, folder = code["model"], tmp_path / "checkpoint"
    torch.manual_seed(0)
    model = module.Model(module.Config())
    folder.mkdir()
    weights = {model.checkpoint_name(n): p.detach() for n, p in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = TINY["model"] | model.checkpoint_config()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "state.json").write_text('{"step": 3}')
    return folder


@pytest.fixture
def script(
    code: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Stop:
    """Run a script through its own `run`; return stderr when it must stop, else stdout."""

    def command(name: str, *options: object, status: int = 0) -> str:
        line = [f"{name}.py", "--threads", "1", *options]
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        capsys.readouterr()
        if status == 0:
            code[name].run(code[name].main)
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stop:
            code[name].run(code[name].main)
        assert stop.value.code == status
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        sentence = printed.err.strip().splitlines()[-1]
        assert sentence.startswith(f"{name}.py: ")
        assert printed.out in ("", "x")  # at most the prompt
        return sentence

    return command


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": [1, 2, 3]}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def torch_saved(path: Path) -> None:
    torch.save({"model": torch.zeros(2)}, path)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(content), None)[1]


@pytest.mark.parametrize("name", ["infer", "eval"])
@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("model.safetensors", pickled, "cannot be read"),
        ("model.safetensors", torch_saved, "cannot be read"),
        ("model.safetensors", cut, "cannot be read"),
        ("model.safetensors", text(""), "cannot be read"),
        ("model.safetensors", Path.unlink, "has no checkpoint"),
        ("config.json", Path.unlink, "config.json does not exist"),
        ("config.json", text("{"), "cannot be read as JSON"),
        ("config.json", text("[1]"), "must hold a JSON object"),
        ("config.json", text("[" * 100_000), "cannot be read as JSON"),
        ("config.json", text("{}"), "config.json has no d_model"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(
    script: Stop, checkpoint: Path, name: str, file: str, damage: Any, words: str
) -> None:
    damage(checkpoint / file)
    prompt = ("--prompt", "x") if name == "infer" else ()
    assert words in script(name, "--checkpoint", checkpoint, *prompt, status=2)


@pytest.mark.parametrize("name", ["infer", "eval"])
def test_tensors_of_another_shape_or_name_are_refused(
    script: Stop, checkpoint: Path, name: str
) -> None:
    path = checkpoint / "model.safetensors"
    tensors, prompt = load_file(path), ("--prompt", "x") if name == "infer" else ()
    norm = "model.norm.weight"
    for changed, words in (
        ({f"module.{key}": t for key, t in tensors.items()}, "lacks the tensor model.embed_tokens"),
        (tensors | {norm: torch.zeros(64)}, f"{norm} in the shape [64], and this model in [32]"),
        ({key: t for key, t in tensors.items() if key != norm}, f"lacks the tensor {norm}, unlike"),
        (tensors | {"model.bias": torch.zeros(1)}, "has the tensor model.bias, unlike"),
        (tensors | {norm: torch.zeros(32).int()}, f"{norm} as int32, and this model as float32"),
    ):
        save_file(changed, path)
        assert words in script(name, "--checkpoint", checkpoint, *prompt, status=2)


def test_a_checkpoint_that_is_a_file_is_refused(script: Stop, checkpoint: Path) -> None:
    options = ("--checkpoint", checkpoint / "model.safetensors", "--prompt", "x")
    assert "has no checkpoint" in script("infer", *options, status=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prompt", ""), "the prompt has 0 tokens"),
        (("--prompt", "y" * 60), "at most 64"),
        (("--prompt", "x", "--max-new-tokens", "64"), "at most 64"),
        (("--prompt", "x", "--temperature", "nan"), "must be a number of 0 or more"),
        (("--prompt", "x", "--temperature", "inf"), "must be a number of 0 or more"),
        (("--prompt", "x", "--temperature", "-1"), "--temperature must be a number of 0 or"),
        (("--prompt", "x", "--top-k", "-1"), "--top-k must be a whole number of 0 or more"),
        (("--prompt", "x", "--top-p", "nan"), "--top-p must be a number above 0 and at most 1"),
        (("--prompt", b"\xff\xfe".decode(errors="surrogateescape")), "not UTF-8"),
    ],
)
def test_what_infer_cannot_do_is_one_sentence(
    script: Stop, checkpoint: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in script("infer", "--checkpoint", checkpoint, *options, status=2)


@pytest.mark.parametrize("temperature", ["1e-300", "1e-9", "1e9"])
def test_any_temperature_draws(script: Stop, checkpoint: Path, temperature: str) -> None:
    options = ("--checkpoint", checkpoint, "--prompt", "x", "--temperature", temperature)
    assert script("infer", *options).startswith("x")


@pytest.mark.parametrize(("weights", "cache"), [(16, 8), (8, 16), (4, 8)])
def test_fewer_bits_still_continue(
    script: Stop, checkpoint: Path, weights: int, cache: int
) -> None:
    options = ("--checkpoint", checkpoint, "--prompt", "x", "--temperature", 0)
    bits = ("--weight-bits", weights, "--cache-bits", cache)
    assert script("infer", *options, *bits).startswith("x")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_full_memory_is_one_sentence(
    script: Stop,
    code: dict[str, ModuleType],
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(code["infer"], "load_share", full)
    options = ("--checkpoint", checkpoint, "--prompt", "x")
    assert "memory is full" in script("infer", *options, status=2)


def test_eval_tells_too_little_text(script: Stop, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("x" * 10)
    options = ("--checkpoint", checkpoint, "--data", tmp_path / "short.txt")
    assert "too few tokens" in script("eval", *options, status=2)


@pytest.mark.parametrize("content", ["", "[]", '{"proxy": {}}', '{"proxy": {"model": {"x": 1}}}'])
def test_damaged_settings_are_one_sentence(
    script: Stop, folder: Path, checkpoint: Path, content: str
) -> None:
    path = folder / "config.json"
    good = path.read_text()
    path.write_text(content)
    try:
        sentence = script("infer", "--checkpoint", checkpoint, "--prompt", "x", status=2)
    finally:
        path.write_text(good)
    assert str(path) in sentence


def test_a_package_runs_without_what_made_it(folder: Path, checkpoint: Path) -> None:
    """In a process that can import neither metagen nor this repository."""
    blocked = "import sys; sys.modules['metagen'] = None; import runpy; sys.argv = sys.argv[1:]; "
    start = [sys.executable, "-c", blocked + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    options = ["--checkpoint", str(checkpoint), "--prompt", "x", "--threads", "1"]
    command = [*start, str(folder / "infer.py"), *options]
    done = subprocess.run(
        command, cwd=checkpoint, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("x")


@pytest.mark.parametrize("name", ["model", "data", "eval", "infer"])
def test_a_file_begins_with_what_it_is_and_how_it_runs(folder: Path, name: str) -> None:
    docstring = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text()))
    assert docstring is not None
    first, *rest = docstring.splitlines()
    assert first.endswith(".")
    if name != "model":
        assert sum(line.strip().startswith(f"python {name}.py") for line in rest) >= 2


def test_the_count_is_that_of_the_built_model(
    code: dict[str, ModuleType], checkpoint: Path
) -> None:
    stored = load_file(checkpoint / "model.safetensors")
    model = code["model"].Model(code["model"].Config())
    assert model.num_params() == sum(tensor.numel() for tensor in stored.values())


def test_a_copy_of_a_checkpoint_infers_the_same(
    script: Stop, checkpoint: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    options = ("--prompt", "x", "--seed", 5)
    first = script("infer", "--checkpoint", checkpoint, *options)
    assert script("infer", "--checkpoint", copy, *options) == first
