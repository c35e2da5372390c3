"""The source of a package: it stands alone, nothing of it is unused, ruff and mypy pass it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.generated import TASK, write_runtime

from metagen import entries, paths
from metagen.families.decoder import FAMILY as decoder
from metagen.package.bundle import bundle
from metagen.package.code import (
    DISTRIBUTIONS,
    PROJECT,
    libraries,
    lowest_versions,
    runtime_files,
)

ROOT = paths.templates().parent
SCRIPTS = tuple(f"{TASK}/{name}.py" for name in ("data", "train", "eval", "infer", "bench"))
MODELS = tuple(f"templates/families/decoder/{name}.py" for name in ("model", "model_local"))


@pytest.fixture(scope="module", params=MODELS)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    for name in (request.param, *SCRIPTS):
        target = "model" if "families/" in name else Path(name).stem
        text = bundle(name, lambda n: paths.source(n).read_bytes())
        (folder / f"{target}.py").write_bytes(text)
    write_runtime(folder)
    return folder


def test_bundles_are_the_same_bytes_each_time(package: Path) -> None:
    for name in SCRIPTS:
        again = bundle(name, lambda n: paths.source(n).read_bytes())
        assert again == (package / Path(name).name).read_bytes()


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_generated_code_passes_ruff(package: Path, command: tuple[str, ...]) -> None:
    own = 'lint.isort.known-first-party = ["data", "infer", "model", "runtime"]'
    options = ("--config", str(ROOT / "pyproject.toml"), "--config", own, "--no-cache")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *options, str(package)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def defined(tree: ast.AST) -> set[str]:
    """Return what a file defines at its top and in its classes, but for what Python calls."""
    names = {
        *(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)),
        *(t.id for n in ast.walk(tree) if isinstance(n, ast.Assign | ast.AnnAssign)
          for t in (n.targets if isinstance(n, ast.Assign) else [n.target])
          if isinstance(t, ast.Name)),
    }  # fmt: skip
    return {n for n in names if not n.startswith("__")} - {"self", "forward"}  # torch calls this


def used(tree: ast.AST) -> set[str]:
    """Return the names that a file reads, calls, or passes by keyword."""
    return {
        *(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)),
        *(n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)),
        *(n.arg for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg),
        *(a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names),
    }


def parsed(package: Path) -> dict[str, ast.Module]:
    """Return the trees of a package's files, by names such as `runtime/loop.py`."""
    files = {p.relative_to(package).as_posix(): p for p in sorted(package.rglob("*.py"))}
    return {name: ast.parse(path.read_text()) for name, path in files.items()}


def test_generated_code_has_no_unused_definition(package: Path) -> None:
    trees = parsed(package)
    assert len(trees) == 6 + len(runtime_files(decoder))
    # Every task's scripts share the runtime, so a part of it may serve those of another one.
    scripts = sorted((paths.templates() / "tasks").glob("*/*.py"))
    others = (ast.parse(path.read_text()) for path in scripts)
    everywhere = set().union(*(used(tree) for tree in (*trees.values(), *others)))
    for name, tree in trees.items():
        # Others use what is in these; fields of the other Configs are used in their own file.
        # The model calls the caches of infer.py.
        shared = name != "eval.py"
        assert defined(tree) - (everywhere if shared else used(tree)) == set(), name


def test_the_runtime_is_what_the_scripts_import_and_no_more(package: Path) -> None:
    trees, wanted, found = parsed(package), [Path(name).name for name in SCRIPTS], {"__init__"}
    while wanted:
        nodes = (n for n in ast.walk(trees[wanted.pop()]) if isinstance(n, ast.ImportFrom))
        names = {
            n.module.partition(".")[2] for n in nodes if (n.module or "").startswith("runtime.")
        }
        wanted += [f"runtime/{name}.py" for name in names - found]
        found |= names
    assert found == {Path(name).stem for name in runtime_files(decoder)}


def test_generated_code_stands_alone(package: Path) -> None:
    known = lowest_versions(paths.source(PROJECT).read_bytes())
    for path in package.rglob("*.py"):
        content = entries.parse(path.name, path.read_bytes())
        assert {DISTRIBUTIONS.get(name, name) for name in libraries(content["imports"])} <= set(
            known
        )
        assert "{%" not in path.read_text()


def test_a_file_of_a_package_is_read_in_one_sitting(package: Path) -> None:
    for path in package.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path.name


@pytest.mark.slow
def test_generated_code_passes_mypy_strict(package: Path) -> None:
    files = [str(path) for path in sorted(package.rglob("*.py"))]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=package)
    assert done.returncode == 0, done.stdout
