"""What all tests share, and what those of the spec language do."""

from __future__ import annotations

import compileall
import os
import signal
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metagen import paths
from metagen.errors import USAGE, Problem, SpecError
from metagen.spec import Spec, load

if TYPE_CHECKING:
    from helpers.readers import Readers

HEAD = 'metagen_version: "1.0"\nname: m\n'

# A shell that starts tests in the background has them ignore Ctrl-C, and so all that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Workers that run side by side have a core each; torch's threads would only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Keep byte code of metagen for programs that tests start, also where Python writes none."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(paths.PACKAGE, quiet=2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part", default="1/1", metavar="K/N", help="only the K-th of N parts of the tests"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one part; a test's part follows from its name, and is the same on every machine."""
    part, parts = map(int, config.getoption("--part").split("/"))
    part_of = {item: zlib.crc32(item.nodeid.encode()) % parts + 1 for item in items}
    config.hook.pytest_deselected(items=[item for item in items if part_of[item] != part])
    items[:] = [item for item in items if part_of[item] == part]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not cut the power, so they need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(autouse=True)
def _metagen_is_read_once() -> Iterator[None]:
    """Tests build much in one process, where metagen's code stays as it is."""
    from helpers import remembered

    with remembered.code():
        yield


@pytest.fixture(scope="module")
def figures_drawn_once() -> Iterator[None]:
    """A module whose builds draw the same figures needs each of them once."""
    from helpers import remembered

    with remembered.figures_of_equal_data():
        yield


@pytest.fixture(scope="module")
def _runtime() -> Iterator[Readers]:
    from helpers.readers import readers  # imports torch

    with readers() as modules:
        yield modules


@pytest.fixture
def runtime(_runtime: Readers) -> Readers:
    """Return the modules of code/runtime/, which have not said anything yet."""
    _runtime.notes.note.cache_clear()
    return _runtime


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Problem, ...]]:
    """Return a function that loads a wrong spec and returns its problems."""
    monkeypatch.chdir(tmp_path)

    def of(text: str, head: str = HEAD) -> tuple[Problem, ...]:
        (tmp_path / "spec.yaml").write_text(head + text, encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            load(tmp_path.joinpath("spec.yaml").relative_to(tmp_path))
        assert caught.value.status == USAGE
        return caught.value.problems

    return of


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Spec]:
    """Return a function that loads a right spec, with some keys overridden."""

    def of(text: str, *overrides: str) -> Spec:
        (tmp_path / "spec.yaml").write_text(HEAD + text, encoding="utf-8")
        return load(tmp_path / "spec.yaml", overrides)

    return of
