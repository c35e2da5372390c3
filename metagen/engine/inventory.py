"""What lies in the folder of a package from a stranger: no link is followed, and nothing is opened.

Only regular files count as files of the package. Everything else has a name in `others`, such as
"a link" or "a FIFO".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from metagen import files
from metagen.errors import Problem, TaskError

LARGEST = 2**27  # bytes of a file that is loaded; all of a package but weights are far smaller
HASHED = 2**36  # bytes of a file that is hashed; the Hub takes no larger one
_MOST = 100_000  # entries of a folder and of all below it
_NO_BREAK = "\u00a0"  # The space between a number and its unit, which a terminal shows as one.


@dataclass
class Inventory:
    """The entries below a folder, by their paths in it.

    Attributes:
        root: The folder.
        files: The size of each regular file, in bytes.
        folders: The folders.
        others: What each other entry is, or why it could not be looked at.
    """

    root: Path
    files: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)
    _digests: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Inventory:
        """List a folder.

        Raises:
            TaskError: It has more entries than any package.
        """
        inventory = cls(root)
        pending = [""]
        while pending:
            pending += inventory._add(pending.pop())
            if len(inventory.files) + len(inventory.folders) + len(inventory.others) > _MOST:
                sentence = f"This folder has more than {_MOST:,} entries; no package has as many."
                raise TaskError(Problem(sentence, str(root)))
        return inventory

    def _add(self, folder: str) -> list[str]:
        """List one folder; return the folders in it."""
        inner = []
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    seen = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(seen.st_mode):
                        inner.append(path)
                    elif stat.S_ISREG(seen.st_mode):
                        self.files[path] = seen.st_size
                    else:
                        self.others[path] = files.kind(seen.st_mode)
        except OSError as error:
            self.others[folder or "."] = f"this cannot be read: {error.strerror}"
        self.folders.update(inner)
        return inner

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None for one that is missing, too large, or no file."""
        if path not in self.files:
            return None
        try:
            return files.read_plain(self.root / path, LARGEST)
        except OSError:
            return None

    def sha256(self, path: str) -> str | None:
        """Return the sha256 of a file; None for one that is missing, too large, or no file."""
        if path not in self._digests:
            self._digests[path] = self._hashed(path)
        return self._digests[path]

    def _hashed(self, path: str) -> str | None:
        if path not in self.files or self.files[path] > HASHED:
            return None
        try:
            return files.sha256_of(self.root / path)
        except OSError:
            return None

    def unlisted(self, listed: Iterable[str]) -> dict[str, int | None]:
        """Return what some paths do not account for.

        Args:
            listed: Paths of files.

        Returns:
            For each folder that holds none of them the number of files below it, and None for each
            other file that is not among them. A folder in such a folder is not named.
        """
        known = set(listed)
        shared = {folder for path in known for folder in _above(path)}
        extra: dict[str, int | None] = {}
        for folder in self.folders - shared:
            extra.setdefault(_topmost(folder, shared), 0)
        for path in self.files.keys() - known:
            top = _topmost(path, shared)
            extra[top] = None if top == path else (extra.get(top) or 0) + 1
        return dict(sorted(extra.items()))


def _above(path: str) -> Iterator[str]:
    """Yield the folders above a path, from the top down."""
    parts = path.split("/")
    yield from ("/".join(parts[:end]) for end in range(1, len(parts)))


def _topmost(path: str, shared: set[str]) -> str:
    """Return the topmost folder above a path, or the path itself, that is not a shared one."""
    return next((folder for folder in _above(path) if folder not in shared), path)


def shown(text: str) -> str:
    """Return a text for a terminal, in which a name from a stranger can neither move nor color."""
    return "".join(c if c.isprintable() or c == _NO_BREAK else ascii(c)[1:-1] for c in text)
