"""Builds in this process, by the command's own way in, with measurements that cost nothing."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from metagen import paths
from metagen.engine import doors, graph, workspace
from metagen.engine.engine import Outcome
from metagen.engine.graph import Graph
from metagen.engine.session import Options, Session
from metagen.engine.terminal import Terminal
from metagen.measure import sandbox
from metagen.spec import load
from tests.helpers import remembered
from tests.helpers.building import fake_measurements, tree

from .witness import Log, Moment, nothing, watched

Tree = dict[str, bytes]
real_run = sandbox.run


@dataclass
class Build:
    """What one build did, and the files of its out folder afterwards.

    Attributes:
        status: The exit status.
        output: What it printed.
        log: What the tasks read and made, by the witness.
        outcomes: What the engine says that it did.
        tree: The files of all run folders.
    """

    status: int
    output: str
    log: Log
    outcomes: dict[str, Outcome]
    tree: Tree


@contextlib.contextmanager
def faked() -> Iterator[None]:
    """Replace measurements by figures that depend on the same inputs; never wait for the disk."""
    with (
        mock.patch.object(sandbox, "run", fake_measurements),
        mock.patch.object(os, "fsync", _no_wait),
        remembered.code(),
        remembered.figures_of_equal_data(),
    ):
        yield


def _no_wait(handle: int) -> None:
    """Stand in for `os.fsync`: no test here cuts the power."""


def package(spec: Path, overrides: Sequence[str] = (), run_id: str | None = None) -> Graph:
    """Return the graph of a spec in a run folder that the name of the model does not change."""
    return graph.of_spec(load(spec, overrides), run_id or spec.stem)


def build(
    out: Path,
    spec: Path,
    overrides: Sequence[str] = (),
    *,
    run_id: str | None = None,
    moment: Moment = nothing,
    **rules: Any,
) -> Build:
    """Build a package without its PDF.

    Args:
        out: The out folder.
        spec: The spec.
        overrides: `key=value` texts.
        run_id: Name of the run folder; by default that of the spec file.
        moment: Called with "begins" or "ends" and the name of each task at work.
        rules: How, such as `discard_edits=True`.

    Raises:
        SpecError: The spec is not right.
    """
    log, output = Log(), io.StringIO()
    fingerprint = workspace.fingerprint((*overrides, run_id or spec.stem))
    if workspace.unchanged(out, [spec], fingerprint, wait=True):
        return Build(0, "unchanged", log, {}, tree(out))
    one = watched(package(spec, overrides, run_id), log, moment)
    session = Session(out, [one], Terminal(output), Options(fingerprint, **rules))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = _run(session)
    outcomes = session.engine(one).outcomes
    return Build(status, output.getvalue(), log, outcomes, tree(out))


def _run(session: Session) -> int:
    try:
        return doors.run(session, "synth")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        session._open.close()  # what a process that ends lets go of


@contextlib.contextmanager
def shipped(folder: Path) -> Iterator[Path]:
    """Yield a folder with copies of what metagen ships, which the engine takes for its own."""
    ignore = shutil.ignore_patterns("__pycache__")
    place = folder / "shipped"
    shutil.copytree(paths.PACKAGE, place / "metagen", ignore=ignore)
    shutil.copytree(paths.templates(), place / "templates", ignore=ignore)
    shutil.copy(paths.source("pyproject.toml"), place)
    with mock.patch.object(paths, "PACKAGE", place / "metagen"):
        yield place


def difference(tree: Tree, expected: Tree) -> str:
    """Say which files are missing, too many or different; "" for none."""
    missing = [f"{path} is missing" for path in sorted(expected.keys() - tree.keys())]
    extra = [f"{path} is too many" for path in sorted(tree.keys() - expected.keys())]
    both = sorted(expected.keys() & tree.keys())
    differ = [f"{path} differs" for path in both if tree[path] != expected[path]]
    return ", ".join([*missing, *extra, *differ])
