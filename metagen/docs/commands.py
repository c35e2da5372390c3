"""The commands that documents print for the code of a package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from metagen.docs.fact import Figure
from metagen.docs.sources import FILES

if TYPE_CHECKING:
    from metagen.docs.facts import Facts


def usage(facts: Facts) -> Figure:
    """Return a command that demonstrates `infer.py`."""
    return f"python infer.py {facts.family().words.usage}", "", f"{FILES['arch']}: family"


def alone(facts: Facts) -> Figure:
    """Return the command that installs data without its package's requirements; "" for none."""
    names = " ".join(facts.family().task.benchmark.alone)
    command = f"python -m pip install --no-deps {names}" if names else ""
    return command, "", f"{FILES['arch']}: family"


def preparation(facts: Facts) -> Figure:
    """Return the command that prepares much data for the full model; "" for none."""
    command = facts.family().task.preparation(facts.get("arch.data").value)
    return command, "", f"{FILES['arch']}: data"


def published(facts: Facts) -> Figure:
    """Return the command that runs the benchmarks without a result on the full model."""
    command, _ = facts.family().task.published(facts.get("derived.not_run").value)
    return command, "", f"{FILES['arch']}: family"


def unpublished(facts: Facts) -> Figure:
    """Return the benchmarks that the command of `published` leaves out."""
    _, names = facts.family().task.published(facts.get("derived.not_run").value)
    return names, "", f"{FILES['results']}: entries that were not run"


COMMANDS: dict[str, Callable[[Facts], Figure]] = {
    each.__name__: each for each in (usage, alone, preparation, published, unpublished)
}
