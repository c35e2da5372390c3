"""Outputs named by their sha256: the store of one out folder, and the cache that several share.

The store makes going back to an earlier spec free, and holds the base text of three-way merges. A
cache adds the runs of tasks to such a store, so that one out folder restores what another built.
Both verify each digest when they read, so a damaged file counts as absent.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Any

from metagen import files
from metagen.engine.ledger import Dependency, Trace
from metagen.files import canonical, sha256

_READS = "read.json"  # The names of everything that the runs in this folder read.
Run = tuple[Trace, dict[str, bytes]]  # A run of a task, and its outputs by path.


class Store:
    """Files named by the sha256 of their content, below one folder."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self._scratch = scratch

    def put(self, data: bytes) -> str:
        """Store some bytes and return their sha256."""
        digest = sha256(data)
        if self.get(digest) is None:
            self._clear(self.path(digest))
            # A power cut may spoil the file; `get` notices, so waiting for the disk is not needed.
            files.write_atomic(self.path(digest), data, self._scratch, durable=False)
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return the bytes of a sha256, or None when they are missing or damaged."""
        try:
            data = self.path(digest).read_bytes()
        except OSError:
            return None
        return data if sha256(data) == digest else None

    def outputs(self, trace: Trace) -> dict[str, bytes] | None:
        """Return the outputs of a run by path, or None when one of them is not in the store."""
        stored = {path: self.get(digest) for path, digest in trace.outputs.items()}
        intact = {path: data for path, data in stored.items() if data is not None}
        return intact if len(intact) == len(stored) else None

    def keep_only(self, digests: Container[str]) -> int:
        """Remove all other files; return the number of bytes freed."""
        freed = 0
        for path in self.root.glob("??/*"):
            if path.parent.name + path.name not in digests:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def path(self, digest: str) -> Path:
        """Return where the bytes of a sha256 are stored, if they are."""
        return self.root / digest[:2] / digest[2:]

    def _clear(self, path: Path) -> None:
        """Remove damage that blocks a write: a folder in place of a file, or the reverse."""
        if path.is_dir():
            shutil.rmtree(path)
        if path.parent.is_file():
            path.parent.unlink()


class MemoryStore(Store):
    """A store whose additions stay in memory, for builds that must not change the disk."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, root)
        self._added: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = sha256(data)
        self._added[digest] = data
        return digest

    def get(self, digest: str) -> bytes | None:
        return self._added.get(digest) or super().get(digest)


class Cache:
    """Runs of tasks by what they read, and a store of their outputs.

    The folder `runs/<task>/<names read>/` holds one file per run, named by the digests that were
    read. So a lookup computes the current digest of each name once, and then opens one file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = root / "tmp"
        self._store = Store(root / "store", self._scratch)

    def find(self, task: str, current: Callable[[str, str], str]) -> Run | None:
        """Return a run of a task whose dependencies are all unchanged.

        Args:
            task: The digest of the task's name, its place in the graph and its code.
            current: From the kind and the name of a dependency to its current digest.
        """
        for folder in sorted(self._folder(task).glob("*")):
            reads = self._load(folder / _READS) or []
            digests = [current(kind, name) for kind, name in reads]
            if run := self._run(folder / _file(digests), reads, digests):
                return run
        return None

    def put(self, task: str, trace: Trace, outputs: dict[str, bytes]) -> None:
        """Add a run of a task; a cache that cannot be written does not fail the build."""
        reads = [(d.kind, d.name) for d in trace.dependencies]
        folder = self._folder(task) / sha256(canonical(reads).encode())
        body = {"outputs": trace.outputs, "shown": [d.shown for d in trace.dependencies]}
        with suppress(OSError):
            for data in outputs.values():
                self._store.put(data)
            self._save(folder / _READS, reads)
            self._save(folder / _file([d.digest for d in trace.dependencies]), body)

    def shrink(self, limit: int) -> int:
        """Remove the least recently used files until `limit` bytes are left; return bytes freed."""
        known = [(p.stat(), p) for p in self.root.rglob("*") if p.is_file()]
        total, freed = sum(stat.st_size for stat, _ in known), 0
        for stat, path in sorted(known, key=lambda pair: (pair[0].st_mtime_ns, pair[1])):
            if total - freed <= limit:
                break
            path.unlink(missing_ok=True)
            freed += stat.st_size
        return freed

    def _folder(self, task: str) -> Path:
        return self.root / "runs" / task

    def _run(self, path: Path, reads: list[tuple[str, str]], digests: list[str]) -> Run | None:
        body = self._load(path)
        if body is None:
            return None
        rows = zip(reads, digests, body["shown"], strict=True)
        dependencies = tuple(Dependency(*names, digest, text) for names, digest, text in rows)
        trace = Trace(dependencies, body["outputs"], {})
        outputs = self._store.outputs(trace)
        if outputs is None:
            return None
        _touch(path, *map(self._store.path, trace.outputs.values()))
        return trace, outputs

    def _load(self, path: Path) -> Any:
        """Return the content that `_save` wrote; None for a missing or damaged file."""
        try:
            mark, _, text = path.read_text().partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        return json.loads(text) if mark == sha256(text.encode()) else None

    def _save(self, path: Path, content: Any) -> None:
        text = canonical(content)
        data = f"{sha256(text.encode())}\n{text}".encode()
        files.write_atomic(path, data, self._scratch, durable=False)


def _file(digests: list[str]) -> str:
    """Return the name of the file of the run that read these digests."""
    return f"{sha256(canonical(digests).encode())}.json"


def _touch(*paths: Path) -> None:
    """Mark files as used now, for `Cache.shrink`; another process may be removing them."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.utime(path)
