"""Agents of generated code under test: their modules, their scripts, and one that has begun."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from helpers import agent_settings
from helpers.family_code import modules_of, write_code
from metagen.families.family import Family

Code = dict[str, ModuleType]
Run = Callable[..., str]
TRAINED = ("model", "optimizer/state", "optimizer/experience")  # files of a checkpoint


@contextmanager
def code_of(
    family: Family, sizes: dict[str, dict[str, Any]], factory: pytest.TempPathFactory
) -> Iterator[Code]:
    """Yield the modules of an agent of these sizes, with the environments of the tests."""
    agent_settings.register()
    with modules_of(write_code(factory.mktemp("code"), family, sizes)) as modules:
        yield modules


def runner(
    code: Code,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    *always: object,
) -> Run:
    """Return what runs a script by its name, with options, and returns what it prints.

    Args:
        code: The scripts.
        monkeypatch: Sets the command line.
        capsys: Holds what is printed.
        folder: Where the output folders are.
        always: Options of every run, before its own.
    """

    def started(name: str, *options: object, out: str = "out") -> str:
        line = [f"{name}.py", *map(str, (*always, *options))]
        monkeypatch.setattr("sys.argv", [*line, "--out", str(folder / out)])
        code[name].main()
        return capsys.readouterr().out

    return started


def pendulum(code: Code) -> tuple[Any, Any]:
    """Return an agent in the pendulum's environment, with a network, before the first update."""
    opened, model = sys.modules["runtime.environments"].opened, code["model"]
    config = code["train"].Config()
    agent = code["train"].Agent(config, opened("Pendulum-v1", model.Config()), model.Config(), [])
    network = model.Model(model.Config())
    agent.keep_best(network)
    agent.begin(network, torch.device("cpu"))
    agent.collect(network, 0)
    return agent, network


def trains_and_resumes(run: Run, folder: Path, steps: int, every: int) -> None:
    """Train in one go in `one` and in two in `two`, and require the same bytes of both."""
    halves = ("--schedule-steps", steps, "--eval-every", every)
    run("train", "--steps", steps, "--eval-every", every, out="one")
    run("train", "--steps", 7, *halves, out="two")
    run("train", "--steps", steps, *halves, "--resume", out="two")
    for file in TRAINED:
        one, two = (folder / out / "checkpoint" / f"{file}.safetensors" for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), file
