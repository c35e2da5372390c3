"""The files of one run folder: what they hold, and writes that are never seen half done."""

from __future__ import annotations

import os
import time
from pathlib import Path

from metagen import files
from metagen.errors import TaskError

_RACY_NS = 50_000_000  # a file changed this recently may change again within one clock tick
Known = dict[str, tuple[list[int], str]]


def signature_of(stat: os.stat_result) -> list[int]:
    """Return what changes with every write of a file."""
    return [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]


class RunFolder:
    """A run folder on disk; digests are spared for files whose stat signature did not change.

    The signature has mtime, ctime, size and inode: ctime moves with every write, so an edit that
    keeps size and mtime is seen all the same.

    Attributes:
        root: The folder.
        known: The signature and the sha256 of each file that was looked at.
        changed: Whether `known` is no longer what it was at the start.
        backups: Where edits go that are given up.
    """

    def __init__(self, root: Path, backups: Path, scratch: Path, known: Known) -> None:
        self.root = root
        self.known = known
        self.changed = False
        self.backups = backups
        self._scratch = scratch
        self._root = str(root)
        self._seen: dict[str, str] = {}

    def digest(self, path: str) -> str:
        """Return the sha256 of a file, as it was when this run first looked; "" without one."""
        if path not in self._seen:
            self._seen[path] = self._look(path)
        return self._seen[path]

    def fresh(self, path: str) -> str:
        """Return the sha256 of a file as it is at this moment, before it is written over."""
        self._seen.pop(path, None)
        return self.digest(path)

    def _look(self, path: str) -> str:
        full = os.path.join(self._root, path)  # noqa: PTH118, which would take longer than the look
        try:
            signature = signature_of(os.stat(full))  # noqa: PTH116
            if path in self.known and self.known[path][0] == signature:
                return self.known[path][1]
            digest = files.sha256(Path(full).read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""
        if time.time_ns() - max(signature[:2]) > _RACY_NS:
            self.known[path] = (signature, digest)
            self.changed = True
        return digest

    def load(self, path: str) -> bytes:
        """Return a file.

        Raises:
            TaskError: It cannot be read.
        """
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise TaskError(f"{self.root / path} cannot be read: {error.strerror}.") from None

    def write(self, path: str, data: bytes) -> None:
        """Replace a file, or make it."""
        self._seen.pop(path, None)
        files.write_atomic(self.root / path, data, self._scratch)

    def back_up(self, path: str) -> None:
        """Keep what a file holds, before it is given up."""
        data = self.load(path)
        name = f"{path}.{files.sha256(data)[:8]}"
        files.write_atomic(self.backups / name, data, self._scratch)

    def remove(self, path: str) -> bool:
        """Remove a file and the folders that this leaves empty; return whether it was there."""
        self._seen.pop(path, None)
        target = self.root / path
        existed = target.exists()
        target.unlink(missing_ok=True)
        for parent in [p for p in target.parents if self.root in (p, *p.parents)]:
            if not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
        return existed


class ImaginedFolder(RunFolder):
    """A run folder as a build would leave it; nothing reaches the disk."""

    def __init__(self, root: Path, known: Known) -> None:
        super().__init__(root, root, root, known)
        self._written: dict[str, bytes | None] = {}

    def digest(self, path: str) -> str:
        """Return the sha256 of a file, as it would be."""
        if path not in self._written:
            return super().digest(path)
        data = self._written[path]
        return "" if data is None else files.sha256(data)

    def fresh(self, path: str) -> str:
        """Return the same: nothing else writes here."""
        return self.digest(path)

    def load(self, path: str) -> bytes:
        """Return a file, as it would be."""
        data = self._written.get(path)
        return super().load(path) if data is None else data

    def write(self, path: str, data: bytes) -> None:
        """Remember what a file would hold."""
        self._written[path] = data

    def back_up(self, path: str) -> None:
        """Keep nothing: nothing is given up."""

    def remove(self, path: str) -> bool:
        """Remember that a file would be gone."""
        existed = bool(self.digest(path))
        self._written[path] = None
        return existed
