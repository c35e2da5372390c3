"""What all properties share: the specs, a size, chance from a seed, folders, a progress line."""

from __future__ import annotations

import functools
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from metagen import paths

from . import inside
from .inside import Build
from .tally import Tally

Item = TypeVar("Item")
_MEMORY = Path("/dev/shm")
_EVERY = 60.0  # seconds between two lines of progress where no terminal is


@dataclass
class Lab:
    """One run of the harness.

    Attributes:
        specs: The specs that properties are measured on.
        number: How many cases a property takes; None for all, or its own full number.
        seed: What chance is drawn from.
        root: A scratch folder for all that is built.
        quiet: Show no progress.
        jobs: How many processes measure cases that do not depend on each other.
    """

    specs: Sequence[Path]
    root: Path
    number: int | None = None
    seed: int = 7
    quiet: bool = False
    jobs: int = 1
    _shown: float = field(default_factory=time.monotonic, repr=False)
    _begun: dict[Path, Build] = field(default_factory=dict, repr=False)

    def size(self, full: int) -> int:
        """Return how many cases to take of a property whose full number is given."""
        return full if self.number is None else self.number

    def chance(self, name: str) -> random.Random:
        """Return the random numbers of a property: others' draws do not change them."""
        return random.Random(f"{self.seed}:{name}")

    def some(self, items: Iterable[Item], name: str) -> list[Item]:
        """Return all items, or the requested number of them, in an order drawn from the seed."""
        chosen = list(items)
        self.chance(name).shuffle(chosen)
        return chosen if self.number is None else chosen[: self.number]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a new empty folder that goes afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="f", dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def apart(
        self, tally: Tally, measure: Callable[[Lab, Item], Tally], items: Iterable[Item]
    ) -> Tally:
        """Measure items that do not depend on each other, side by side, and add up their tallies.

        Args:
            tally: Where it is counted; also what is returned.
            measure: A function at the top of a module.
            items: What it measures, in the order in which it is begun and counted.
        """
        work, todo, started = functools.partial(measure, self), list(items), time.monotonic()
        with self._mapped() as mapped:
            for done, part in enumerate(mapped(work, todo), 1):
                tally.add(part)
                self._show(f"{tally.name} {done}/{len(todo)}", started)
        self._show("", started)
        return tally

    @contextmanager
    def _mapped(self) -> Iterator[Callable[..., Iterable[Any]]]:
        """Yield what applies a function to items: in this process, or side by side."""
        if self.jobs == 1:
            yield map
            return
        # By a fork, so that the measurements stay faked.
        with ProcessPoolExecutor(self.jobs, get_context("fork")) as pool:
            yield pool.map

    def shares(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """Deal items out to as many processes as there are, for work that needs a set-up."""
        dealt = [items[start :: self.jobs] for start in range(self.jobs)]
        return [share for share in dealt if share]

    def begin(self, out: Path, spec: Path) -> Build:
        """Put the package of a spec into a new out folder: a copy of one that was built cold."""
        built = self.root / f"begun by {os.getpid()}" / spec.stem
        if spec not in self._begun:
            self._begun[spec] = inside.build(built, spec)
            assert not self._begun[spec].status, self._begun[spec].output
        shutil.copytree(built, out)
        return self._begun[spec]

    def progress(
        self, name: str, items: Iterable[Item], text: Callable[[Item], str] = str
    ) -> Iterator[Item]:
        """Yield each item and show on one line which is at work."""
        everything, started = list(items), time.monotonic()
        for done, item in enumerate(everything):
            self._show(f"{name} {done + 1}/{len(everything)} {text(item)}", started)
            yield item
        self._show("", started)

    def _show(self, text: str, started: float) -> None:
        if not self.quiet and sys.stderr.isatty():
            line = text and f"{text[:90]}  {time.monotonic() - started:.0f} s"
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif not self.quiet and text and time.monotonic() - self._shown > _EVERY:
            self._shown = time.monotonic()
            print(f"{text}  {self._shown - started:.0f} s", file=sys.stderr, flush=True)


def spec_files(places: Iterable[Path] = ()) -> list[Path]:
    """Return the spec files at some places; by default all that metagen ships."""
    specs: list[Path] = []
    for place in [each.resolve() for each in places] or [paths.specs()]:
        specs += sorted(place.rglob("*.yaml")) if place.is_dir() else [place]
    return specs


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for everything that is built, in memory where the machine has such a place."""
    inside = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="properties-", dir=inside) as folder:
        yield Path(folder).resolve()
