"""How long a spec takes to its architecture: `python benchmarks/sizing.py [SPEC...]`.

Prints for each spec the candidates that are counted, and the median milliseconds of one core that
its search and the reading of its file take; by default for all that MetaGen ships.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, cast

from metagen import paths
from metagen.sizing import search
from metagen.sizing.explain import SpecDesk
from metagen.spec import load
from metagen.work import Desk

REPETITIONS = 5


def measured(spec: Path) -> tuple[int, float, float]:
    """Return the candidates of a spec, and the seconds of their search and of reading the spec."""
    desk = cast(Desk, SpecDesk(load(spec)))
    reading = median(_seconds(load, spec))
    searching = median(_seconds(search.solution, desk))
    return search.solution(desk).design.candidates, searching, reading


def _seconds(step: Callable[[Any], object], given: object) -> Iterator[float]:
    for _ in range(REPETITIONS):
        search.counted_shapes.cache_clear()  # each repetition searches anew
        search.pulled.cache_clear()
        started = time.process_time()
        step(given)
        yield time.process_time() - started


def main() -> None:
    """Print a line a spec."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("specs", nargs="*", type=Path, metavar="SPEC", help="(default: all)")
    for spec in parser.parse_args().specs or sorted(paths.specs().rglob("*.yaml")):
        candidates, search, read = measured(spec)
        times = f"{1000 * search:6.0f} ms, read in {1000 * read:3.0f} ms"
        print(f"{spec.stem:30} {candidates:6,} candidates {times}")


if __name__ == "__main__":
    main()
