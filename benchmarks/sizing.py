"""How long the search for an architecture takes: `python benchmarks/sizing.py [SPEC...]`.

Prints for each spec the candidates that are counted and the median milliseconds of one core; by
default for all that MetaGen ships.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import cast

from metagen import paths
from metagen.blueprint import found
from metagen.blueprint.explain import SpecDesk
from metagen.spec import load
from metagen.work import Desk

REPETITIONS = 5


def measured(spec: Path) -> tuple[int, float]:
    """Return the candidates of a spec, and the seconds that their search takes."""
    desk = cast(Desk, SpecDesk(load(spec)))
    return found.sized(desk).design.candidates, median(_seconds(desk))


def _seconds(desk: Desk) -> Iterator[float]:
    for _ in range(REPETITIONS):
        started = time.process_time()
        found.sized(desk)
        yield time.process_time() - started


def main() -> None:
    """Print a line a spec."""
    for spec in map(Path, sys.argv[1:] or sorted(paths.specs().rglob("*.yaml"))):
        candidates, seconds = measured(spec)
        print(f"{spec.stem:30} {candidates:6,} candidates {1000 * seconds:6.0f} ms")


if __name__ == "__main__":
    main()
