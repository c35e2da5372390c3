"""The page on how to add a family is true: its files, and no others, make a package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PAGE = REPOSITORY / "docs" / "new_family.md"
BLOCK = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROUTE = re.compile(r"```text\n(.*?)\n```", re.DOTALL)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the page was followed."""
    place = tmp_path_factory.mktemp("copy")
    for folder in ("metagen", "templates", "specs", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "golden")
        shutil.copytree(REPOSITORY / folder, place / folder, ignore=ignore)
    shutil.copy(REPOSITORY / "pyproject.toml", place)
    page = PAGE.read_text()
    for path, content in BLOCK.findall(page):
        assert not (place / path).exists(), f"{path} is there already"
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(content)
    table = place / "metagen" / "families" / "__init__.py"
    route = ROUTE.search(page)
    assert route
    routes = table.read_text().replace('""".splitlines()', f'{route[1]}\n""".splitlines()')
    table.write_text(routes)
    return place


def run(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.ci
def test_the_page_makes_a_family_that_builds_trains_and_documents_itself(copy: Path) -> None:
    spec = "specs/image/image_perceptron.yaml"
    program = "import sys; from metagen.cli import main; sys.argv[0] = 'metagen'; main()"
    built = run(copy, "-c", program, "synth", spec, "--out", "out")
    assert built.returncode == 0, built.stdout + built.stderr
    package = copy / "out" / "run-image_perceptron"
    assert "violated" not in built.stdout
    assert "hidden units" in (package / "README.md").read_text()
    assert "hidden units" in (package / "paper" / "sections" / "architecture.tex").read_text()
    assert '"accuracy"' in (package / "benchmarks" / "results.json").read_text()


def test_the_familys_own_test_passes(copy: Path) -> None:
    options = ("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(copy))
    done = run(copy, "-m", "pytest", "-q", *options, "tests/families/test_perceptron.py")
    assert done.returncode == 0, done.stdout


def test_the_page_names_every_file_that_a_family_has() -> None:
    named = {path for path, _ in BLOCK.findall(PAGE.read_text())}
    known = {path.replace("perceptron", "resnet") for path in named if "specs/" not in path}
    assert all((REPOSITORY / path).is_file() for path in known)
    models = (REPOSITORY / "templates" / "families").glob("*/model.py")
    files = [{path.name for path in model.parent.iterdir()} for model in models]
    every = set.intersection(*files)
    assert {f"templates/families/resnet/{name}" for name in every} <= known
