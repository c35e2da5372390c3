"""A content-addressed store of every output ever made: free reverts, and the base of merges."""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path

from metagen import files


class Store:
    """Files named by the sha256 of their content, below one folder."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self._scratch = scratch

    def put(self, data: bytes) -> str:
        """Keep some bytes and return their sha256."""
        digest = files.sha256(data)
        if self.get(digest) is None:
            self._clear(self.path(digest))
            # What a power cut spoils is found out by its digest when it is asked for.
            files.write_atomic(self.path(digest), data, self._scratch, durable=False)
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return the bytes of a sha256, or None when they are not here or no longer intact."""
        try:
            data = self.path(digest).read_bytes()
        except OSError:
            return None
        return data if files.sha256(data) == digest else None

    def _clear(self, path: Path) -> None:
        """Remove what can only stand here by damage: a folder for a file, a file for a folder."""
        if path.is_dir():
            shutil.rmtree(path)
        if path.parent.is_file():
            path.parent.unlink()

    def keep_only(self, digests: Container[str]) -> int:
        """Remove all others; return the number of bytes that this frees."""
        freed = 0
        for path in self.root.glob("??/*"):
            if path.parent.name + path.name not in digests:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def path(self, digest: str) -> Path:
        """Return where the bytes of a sha256 lie, if they are kept."""
        return self.root / digest[:2] / digest[2:]


class ImaginedStore(Store):
    """A store to read from; what is put into it stays in memory."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, root)
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Remember some bytes and return their sha256."""
        digest = files.sha256(data)
        self._kept[digest] = data
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return the bytes of a sha256, or None when nobody has put them."""
        return self._kept.get(digest) or super().get(digest)
