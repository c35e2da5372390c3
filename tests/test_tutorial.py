"""The tutorial's commands, run as they stand in one shell, from the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
TUTORIAL = REPOSITORY / "docs" / "tutorials" / "01_first_synthesis.md"
INSTALL = "pip install -e '.[data]'"


def blocks() -> list[str]:
    found = re.findall(r"^```bash\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    return [block.strip() for block in found]


def test_the_first_command_is_the_installation() -> None:
    assert blocks()[0] == INSTALL


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(not shutil.which("latexmk"), reason="the tutorial makes a PDF")
def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    for name in ("examples", "specs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    script = "\n".join(block for block in blocks() if block != INSTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert "0 tasks ran" in told.stdout, "the second build had nothing to do"
    assert (tmp_path / "my_first_run" / "run-text_llm_8b" / "paper" / "main.pdf").is_file()
