"""A tiny package, its modules, and what runs its scripts as a command line would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.generated import Run, modules, write_package


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with modules(folder) as found:
        yield found
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"{n} bottles of water stand on the wall.\n" for n in range(150)))
    return path


@pytest.fixture
def run(
    code: dict[str, ModuleType],
    text: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run a script as its command line would; return stdout, or stderr when it stops."""

    def command(name: str, *options: object, status: int | None = None) -> str:
        line = [f"{name}.py", "--threads", "1", "--data", text, *options]
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        capsys.readouterr()
        if status is None:
            code[name].main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stopped:
            code[name].main()
        assert stopped.value.code == status
        return capsys.readouterr().err

    return command


@pytest.fixture(scope="module")
def trained(
    code: dict[str, ModuleType], text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The out folder of an uninterrupted run of six steps."""
    out = tmp_path_factory.mktemp("run")
    argv, sys.argv = (
        sys.argv,
        ["train.py", "--threads", "1", "--data", str(text), "--out", str(out)],
    )
    code["train"].main()
    sys.argv = argv
    return out
