"""The benchmarks run: that of GPUs prints whole tables, and a row that fails leaves the others."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
# Commands, and not what they share.
SCRIPTS = sorted(p.name for p in BENCHMARKS.glob("*.py") if "__main__" in p.read_text())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("timed")


def _broken() -> NoReturn:
    raise ValueError("5 | 6 do not fit\nand more")


def _endless() -> NoReturn:
    while True:
        time.sleep(0.01)


def test_a_row_that_fails_or_takes_too_long_says_so_and_the_next_follows(
    timed: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("a", 9, _broken), ("b", 0.05, _endless), ("c", 9, lambda: ("1", "2"))]
    timed.table(("name", "x", "y"), rows, timed.Limit(60))
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "| a | not measured: 5 / 6 do not fit | - |",
        "| b | not measured: stopped after 0.05 s | - |",
        "| c | 1 | 2 |",
    ]


def test_no_row_begins_after_the_limit_of_all(timed: ModuleType) -> None:
    assert timed.guarded(_endless, 9, timed.Limit(0)) == ("not measured: no time is left",)
    assert timed.guarded(_endless, 9, timed.Limit(0.05))[0].startswith(
        "not measured: stopped after"
    )


def test_operations_of_training_leave_out_the_input_table(gpu: ModuleType) -> None:
    shape = {"n_layers": 2, "n_heads": 3, "head_dim": 5}
    run = SimpleNamespace(shape=shape, length=7)
    assert gpu.operations(run, 1000) == 6 * 1000 + 12 * 2 * 3 * 5 * 7


@pytest.mark.slow
@pytest.mark.ci
def test_a_toy_run_prints_a_finite_number_in_each_cell_that_a_cpu_can_measure() -> None:
    rows = _rows(_run("gpu.py", "--toy"))
    assert [row[0] for row in rows] == [
        *("training step", "generated", "generated, compiled", "transformers"),
        *("attention", "all 256 positions", "window of 16"),
        *("decoding", "16 bits", "16 bits, compiled"),
        *("8 bits", "8 bits, compiled", "4 bits", "4 bits, compiled"),
    ]
    head: list[str] = []
    for name, *cells in rows:
        if name in ("training step", "attention", "decoding"):
            head = cells
        elif name.endswith("compiled"):
            assert cells == ["not run (toy)", *["-"] * (len(head) - 1)]
        else:
            _check(name, dict(zip(head, cells, strict=True)))


def _check(name: str, cells: dict[str, str]) -> None:
    """Check a row that was measured: a CPU has no peak memory, and a kernel is a name."""
    assert cells.pop("peak memory", "not measured") == "not measured"
    assert "attention" in cells.pop("kernel", "attention")
    if name == "transformers":
        assert cells.pop("launch table") == "-"
    for text in cells.values():
        numbers = [float(n.replace(",", "")) for n in re.findall(r"[\d,.]+(?:e-?\d+)?", text)]
        assert numbers, text
        assert all(math.isfinite(number) and number > 0 for number in numbers), text


@pytest.mark.slow
def test_a_training_step_of_each_code_is_measured() -> None:
    small = {"d_model": 64, "n_layers": 1, "head_dim": 16, "d_ff": 64, "vocab_size": 64}
    code = f"import training as t; t.SHAPE.update({small | {'max_seq_len': 16}}); t.main()"
    rows = _rows(_run("-c", code, "--rounds", "1"))
    assert [row[0] for row in rows[1:]] == [
        *("generated", "generated, `--compile`", "transformers Llama"),
        *("nanoGPT style, the same model", "nanoGPT style, GPT-2's block"),
    ]
    assert all(float(cell.replace(",", "")) >= 0 for row in rows[1:] for cell in row[1:])


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_says_what_it_does(script: str) -> None:
    assert _run(script, "--help").startswith(f"usage: {script}")


def test_a_schedule_without_kills_is_work_dealt_to_who_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    scheduling = importlib.import_module("scheduling")
    quiet = scheduling.scheduled([2.0], 4, 10, 0.0, 600.0, 0)
    assert (quiet.trained, quiet.lost, quiet.worked, quiet.held, quiet.end) == (10, 0, 20, 24, 6)
    killed = scheduling.scheduled([2.0], 4, 10, 0.5, 600.0, 0)
    assert killed.trained > 10
    assert killed.worked == pytest.approx(20 + killed.lost)
    assert killed.end > scheduling.GRACE
    assert killed.worked <= killed.held < 4 * killed.end


def _run(script: str, *options: str) -> str:
    command = [sys.executable, script, *options]
    done = subprocess.run(command, cwd=BENCHMARKS, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _rows(out: str) -> list[list[str]]:
    lines = (line for line in out.splitlines() if line.startswith("| ") and "---" not in line)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
