"""Two processes train what one would, whatever the family, and go on from where they stopped."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, spec_paths, write_proxy
from helpers.plain_desk import PlainDesk
from helpers.processes import run_in_turn
from safetensors.torch import load_file

from metagen import families
from metagen.package.code import runtime_files

SPECS = spec_paths()
MODES = ("ddp", "fsdp")
IN_CI = ("resnet", "latent_unet")
OPTIONS = (
    *("--batch-size", "8", "--schedule-steps", "8", "--eval-every", "3", "--threads", "1"),
    # A small rate, so that differences of rounding do not grow within six steps.
    *("--learning-rate", "1e-4"),
)
# A contrast is with the samples of all processes, and so with all of an update, not with its half.
CONTRASTS = {n for n in SPECS if "code/runtime/gather.py" in runtime_files(families.named(n))}


def marked(name: str) -> Any:
    marks = (pytest.mark.slow, pytest.mark.ci) if name in IN_CI else (pytest.mark.slow,)
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="module", params=map(marked, SPECS))
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the `code/` of a family; nothing is hidden that is drawn for a batch as a whole."""
    code = write_proxy(PlainDesk.of(SPECS[name]), tmp_path_factory.mktemp(name))
    config = json.loads((code / "config.json").read_text())
    if "token_drop" in config["proxy"]["train"]:
        config["proxy"]["train"]["token_drop"] = 0
    if name in CONTRASTS and "dropout" in config["proxy"]["model"]:
        # One process passes the whole update at once, and so draws once what two draw apart.
        config["proxy"]["model"]["dropout"] = 0.0
    (code / "config.json").write_text(json.dumps(config))
    return code


def parts(name: str) -> tuple[str, str]:
    """Return the option by which one process passes as much at once as each of two does."""
    return "--grad-accum", "1" if name in CONTRASTS else "2"


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def curve(out: Path) -> list[float]:
    kinds = ("train_loss", "grad_norm", "val_loss")
    return [row[kind] for row in rows(out) for kind in kinds if row[kind] is not None]


def statistics(out: Path) -> dict[str, torch.Tensor]:
    """Return the running statistics of a checkpoint; most models keep none."""
    tensors = load_file(out / "checkpoint" / "model.safetensors")
    return {key: tensor for key, tensor in tensors.items() if "running_" in key}


def halves(training: ModuleType) -> Callable[..., list[Callable[[], Any]]]:
    """Return `Run.parts` of one process that is in each part what the process of that part is.

    It draws what that one draws. Of running statistics only the first process's are kept.
    """
    whole = training.Run.parts

    def parts_of(run: Any, step: int) -> list[Callable[[], Any]]:
        def half(rank: int, part: Callable[[], Any]) -> Any:
            training.be_random_at(run.config.seed, step, rank)
            kept = [buffer.clone() for buffer in run.module.buffers()] if rank else []
            result = part()
            for buffer, value in zip(run.module.buffers(), kept, strict=rank > 0):
                buffer.data.copy_(value)
            return result

        return [functools.partial(half, rank, part) for rank, part in enumerate(whole(run, step))]

    return parts_of


@pytest.fixture(scope="module")
def alone(name: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train six steps in this process, which saves its start."""
    out = tmp_path_factory.mktemp("alone")
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with modules_of(folder) as code, pytest.MonkeyPatch.context() as patch:
        training = importlib.import_module("runtime.training")
        patch.setattr(training.Run, "parts", halves(training))
        line = ["train.py", "--out", str(out), "--steps", "6", *OPTIONS, *parts(name)]
        patch.setattr(sys, "argv", line)
        code["train"].main()
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
    return out


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_follow_the_curve_of_one_and_resume_bit_for_bit(
    name: str, folder: Path, alone: Path, tmp_path: Path, mode: str
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    shared = [*OPTIONS, *parts(name), "--parallel", mode]
    run_in_turn(
        folder,
        ["train.py", "--out", str(straight), "--steps", "6", *shared],
        ["train.py", "--out", str(resumed), "--steps", "3", *shared],
        ["train.py", "--out", str(resumed), "--steps", "6", *shared, "--resume"],
    )
    assert [row["step"] for row in rows(straight)] == list(range(1, 7))
    assert curve(straight) == pytest.approx(curve(alone), rel=1e-4)
    assert curve(resumed) == curve(straight)
    for file in ("model.safetensors", "optimizer/state.safetensors"):
        one, two = (load_file(out / "checkpoint" / file) for out in (straight, resumed))
        assert one.keys() == two.keys()
        assert [key for key in one if not one[key].equal(two[key])] == []
    found, wanted = (statistics(out) for out in (straight, alone))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
