"""The metagen command as a process, with measurements faked: `python -m tests.properties.faked`.

After `doit` as its first argument it is plain doit.

FAKED_LOG     a file that gets a line as the process begins and as each task begins and ends
FAKED_WORKER  seconds that a worker process sleeps in place of each measurement
FAKED_CLOCK   seconds by which Python's clock is fast
SHIPPED       a folder with copies of templates/ and metagen/ that the engine takes for its own
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from doit.doit_cmd import DoitMain

from metagen import cli, paths
from metagen.engine import graph
from metagen.engine.graph import Graph
from metagen.measure import sandbox
from metagen.work import Desk, Recipe
from tests.helpers.building import fake_measurements

_real_run, _real_of_spec = sandbox.run, graph.of_spec


def note(text: str) -> None:
    """Append a line to the log, in one write, since several processes may share it."""
    if place := os.environ.get("FAKED_LOG"):
        handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{text}\n".encode())
        os.close(handle)


def run(
    arguments: Sequence[str], given: Mapping[str, bytes], requested: Sequence[str], **_: Any
) -> dict[str, bytes]:
    """Stand in for a measurement: a real worker process that sleeps, then faked figures."""
    if seconds := os.environ.get("FAKED_WORKER"):
        note("worker begins")
        code = f"import time; time.sleep({float(seconds)})"
        _real_run(("-S", "-c", code), {"here": b""}, (), timeout=60)
    return fake_measurements(arguments, given, requested)


def of_spec(*arguments: Any, **options: Any) -> Graph:
    """Return a graph whose tasks are logged."""
    real = _real_of_spec(*arguments, **options)
    return replace(real, recipes=tuple(_logged(r, real.run) for r in real.recipes))


def _logged(recipe: Recipe, run: str) -> Recipe:
    @wraps(recipe.work)
    def work(desk: Desk) -> dict[str, bytes]:
        note(f"began {run}/{recipe.name}")
        made = recipe.work(desk)
        note(f"ended {run}/{recipe.name}")
        return made

    return replace(recipe, work=work)


if __name__ == "__main__":
    sandbox.run, graph.of_spec = run, of_spec  # type: ignore[assignment]
    if shipped := os.environ.get("SHIPPED"):
        paths.PACKAGE = Path(shipped) / "metagen"
    if ahead := float(os.environ.get("FAKED_CLOCK", 0)):
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + ahead
        time.time_ns = lambda: now_ns() + int(ahead * 1e9)
    note("main begins")
    if sys.argv[1:2] == ["doit"]:
        del sys.argv[0]
        sys.exit(DoitMain().run(sys.argv[1:]))
    cli.main(prog_name="metagen")
