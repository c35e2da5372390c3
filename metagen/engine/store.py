"""Outputs named by their sha256: the store of one out folder.

The store makes going back to an earlier spec free, and holds the base text of three-way merges. It
verifies each digest when it reads, so a damaged file counts as absent, follows no link when it
writes, and removes nothing but files that have the names of its own.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

from metagen import files
from metagen.engine.ledger import Trace
from metagen.files import sha256

STORED = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


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
            data = files.read_plain(self.path(digest))
        except (OSError, ValueError):
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
        for name, size in files_in(self.root, STORED):
            if name.replace("/", "") not in digests:
                (self.root / name).unlink()
                freed += size
        return freed

    def path(self, digest: str) -> Path:
        """Return where the bytes of a sha256 are stored, if they are."""
        return self.root / digest[:2] / digest[2:]

    def _clear(self, path: Path) -> None:
        """Remove damage that blocks a write, such as a folder or a link in the place of a file."""
        for blocked in (path.parent, path):
            right = stat.S_ISDIR if blocked == path.parent else stat.S_ISREG
            if os.path.lexists(blocked) and not right(blocked.lstat().st_mode):
                files.remove(blocked)


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


def files_in(root: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """Yield (path, size) of each regular file below a folder whose path matches a pattern."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.relpath(f"{folder}/{name}", root)
            with suppress(FileNotFoundError):
                seen = os.lstat(f"{folder}/{name}")
                if stat.S_ISREG(seen.st_mode) and pattern.fullmatch(path):
                    yield path, seen.st_size
