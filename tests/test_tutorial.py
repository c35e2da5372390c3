"""The tutorials' commands, run as they stand in one shell, from the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
TUTORIALS = REPOSITORY / "docs" / "tutorials"
FIRST, OWN, READING = (
    *("01_first_synthesis.md", "02_your_own_spec.md"),
    "03_reading_and_comparing.md",
)
INSTALL = "pip install -e '.[data]'"


def blocks(name: str) -> list[str]:
    text = (TUTORIALS / name).read_text()
    found = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block.strip() for block in found]


def told(name: str, folder: Path) -> str:
    """Return what the commands of a tutorial print, each of them successful."""
    for each in ("examples", "specs"):
        (folder / each).symlink_to(REPOSITORY / each)
    script = "\n".join(block for block in blocks(name) if block != INSTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_first_command_is_the_installation() -> None:
    assert blocks(FIRST)[0] == INSTALL


def test_each_tutorial_is_run() -> None:
    assert sorted(path.name for path in TUTORIALS.glob("*.md")) == [FIRST, OWN, READING]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(not shutil.which("latexmk"), reason="the tutorial makes a PDF")
def test_every_command_of_the_first_tutorial_works(tmp_path: Path) -> None:
    assert "0 tasks ran" in told(FIRST, tmp_path), "the second build had nothing to do"
    assert (tmp_path / "my_first_run" / "run-text_llm_8b" / "paper" / "main.pdf").is_file()


@pytest.mark.slow
@pytest.mark.ci
def test_a_violated_limit_is_mended_by_what_explain_says(tmp_path: Path) -> None:
    violated, _, mended = told(OWN, tmp_path).partition("exit status 3")
    assert "by estimate it exceeds throughput" in violated
    offered = re.search(r"to meet throughput: .*parameter_budget\.max (\S+),", violated)
    assert offered
    assert f"constraints.parameter_budget.max={offered[1]}" in "\n".join(blocks(OWN))
    assert "by estimate it meets each limit" in mended
    assert "violated" not in mended.rpartition("parameters ")[2]
    assert mended.rstrip().endswith("run-notes")


@pytest.mark.slow
@pytest.mark.ci
def test_a_package_is_read_and_compared_and_a_search_improves_one(tmp_path: Path) -> None:
    said, _, searched = told(READING, tmp_path).partition("trial 1 of 12: ")
    assert re.search(r"^\d+ of 12 trials are on the front$", searched, re.MULTILINE)
    assert "## What each choice bought\n\n| choice |" in searched
    assert "search of 12 trials of 50 steps at proxy size" in searched.rpartition("package  ")[2]
    assert "constraints.context_window: 512 -> 2k" in said
    assert "max_seq_len: 512 -> 2,048" in said
    assert "run-text_llm_tiny/README.md: " in said
    assert "spec: constraints.context_window = 512" in said
    assert "README.md  <- " in said
    assert "blueprint/params.json" in said.rpartition("params.total")[2]
