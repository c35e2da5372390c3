"""What dodo.py needs: the variables on doit's command line, checked, and the graph they ask for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metagen.engine import doors, graph, interrupts, quick
from metagen.engine.seal import surroundings
from metagen.engine.session import Rules, Session
from metagen.engine.terminal import Terminal
from metagen.errors import MetagenError, Problem, UsageError
from metagen.spec import nearest
from metagen.spec.schema import variables

OWN = ("spec", "out", "run_id")  # variables that are no keys of the spec


def open_graph(
    arguments: Sequence[str] | None = None,
) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return DOIT_CONFIG and the tasks; an error ends the process with its exit status."""
    terminal = Terminal()
    try:
        session = _session(_variables(sys.argv[1:] if arguments is None else arguments), terminal)
    except MetagenError as error:
        terminal.error(error)
        raise SystemExit(error.status) from None
    interrupts.watch()
    return doors.settings(session), doors.task_dicts(session)


def _variables(arguments: Sequence[str]) -> dict[str, str]:
    """Return the NAME=VALUE arguments, by the rule that doit itself tells them by.

    Raises:
        UsageError: A name is not known; doit would ignore it and build something else.
    """
    pairs = [a.partition("=") for a in arguments if a[:1] != "-" and "=" in a]
    found = {name: value for name, _, value in pairs}
    known = [*OWN, *variables()]
    unknown = [name for name in found if name not in known]
    if unknown:
        raise UsageError(
            Problem(
                f"There is no variable {name!r}.",
                f"{name}={found[name]}",
                f"Did you mean {nearest(name, known)!r}?" if nearest(name, known) else "",
            )
            for name in unknown
        )
    return found


def _session(found: dict[str, str], terminal: Terminal) -> Session:
    place = Path(found.pop("spec", "specs"))
    places = sorted(Path().glob(str(place))) if "*" in str(place) else [place]
    out, run_id = Path(found.pop("out", "build")), found.pop("run_id", None)
    overrides = [f"{name}={value}" for name, value in found.items()]
    around = surroundings((*overrides, run_id))
    packages = graph.packages(quick.spec_files(places), overrides, run_id)
    for package in packages:
        terminal.warn(package.warnings)
    return Session(out, packages, terminal, Rules(around))
