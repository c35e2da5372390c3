"""Runs of tasks and their outputs, shared by many out folders; whoever names one opts in.

A run is found by what it read: first by its task and the names of what it read, then by the
digests that these have now. Each file carries a checksum, and outputs are named by theirs, so what
is damaged counts as absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from metagen import files
from metagen.engine.ledger import Dependency, Trace
from metagen.engine.store import Store
from metagen.files import canonical, sha256

_READ = "read.json"  # the names of what the runs in a folder read


class Cache:
    """A folder with the runs of tasks, and a store of their outputs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = root / "tmp"
        self._store = Store(root / "store", self._scratch)

    def find(self, task: str, now: Callable[[str, str], str]) -> tuple[Trace, list[bytes]] | None:
        """Return a run of a task that holds, and its outputs.

        Args:
            task: The digest of the task's name, its place in the graph and its code.
            now: From the kind and the name of a dependency to the digest that it has now.
        """
        for folder in sorted(self._folder(task).glob("*")):
            read = self._load(folder / _READ) or []
            digests = [now(kind, name) for kind, name in read]
            path = folder / f"{sha256(canonical(digests).encode())}.json"
            if found := self._run(path, read, digests):
                return found
        return None

    def put(self, task: str, trace: Trace, outputs: dict[str, bytes]) -> None:
        """Keep a run of a task; a cache that cannot be written fails no build."""
        read = [(d.kind, d.name) for d in trace.dependencies]
        digests = [d.digest for d in trace.dependencies]
        folder = self._folder(task) / sha256(canonical(read).encode())
        body = {"outputs": trace.outputs, "shown": [d.shown for d in trace.dependencies]}
        with suppress(OSError):
            for data in outputs.values():
                self._store.put(data)
            self._save(folder / _READ, read)
            self._save(folder / f"{sha256(canonical(digests).encode())}.json", body)

    def shrink(self, most: int) -> int:
        """Remove what was used longest ago until the rest takes at most some bytes.

        Returns:
            The number of bytes that this freed.
        """
        found = [(p.stat(), p) for p in self.root.rglob("*") if p.is_file()]
        total, freed = sum(stat.st_size for stat, _ in found), 0
        for stat, path in sorted(found, key=lambda pair: (pair[0].st_mtime_ns, pair[1])):
            if total - freed <= most:
                break
            path.unlink(missing_ok=True)
            freed += stat.st_size
        return freed

    def _folder(self, task: str) -> Path:
        return self.root / "runs" / task

    def _run(
        self, path: Path, read: list[tuple[str, str]], digests: list[str]
    ) -> tuple[Trace, list[bytes]] | None:
        body = self._load(path)
        if body is None:
            return None
        stored = [self._store.get(digest) for digest in body["outputs"].values()]
        outputs = [data for data in stored if data is not None]
        if len(outputs) < len(stored):
            return None
        rows = zip(read, digests, body["shown"], strict=True)
        dependencies = tuple(Dependency(*names, digest, text) for names, digest, text in rows)
        _touch(path, *map(self._store.path, body["outputs"].values()))
        return Trace(dependencies, body["outputs"], {}), [
            data for data in outputs if data is not None
        ]

    def _load(self, path: Path) -> Any:
        """Return what `_save` wrote; None for a file that is missing or damaged."""
        try:
            mark, _, text = path.read_text().partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        return json.loads(text) if mark == sha256(text.encode()) else None

    def _save(self, path: Path, content: Any) -> None:
        text = canonical(content)
        data = f"{sha256(text.encode())}\n{text}".encode()
        files.write_atomic(path, data, self._scratch, durable=False)


def _touch(*paths: Path) -> None:
    """Mark files as used now; another process may be removing them."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.utime(path)
