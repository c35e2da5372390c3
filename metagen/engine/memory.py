"""A run folder as a build would leave it: what a dry run writes instead of the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from metagen import files
from metagen.engine.folder import RunFolder
from metagen.engine.signatures import Known
from metagen.work import Large, Output


class MemoryFolder(RunFolder):
    """A run folder as a build would leave it: writes stay in memory, large files where they are.

    Args:
        root: The folder.
        known: See `RunFolder`.
        scratch: Returns a folder for large files, which outlives this object.
    """

    def __init__(self, root: Path, known: Known, scratch: Callable[[], Path]) -> None:
        super().__init__(root, root, root, known)
        self._written: dict[str, Output | None] = {}
        self._outside = scratch
        self._mirrors: dict[str, tuple[dict[str, str], Path]] = {}

    def digest(self, path: str) -> str:
        match self._written.get(path, ...):
            case None:
                return ""
            case Large(sha256=digest):
                return digest
            case bytes() as data:
                return files.sha256(data)
        return super().digest(path)

    def fresh(self, path: str) -> str:
        return self.digest(path)

    def load(self, path: str) -> bytes:
        data = self._written.get(path)
        if isinstance(data, Large):
            return files.read_plain(data.path)
        return super().load(path) if data is None else data

    def size(self, path: str) -> int:
        data = self._written.get(path)
        if isinstance(data, Large):
            return data.path.lstat().st_size
        return super().size(path) if data is None else len(data)

    def place_of(self, path: str) -> Path:
        """Return where a file can be read by a program, with all other files of its folder."""
        folder, _, name = path.rpartition("/")
        if not any(each.startswith(f"{folder}/" if folder else "") for each in self._written):
            return super().place_of(path)
        digests = {each: self.digest(each) for each in self._below(folder)}
        if self._mirrors.get(folder, ({}, None))[0] != digests:
            self._mirrors[folder] = (digests, self._mirror(folder, digests))
        return self._mirrors[folder][1] / name

    def _below(self, folder: str) -> list[str]:
        """Return the paths of the files in a folder as a build would leave it, and below."""
        disk = (p.relative_to(self.root).as_posix() for p in (self.root / folder).rglob("*"))
        written = (p for p in self._written if p.startswith(f"{folder}/" if folder else ""))
        here = dict.fromkeys([*disk, *written])
        return sorted(p for p in here if self._is_file(p))

    def _is_file(self, path: str) -> bool:
        if path in self._written:
            return self._written[path] is not None
        return not self.obstacle(path) and (self.root / path).is_file()

    def _mirror(self, folder: str, paths: Iterable[str]) -> Path:
        """Return a new folder with the files of one: links to those on disk, which are not touched.

        A hard link would change the ctime of its source, so that it is hashed again.
        """
        root = self.new_scratch()
        for path in paths:
            place, data = root / path.removeprefix(f"{folder}/"), self._written.get(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, bytes):
                place.write_bytes(data)
            else:
                place.symlink_to(data.path if data else (self.root / path).resolve())
        return root

    def new_scratch(self) -> Path:
        folder = self._outside() / os.urandom(8).hex()
        folder.mkdir()
        return folder

    def drop_scratch(self, folder: Path) -> None:
        """Do nothing: the large files in it are part of the package in memory."""

    def write(self, path: str, data: Output) -> None:
        self._written[path] = data

    def back_up(self, path: str) -> None:
        """Do nothing: the file on disk is not touched."""

    def remove(self, path: str) -> bool:
        existed = bool(self.digest(path))
        self._written[path] = None
        return existed
