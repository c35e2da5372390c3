"""Room on the disk: outputs that nothing refers to any more."""

from __future__ import annotations

from pathlib import Path

from metagen.engine.cache import Cache
from metagen.engine.ledger import Ledger, RunLedger
from metagen.engine.lock import locked
from metagen.engine.place import Home
from metagen.engine.store import Store


def out_folder(out: Path) -> int:
    """Forget run folders that are gone, and outputs that no record refers to; return the bytes."""
    home = Home(out)
    with locked(home.lock, wait=True, on_wait=f"waiting for a build in {out} to end"):
        ledger = Ledger(home.ledger)
        try:
            kept: set[str] = set()
            for run in ledger.runs():
                if (out / run).is_dir():
                    kept |= RunLedger(ledger, run).digests()
                else:
                    ledger.forget(run)
            return Store(home.store, home.scratch).keep_only(kept)
        finally:
            ledger.close()


def cache(root: Path, most: int) -> int:
    """Shrink a shared cache to a number of bytes; return how many this frees."""
    return Cache(root).shrink(most)
