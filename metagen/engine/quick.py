"""The short way of a build: which of the specs lead to packages that are as they were left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from metagen.engine.ledger import Ledger
from metagen.engine.lock import locked
from metagen.engine.place import Home
from metagen.engine.seal import Seals
from metagen.engine.standing import Standing
from metagen.errors import Problem, UsageError


def spec_files(places: Iterable[Path]) -> list[Path]:
    """Return the spec files at some places, folders searched through, in a fixed order."""
    found: list[Path] = []
    for place in places:
        inside = sorted(p for p in place.rglob("*") if p.suffix in {".yaml", ".yml", ".json"})
        if place.is_dir() and not inside:
            raise UsageError(Problem("There is no spec here.", str(place)))
        found += inside if place.is_dir() else [place]
    return found


def standing(
    out: Path, specs: Iterable[Path], around: str, *, wait: bool
) -> dict[Path, tuple[str, Standing]]:
    """Return the run folder of each spec whose package is sealed, and how it stands.

    Args:
        out: The out folder.
        specs: Spec files.
        around: The `seal.surroundings` of the build.
        wait: Wait for another build to end; otherwise fail at once.

    Raises:
        LockedError: Another build holds the folder and `wait` is False.
    """
    home = Home(out)
    if not home.ledger.is_file():
        return {}
    on_wait = f"waiting for another build in {out} to end"
    with locked(home.lock, wait=wait, on_wait=on_wait):
        ledger = Ledger(home.ledger)
        try:
            seals = Seals(out, ledger, around)
            found = {spec: seals.standing(spec) for spec in specs}
            return {spec: sealed for spec, sealed in found.items() if sealed}
        finally:
            ledger.close()
