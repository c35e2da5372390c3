"""A content-addressed store of every output ever made: free reverts, and the base of merges."""

from __future__ import annotations

from pathlib import Path

from metagen import files


class Store:
    """Files named by the sha256 of their content, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Keep some bytes and return their sha256."""
        digest = files.sha256(data)
        if self.get(digest) is None:
            # What a power cut spoils is found out by its digest when it is asked for.
            files.write_atomic(self._path(digest), data, durable=False)
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return the bytes of a sha256, or None when they are not here or no longer intact."""
        try:
            data = self._path(digest).read_bytes()
        except OSError:
            return None
        return data if files.sha256(data) == digest else None

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest[2:]
