"""Outputs named by their sha256: the store of one out folder, and the cache that several share.

The store makes going back to an earlier spec free, and holds the base text of three-way merges. A
cache adds the runs of tasks to such a store, so that one out folder restores what another built.
Both verify each digest when they read, so a damaged file counts as absent; both follow no link when
they write, and remove nothing but files that have the names of their own.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from metagen import files
from metagen.engine.ledger import Trace, trace_in
from metagen.errors import Problem, UsageError
from metagen.files import canonical, sha256

_STORED = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")
_HEX = "[0-9a-f]{64}"
# What a cache holds, and may remove: runs, outputs, and what a killed build was writing.
_CACHED = re.compile(
    rf"runs/{_HEX}/{_HEX}/(read|{_HEX})\.json|store/{_STORED.pattern}|tmp/[0-9a-f]{{16}}"
)
_TOPS = ("runs", "store", "tmp")
# The mark of a cache: the name and the first line are those of https://bford.info/cachedir/, which
# tells programs that make backups to leave the folder out.
_MARK = "CACHEDIR.TAG"
_MARKED = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of MetaGen. `metagen gc --cache` removes files from it.
"""
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
        for name, size in _files_in(self.root, _STORED):
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


class Cache:
    """Runs of tasks by what they read, and a store of their outputs.

    The folder `runs/<task>/<names read>/` holds one file per run, named by the digests that were
    read. So a lookup computes the current digest of each name once, and then opens one file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = root / "tmp"
        self._store = Store(root / "store", self._scratch)

    def claim(self) -> None:
        """Make the folder and mark it as a cache; one that cannot be written stays as it is.

        Raises:
            UsageError: It holds files of somebody else, or a link in the place of its own folders.
        """
        if self._is_marked():
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            names = {path.name for path in self.root.iterdir()}
            if others := sorted(names - {*_TOPS, _MARK}):
                sentence = f"This folder is no cache: it holds {others[0]!r}."
                raise UsageError(
                    Problem(sentence, str(self.root), "Name a new or an empty folder.")
                )
        with suppress(OSError):
            files.write_atomic(self.root / _MARK, _MARKED, self._scratch, durable=False)

    def _is_marked(self) -> bool:
        """Tell whether the folder has the mark of a cache.

        Raises:
            UsageError: A folder of the cache is a link.
        """
        for link in (path for path in map(self.root.joinpath, _TOPS) if path.is_symlink()):
            raise UsageError(Problem("A cache holds no links.", str(link), "Remove it."))
        try:
            return files.read_plain(self.root / _MARK, len(_MARKED)) == _MARKED
        except OSError:
            return False

    def find(self, task: str, current: Callable[[str, str], str]) -> Run | None:
        """Return a run of a task whose dependencies are all unchanged.

        Args:
            task: The digest of the task's name, its place in the graph and its code.
            current: From the kind and the name of a dependency to its current digest.
        """
        for folder in sorted(self._folder(task).glob("*")):
            reads = self._reads(folder)
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
        """Remove the least recently used files until `limit` bytes are left; return bytes freed.

        Raises:
            UsageError: The folder has no mark of a cache.
        """
        if not self._is_marked():
            sentence = "This folder is no cache of MetaGen, so nothing in it was removed."
            raise UsageError(Problem(sentence, str(self.root), "Name the folder of a --cache."))
        known = [(self.root / name, size) for name, size in _files_in(self.root, _CACHED)]
        total, freed = len(_MARKED) + sum(size for _, size in known), 0
        for _, path, size in sorted((_last_used(path), path, size) for path, size in known):
            if total - freed <= limit:
                break
            path.unlink(missing_ok=True)
            freed += size
        return freed

    def _folder(self, task: str) -> Path:
        return self.root / "runs" / task

    def _run(self, path: Path, reads: list[tuple[str, str]], digests: list[str]) -> Run | None:
        trace = self._trace(path, reads, digests)
        outputs = self._store.outputs(trace) if trace else None
        if trace is None or outputs is None:
            return None
        _touch(path, *map(self._store.path, trace.outputs.values()))
        return trace, outputs

    def _trace(self, path: Path, reads: list[tuple[str, str]], digests: list[str]) -> Trace | None:
        match self._load(path):
            case {"outputs": outputs, "shown": list(shown)} if len(shown) == len(reads):
                rows = zip(reads, digests, shown, strict=True)
                return trace_in([[[*names, each, text] for names, each, text in rows], outputs, {}])
        return None

    def _reads(self, folder: Path) -> list[tuple[str, str]]:
        match self._load(folder / _READS):
            case list(pairs) if all(_is_pair(pair) for pair in pairs):
                return [(kind, name) for kind, name in pairs]
        return []

    def _load(self, path: Path) -> Any:
        """Return the content that `_save` wrote; None for a missing or damaged file."""
        try:
            mark, _, text = files.read_plain(path).decode().partition("\n")
            return json.loads(text) if mark == sha256(text.encode()) else None
        except (OSError, ValueError, RecursionError):
            return None

    def _save(self, path: Path, content: Any) -> None:
        """Write a file of the cache; one that would lie behind a link is not written."""
        if files.obstacle(self.root, path.relative_to(self.root).as_posix()):
            return
        text = canonical(content)
        data = f"{sha256(text.encode())}\n{text}".encode()
        files.write_atomic(path, data, self._scratch, durable=False)


def _file(digests: list[str]) -> str:
    """Return the name of the file of the run that read these digests."""
    return f"{sha256(canonical(digests).encode())}.json"


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)


def _files_in(root: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """Yield (path, size) of each regular file below a folder whose path matches a pattern."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.relpath(f"{folder}/{name}", root)
            with suppress(FileNotFoundError):
                seen = os.lstat(f"{folder}/{name}")
                if stat.S_ISREG(seen.st_mode) and pattern.fullmatch(path):
                    yield path, seen.st_size


def _last_used(path: Path) -> int:
    """Return when a file was used last, in nanoseconds; another process may be removing it."""
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _touch(*paths: Path) -> None:
    """Mark files as used now, for `Cache.shrink`; another process may be removing them."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.utime(path)
