"""What the code of every family keeps: a stop costs nothing, results are JSON, nothing is stale."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.family_code import write_proxy
from helpers.generated import forget
from helpers.plain_desk import PlainDesk
from safetensors.torch import load_file

from metagen import families, paths
from metagen.spec import load

SPECS = {families.route(load(path).key): path for path in sorted(paths.specs().rglob("*.yaml"))}
STEPS = ("--schedule-steps", "8", "--threads", "1")


def test_every_family_has_a_spec() -> None:
    assert SPECS.keys() == families.FAMILIES.keys()


@pytest.fixture(scope="module", params=SPECS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_proxy(PlainDesk.of(SPECS[request.param]), tmp_path_factory.mktemp(request.param))


def run(folder: Path, name: str, *arguments: object, status: int = 0) -> str:
    """Run a script as its own program would be, in this process; return what it printed."""
    out, before, line = io.StringIO(), forget(), [f"{name}.py", *map(str, arguments)]
    ended = contextlib.nullcontext() if status == 0 else pytest.raises(SystemExit)
    with imports_from(folder, line), contextlib.redirect_stdout(out), ended as caught:
        runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")
    sys.modules.update(before)
    assert caught is None or caught.value.code == status
    return out.getvalue()


@contextlib.contextmanager
def imports_from(folder: Path, line: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = line
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.argv = before
        sys.path.remove(str(folder))
        forget()


@pytest.mark.slow
@pytest.mark.ci
def test_a_proxy_resumes_bit_for_bit_and_is_scored(folder: Path, tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    run(folder, "train", "--out", straight, "--steps", 6, *STEPS)
    run(folder, "train", "--out", resumed, "--steps", 3, *STEPS)
    run(folder, "train", "--out", resumed, "--steps", 6, *STEPS, "--resume")
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, two = (load_file(out / "checkpoint" / name) for out in (straight, resumed))
        assert one.keys() == two.keys()
        assert all(one[key].equal(two[key]) for key in one)
    report = json.loads(run(folder, "eval", "--out", straight, "--threads", 1))
    assert report["checkpoint_step"] == 6
    assert len(report["metrics"]) >= 2
    assert all(metric["baselines"] for metric in report["metrics"])
    assert report["n"] > 0
    assert len(report["sha256"]) == 64


@pytest.mark.slow
@pytest.mark.ci
def test_the_code_passes_mypy_strict(folder: Path) -> None:
    files = map(str, sorted(folder.rglob("*.py")))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_checkpoint_of_other_dimensions_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, "train", "--out", tmp_path, "--steps", 1, *STEPS)
    path = tmp_path / "checkpoint" / "config.json"
    kept = json.loads(path.read_text())
    field = next(key for key in kept if isinstance(kept[key], int))
    path.write_text(json.dumps({**kept, field: kept[field] + 1}))
    run(folder, "eval", "--out", tmp_path, status=2)
    assert f"was made with {field} = {kept[field] + 1}" in capsys.readouterr().err
