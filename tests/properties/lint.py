"""Undeclared reads: every kind is caught by `--lint`, and honest tasks raise no alarm.

Each kind is put into the work of one task. Without `--lint` the build goes through; with it that
task fails, and the message names it.
"""

from __future__ import annotations

import datetime
import getpass
import glob
import locale
import os
import platform
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from unittest import mock

from metagen.engine import graph
from metagen.engine.graph import Graph
from metagen.work import Desk, Recipe

from . import inside, outside
from .inside import Build
from .lab import Lab
from .tally import Tally

_FILE = Path(__file__)


def _connect() -> None:
    with socket.socket() as one:
        one.settimeout(0.1)
        one.connect_ex(("127.0.0.1", 9))


def _random_numpy() -> None:
    import numpy as np

    np.random.default_rng().random()


KINDS: dict[str, Callable[[], object]] = {
    "open a file": lambda: _FILE.open().close(),
    "read a file": _FILE.read_bytes,
    "read by descriptor": lambda: os.close(os.open(_FILE, os.O_RDONLY)),
    "look for a file": _FILE.exists,
    "look at a file's time": lambda: _FILE.stat().st_mtime,
    "list a folder": lambda: os.listdir(_FILE.parent),  # noqa: PTH208
    "walk a folder": lambda: list(os.walk(_FILE.parent)),
    "glob": lambda: glob.glob(f"{_FILE.parent}/*"),  # noqa: PTH207
    "environment": lambda: os.environ.get("HOME"),
    "environment whole": lambda: dict(os.environ),
    "clock": time.time,
    "clock in ns": time.time_ns,
    "clock monotonic": time.monotonic,
    "clock for speed": time.perf_counter,
    "today": datetime.date.today,
    "now": datetime.datetime.now,
    "now in a zone": lambda: datetime.datetime.now(datetime.UTC),
    "chance": random.random,
    "chance of a choice": lambda: random.choice([1, 2]),
    "chance unseeded": lambda: random.Random().random(),
    "chance of numpy": _random_numpy,
    "secrets": lambda: secrets.token_hex(4),
    "uuid": uuid.uuid4,
    "urandom": lambda: os.urandom(4),
    "network": _connect,
    "network name": lambda: socket.getaddrinfo("127.0.0.1", 80),
    "program": lambda: subprocess.run(["true"], check=False),
    "shell": lambda: os.system("true"),
    "current folder": os.getcwd,
    "host name": socket.gethostname,
    "machine": platform.node,
    "user": getpass.getuser,
    "processors": os.cpu_count,
    "process": os.getpid,
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "scratch file": lambda: tempfile.TemporaryFile().close(),
    "standard input": lambda: sys.stdin.fileno() if sys.stdin else None,
}
_UNSEEN = {"standard input", "scratch file"}  # Counted, but not as missed by the lint.
_TASK = "docs:model_card"


def measure(lab: Lab) -> Tally:
    """Inject every kind; then build every spec with the lint on."""
    tally = Tally("lint")
    tally.must_not("missed", "false alarms", "unclear")
    spec = lab.specs[-1]
    with lab.folder() as out:
        lab.begin(out / "out", spec)
        for kind in lab.progress("lint", lab.some(KINDS, "lint")):
            tally.count("kinds")
            _measure(kind, out / "out", spec, tally)
    for spec in lab.specs:
        with lab.folder() as out:
            _honest(spec, out, lab.begin(out / "plain", spec), tally)
    if lab.number is None:
        _command(lab, tally)
    return tally


def _measure(kind: str, out: Path, spec: Path, tally: Tally) -> None:
    inject = KINDS[kind]
    real = graph.of_spec

    def of_spec(*arguments: object, **options: object) -> Graph:
        graph = real(*arguments, **options)  # type: ignore[arg-type]
        return replace(graph, recipes=tuple(_injected(r, inject) for r in graph.recipes))

    with mock.patch.object(graph, "of_spec", of_spec):
        result = inside.build(out, spec, [f"description=with {kind}"], lint=True)
    caught = result.status == 1 and result.outcomes.get(_TASK) is None
    if kind in _UNSEEN:
        tally.count("kinds beyond the lint", not caught)
        return
    tally.check(caught, "missed", f"{kind}: status {result.status}")
    clear = "model_card" in result.output and _FILE.name in result.output
    tally.check(clear or not caught, "unclear", f"{kind}: {result.output[-300:]}")


def _injected(recipe: Recipe, inject: Callable[[], object]) -> Recipe:
    if recipe.name != _TASK:
        return recipe

    @wraps(recipe.work)
    def work(desk: Desk) -> dict[str, bytes]:
        inject()
        return recipe.work(desk)

    return replace(recipe, work=work)


def _honest(spec: Path, folder: Path, plain: Build, tally: Tally) -> None:
    result = inside.build(folder / "lint", spec, lint=True)
    tally.count("specs under the lint")
    tally.check(result.status == 0, "false alarms", f"{spec.stem}: {result.output[-600:]}")
    wrong = inside.difference(result.tree, plain.tree)
    tally.check(not wrong or result.status != 0, "other bytes", f"{spec.stem}: {wrong}")


def _command(lab: Lab, tally: Tally) -> None:
    """Build with real measurements, the command and the lint."""
    with lab.folder() as out:
        metagen = Path(sys.executable).parent / "metagen"
        result = subprocess.run(
            [metagen, "synth", str(lab.specs[-1]), "--out", str(out), "--lint"],
            env=outside.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        tally.check(result.returncode == 0, "false alarms", f"the command: {result.stderr[-600:]}")
