"""Several processes train what one would: the same curve, one checkpoint, one clear end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import processes
from helpers.generated import TINY, modules, write_package
from safetensors.torch import load_file

MODES = ("ddp", "fsdp")
SLOW = (pytest.mark.slow,)
IN_CI = (pytest.mark.slow, pytest.mark.ci)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_package(tmp_path_factory.mktemp("code"))
    text = "".join(f"{n} bottles of water stand on the wall.\n" for n in range(150))
    (folder / "text.txt").write_text(text)
    return folder


def start(
    folder: Path, out: Path, *options: object, script: str = "train.py"
) -> list[subprocess.Popen[str]]:
    shared = (script, "--data", "text.txt", "--threads", 1, "--out", out)
    return processes.start(folder, *shared, *options)


def train(folder: Path, out: Path, *options: object) -> list[str]:
    """Train to the end in two processes and return what each reports."""
    return [errors for _, errors in processes.finish(start(folder, out, *options))]


def starts(out: Path) -> list[dict]:
    return json.loads((out / "run.json").read_text())["starts"]


def curve(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [x for row in rows for x in (row["train_loss"], row["val_loss"]) if x is not None]


@pytest.fixture(scope="module")
def train_alone(folder: Path) -> Iterator[Callable[..., None]]:
    """Train in this process, which saves its start."""
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with modules(folder) as code, pytest.MonkeyPatch.context() as patch:

        def command(out: Path, *options: object) -> None:
            line = ("train.py", "--data", folder / "text.txt", "--threads", 1, "--out", out)
            patch.setattr(sys, "argv", [str(part) for part in (*line, *options)])
            code["train"].main()

        yield command
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(train_alone: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out folder of one process: three steps, whose checkpoint is kept, and then all six."""
    out = tmp_path_factory.mktemp("alone")
    train_alone(out, "--checkpoint", out / "half", "--steps", 3, "--schedule-steps", 6)
    (out / "half-curve.jsonl").write_bytes((out / "metrics.jsonl").read_bytes())
    train_alone(out)
    return out


