"""Where a package is built: its run folder, its records, and the store, on disk or imagined."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from metagen.engine.folder import ImaginedFolder, RunFolder
from metagen.engine.ledger import Ledger, RunLedger
from metagen.engine.store import ImaginedStore, Store


class Home:
    """The engine's own folder in an out folder.

    Attributes:
        root: The folder.
        ledger: The file of the ledger.
        lock: The file that a build holds.
        scratch: Bytes on their way to their place; what lies there between builds is waste.
        store: The root of the store.
    """

    def __init__(self, out: Path) -> None:
        self.root = out / ".metagen"
        self.ledger = self.root / "ledger.sqlite"
        self.lock = self.root / "lock"
        self.scratch = self.root / "tmp"
        self.store = self.root / "store"

    def make(self) -> None:
        """Make the folder; what stands in the way of its parts is set aside."""
        self.root.mkdir(parents=True, exist_ok=True)
        for part, is_right in (
            (self.lock, Path.is_file),
            (self.store, Path.is_dir),
            (self.scratch, Path.is_dir),
            (self.root / "backup", Path.is_dir),
        ):
            if part.exists() and not is_right(part):
                part.rename(part.with_name(f"{part.name}.damaged-{time.time_ns()}"))

    def backups(self, run: str) -> Path:
        """Return where the edits of a run folder go that are given up."""
        return self.root / "backup" / run


@dataclass(frozen=True)
class Place:
    """What an engine works on.

    Attributes:
        folder: The run folder.
        records: What was built from what.
        store: Every output ever made.
    """

    folder: RunFolder
    records: RunLedger
    store: Store

    @classmethod
    def on_disk(cls, out: Path, run: str, ledger: Ledger) -> Place:
        """Return the place of a run folder that a build changes."""
        home = Home(out)
        records = RunLedger(ledger, run)
        folder = RunFolder(out / run, home.backups(run), home.scratch, records.signatures())
        return cls(folder, records, Store(home.store, home.scratch))

    @classmethod
    def imagined(cls, out: Path, run: str, ledger: Ledger) -> Place:
        """Return the same place for a plan, which changes nothing on disk."""
        home = Home(out)
        records = RunLedger(ledger, run)
        folder = ImaginedFolder(out / run, records.signatures())
        return cls(folder, records, ImaginedStore(home.store))