def same_tensors(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "optimizer/state.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys()
        for key, tensor in a.items():
            torch.testing.assert_close(b[key], tensor, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_follow_the_curve_of_one_which_can_go_on_alone(
    folder: Path, alone: Path, train_alone: Callable[..., None], tmp_path: Path, mode: str
) -> None:
    said = train(folder, tmp_path, "--parallel", mode, "--steps", 3, "--schedule-steps", 6)
    assert "3 steps done" in said[0]
    assert not said[1]
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "checkpoint", "run.json"}
    assert curve(tmp_path) == pytest.approx(curve(alone)[:4], rel=1e-5)
    same_tensors(alone / "half", tmp_path / "checkpoint")
    ((entry,), (single, _)) = (
        json.loads((out / "run.json").read_text())["starts"] for out in (tmp_path, alone)
    )
    assert (entry["devices"]["count"], entry["parallel"]) == (2, mode)
    assert (entry["units"], entry["data"]) == (single["units"], single["data"])
    assert entry["command"].startswith("torchrun --nproc-per-node 2 train.py")
    train_alone(tmp_path, "--resume")
    assert curve(tmp_path) == pytest.approx(curve(alone), rel=1e-5)
    same_tensors(alone / "checkpoint", tmp_path / "checkpoint")


@pytest.mark.parametrize(
    "mode", [pytest.param("ddp", marks=IN_CI), pytest.param("fsdp", marks=SLOW)]
)
def test_two_processes_go_on_from_the_checkpoint_of_one(
    folder: Path, alone: Path, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "metrics.jsonl").write_bytes((alone / "half-curve.jsonl").read_bytes())
    (tmp_path / "checkpoint").symlink_to(alone / "half")
    out = ("--checkpoint", tmp_path / "checkpoint", "--resume", "--grad-accum", 4)
    train(folder, tmp_path, *out, "--parallel", mode)
    assert curve(tmp_path) == pytest.approx(curve(alone), rel=1e-5)
    same_tensors(alone / "checkpoint", tmp_path / "checkpoint")


@pytest.mark.slow
@pytest.mark.ci
def test_an_update_that_processes_cannot_share_is_refused_once_each(
    folder: Path, tmp_path: Path
) -> None:
    (process,) = start(folder, tmp_path, "--batch-size", 3, "--grad-accum", 3)[1:]
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == "train.py (process 1): 3 samples cannot be divided into 2 equal parts.\n"


def torchrun(folder: Path, out: Path, *options: str) -> subprocess.Popen:
    """Start the full command line, and wait for the first step."""
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    line += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    script = ["train.py", "--data", "text.txt", "--threads", "1", "--out", str(out), *options]
    process = subprocess.Popen(
        [*line, *script],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(1200):
        if (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size:
            return process
        time.sleep(0.05)
    raise AssertionError("no step was taken")


def workers(process: subprocess.Popen) -> list[int]:
    """Return the processes that torchrun started, by their number."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranked = {}
    for child in map(int, children):
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranked.update({v: child for v in variables if v.startswith(b"RANK=")})
    return [ranked[key] for key in sorted(ranked)]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("mode", MODES)
def test_a_dead_process_ends_the_job(folder: Path, tmp_path: Path, mode: str) -> None:
    process = torchrun(folder, tmp_path, "--steps", "100000", "--parallel", mode)
    os.kill(workers(process)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)  # the others would wait half an hour for it
    assert process.returncode != 0
    assert "train.py: another process has ended" in errors
    assert "SIGKILL" in errors


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_once_and_ends_the_job(
    folder: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    process = torchrun(folder, tmp_path, "--steps", "100000")
    process.send_signal(kind)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count(": continue with --resume") == 1
    step = json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"]
    assert step == len((tmp_path / "metrics.jsonl").read_text().splitlines())
    train(folder, tmp_path, "--resume", "--steps", step + 1, "--schedule-steps", 100000)


def served(folder: Path, out: Path, script: str, *options: object) -> str:
    """Return what a script prints in two processes, of which the first one prints."""
    (first, _), (second, _) = processes.finish(start(folder, out, *options, script=script))
    assert not second
    return first


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_two_processes_that_share_a_model_continue_a_text_as_one_does(
    folder: Path,
    alone: Path,
    bits: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ("--prompt", "7 bottles", "--temperature", 0, "--weight-bits", bits)
    together = served(folder, alone, "infer.py", *options)
    line = ("infer.py", "--threads", 1, "--out", alone, *options)
    with modules(folder) as code:
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        code["infer"].main()
    assert together == capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_that_share_a_model_score_as_one_does(
    folder: Path,
    alone: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = json.loads(served(folder, alone, "eval.py"))
    with modules(folder) as code:
        line = ("eval.py", "--data", folder / "text.txt", "--threads", 1, "--out", alone)
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        code["eval"].main()
    single = json.loads(capsys.readouterr().out)
    for one, two in zip(single["metrics"], together["metrics"], strict=True):
        assert two["value"] == pytest.approx(one["value"], rel=1e-5)


SHARING = """
import sys, torch
from pathlib import Path
from model import Config, Model
from runtime.distributed import processes
from runtime.shares import load_share
from runtime.weights import load_model

cpu, build, folder = torch.device("cpu"), lambda: Model(Config()), Path(sys.argv[-1])
with processes(cpu), torch.inference_mode():
    tokens = torch.arange(40)[None]
    model, cache = load_share(build, folder, cpu), None
    held = sum(getattr(p, "_local_tensor", p).numel() for p in model.parameters())
    cache = model.new_cache(1, 40, 2)
    parts = [model(part, cache=cache) for part in tokens.split([30, 1, 9], dim=1)]
    single = load_model(build, folder)
    torch.testing.assert_close(torch.cat(parts, 1), single(tokens), atol=1e-5, rtol=1e-5)
    norms = sum(p.numel() for p in single.parameters() if p.dim() == 1)
    assert held == (single.num_params() + norms) // 2, held
"""


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_hold_half_a_model_with_two_tables_each(tmp_path: Path) -> None:
    sizes = TINY | {"model": TINY["model"] | {"tie_embeddings": False}}
    folder = write_package(tmp_path, sizes)
    (folder / "share.py").write_text(SHARING)
    with modules(folder) as code:
        model = code["model"].Model(code["model"].Config())
        weights = {model.checkpoint_name(name): p for name, p in model.named_parameters()}
        texts = {"config.json": json.dumps(vars(model.config))}
        save = sys.modules["runtime.checkpoint"].save_checkpoint
        save(tmp_path / "checkpoint", {"model.safetensors": weights}, texts, 0)
    processes.finish(start(folder, tmp_path / "checkpoint", script="share.py"))


def test_heads_that_processes_cannot_share_are_refused_in_words(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with modules(folder) as code:
        monkeypatch.setenv("WORLD_SIZE", "4")
        build = lambda: code["model"].Model(code["model"].Config())  # noqa: E731
        with pytest.raises(SystemExit):
            sys.modules["runtime.shares"].load_share(
                build, alone / "checkpoint", torch.device("cpu")
            )
    assert "4 processes cannot share n_kv_heads = 2 equally" in capsys.readouterr().err
