"""A cache that out folders share: runs of tasks by what they read, and the outputs of these.

`Cache` decides what is a run of a task; a `Shelf` keeps the entries. `Folder` is the shelf in a
folder, and `remote.Server` that on a server. Whatever a shelf returns may be damaged or forged: the
bytes of an output must have its sha256, and every other entry carries a mark of its text. With a
key the mark is a signature, so that only who has the key can add a run that a build believes.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from metagen import files
from metagen.engine.ledger import Trace, trace_in
from metagen.engine.store import STORED, Store, files_in
from metagen.errors import Problem, UsageError
from metagen.files import canonical, sha256

_HEX = "[0-9a-f]{64}"
_DIGEST = re.compile(_HEX)
# What a cache holds, and may remove: runs, outputs, and what a killed build was writing.
_CACHED = re.compile(
    rf"runs/{_HEX}/{_HEX}/(read|{_HEX})\.json|store/{STORED.pattern}|tmp/[0-9a-f]{{16}}"
)
_TOPS = ("runs", "store", "tmp")
# The mark of a cache: the name and the first line are those of https://bford.info/cachedir/, which
# tells programs that make backups to leave the folder out.
_MARK = "CACHEDIR.TAG"
_MARKED = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of MetaGen. `metagen gc --cache` removes files from it.
"""
_KEY = "METAGEN_CACHE_KEY"
_YES = ("1", "true", "t", "yes", "y", "on")  # Click takes each of these for a switch that is on.
_LEAST = 16  # characters of a key
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NAMED_BY_PATH = ("file", "entry", "names", "source", "trained", "results")

Reads = list[tuple[str, str]]  # The kind and the name of everything that a run read.
Run = tuple[Trace, dict[str, bytes]]  # A run of a task, and its outputs by path.


@dataclass(frozen=True)
class Shared:
    """Which cache a build shares.

    Attributes:
        place: A folder, or the URL of a server.
        uploads: Whether runs are added to a server, too; they always are to a folder.
        key: What entries are signed by; b"" for none.
    """

    place: str
    uploads: bool = False
    key: bytes = b""

    @classmethod
    def of(cls, place: str | None, *, uploads: bool = False) -> Shared | None:
        """Return the cache at a place, with the key of the environment; None for no place.

        Raises:
            UsageError: The place or the key is none.
        """
        if not place:
            return None
        if _URL.match(place) and not place.lower().startswith(("http://", "https://")):
            hint = "Name a folder, or the URL of a server such as bazel-remote: http://HOST:PORT."
            raise UsageError(Problem("A cache is a folder, or a server of HTTP.", "--cache", hint))
        key = os.environ.get(_KEY)
        if key is not None and len(key) < _LEAST:
            sentence = f"A key has at least {_LEAST} characters."
            raise UsageError(Problem(sentence, _KEY, "Unset it, or use `openssl rand -hex 32`."))
        return cls(place, uploads, (key or "").encode())

    @classmethod
    def of_environment(cls, place: str | None) -> Shared | None:
        """Return the cache at a place, or at that of the environment, which also says if to add."""
        uploads = os.environ.get("METAGEN_CACHE_UPLOAD", "").lower() in _YES
        return cls.of(place or os.environ.get("METAGEN_CACHE"), uploads=uploads)

    @property
    def is_remote(self) -> bool:
        """Whether the cache is on a server."""
        return _URL.match(self.place) is not None


class Address(NamedTuple):
    """Where the entry of a run lies: each part is a sha256."""

    task: str
    reads: str
    digests: str


class Shelf(Protocol):
    """Where a cache keeps its entries.

    What cannot be read is absent. What cannot be written is an OSError.
    """

    writes: bool

    def lists(self, task: str) -> Iterable[str]:
        """Return the entries of a task that list what its runs read."""

    def add_list(self, task: str, reads: str, entry: str) -> None:
        """Add such an entry; `reads` is the sha256 of what it lists."""

    def run(self, address: Address) -> str | None:
        """Return the entry of a run."""

    def add_run(self, address: Address, entry: str, outputs: Mapping[str, bytes]) -> None:
        """Add the entry of a run, whose outputs are added already."""

    def get(self, digest: str) -> bytes | None:
        """Return the bytes that have a sha256."""

    def put(self, data: bytes) -> object:
        """Add some bytes."""


class Cache:
    """Runs of tasks by what they read.

    A task has lists of the names that its runs read, and a run is addressed by such a list and the
    digests that were read. So a lookup computes the current digest of each name once.
    """

    def __init__(self, shelf: Shelf, key: bytes = b"") -> None:
        self._shelf = shelf
        self._key = key

    def find(self, task: str, current: Callable[[str, str], str]) -> Run | None:
        """Return a run of a task whose dependencies are all unchanged.

        Args:
            task: The digest of the task's name, its place in the graph and its code.
            current: From the kind and the name of a dependency to its current digest.
        """
        for entry in self._shelf.lists(task):
            reads = self._reads(task, entry)
            if reads is not None:
                digests = [current(kind, name) for kind, name in reads]
                if run := self._run(_address(task, reads, digests), reads, digests):
                    return run
        return None

    def put(self, task: str, trace: Trace, outputs: Mapping[str, bytes]) -> None:
        """Add a run of a task; a cache that cannot be written does not fail the build."""
        if not self._shelf.writes:
            return
        reads = [(d.kind, d.name) for d in trace.dependencies]
        address = _address(task, reads, [d.digest for d in trace.dependencies])
        body = {"outputs": trace.outputs, "shown": [d.shown for d in trace.dependencies]}
        with suppress(OSError):
            for data in outputs.values():
                self._shelf.put(data)
            self._shelf.add_run(address, self._closed(address, body), outputs)
            self._shelf.add_list(task, address.reads, self._closed([task], reads))

    def _run(self, address: Address, reads: Reads, digests: list[str]) -> Run | None:
        entry = self._shelf.run(address)
        trace = self._trace(self._opened(address, entry), reads, digests) if entry else None
        if trace is None:
            return None
        outputs: dict[str, bytes] = {}
        for path, digest in trace.outputs.items():
            data = self._shelf.get(digest)
            if data is None or sha256(data) != digest:
                return None
            outputs[path] = data
        return trace, outputs

    def _trace(self, content: Any, reads: Reads, digests: list[str]) -> Trace | None:
        match content:
            case {"outputs": outputs, "shown": list(shown)} if len(shown) == len(reads):
                rows = zip(reads, digests, shown, strict=True)
                trace = trace_in(
                    [[[*names, each, text] for names, each, text in rows], outputs, {}]
                )
                if trace and all(map(_DIGEST.fullmatch, trace.outputs.values())):
                    return trace
        return None

    def _reads(self, task: str, entry: str) -> Reads | None:
        match self._opened([task], entry):
            case list(pairs) if all(map(_is_name, pairs)):
                return [(kind, name) for kind, name in pairs]
        return None

    def _closed(self, address: Iterable[str], content: Any) -> str:
        """Return an entry: a mark, and below it a content as JSON."""
        text = canonical(content)
        return f"{self._mark(address, text)}\n{text}"

    def _opened(self, address: Iterable[str], entry: str) -> Any:
        """Return the content of an entry; None if it is damaged, or not signed by the key."""
        mark, _, text = entry.partition("\n")
        try:
            right = hmac.compare_digest(mark.encode(), self._mark(address, text).encode())
            return json.loads(text) if right else None
        except (ValueError, RecursionError):
            return None

    def _mark(self, address: Iterable[str], text: str) -> str:
        """Return the mark of a text, which with a key is valid at this address only."""
        if not self._key:
            return sha256(text.encode())
        return hmac.digest(self._key, canonical([*address, text]).encode(), "sha256").hex()


class Folder:
    """The shelf in a folder.

    The folder `runs/<task>/<reads>/` holds one file per run, and `read.json`, the list of names.
    """

    def __init__(self, root: Path, *, writes: bool = True) -> None:
        self.root = root
        self.writes = writes
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
            if self.writes:
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

    def shrink(self, limit: int) -> int:
        """Remove the least recently used files until `limit` bytes are left; return bytes freed.

        Raises:
            UsageError: The folder has no mark of a cache.
        """
        if not self._is_marked():
            sentence = "This folder is no cache of MetaGen, so nothing in it was removed."
            raise UsageError(Problem(sentence, str(self.root), "Name the folder of a --cache."))
        known = [(self.root / name, size) for name, size in files_in(self.root, _CACHED)]
        total, freed = len(_MARKED) + sum(size for _, size in known), 0
        for _, path, size in sorted((_last_used(path), path, size) for path, size in known):
            if total - freed <= limit:
                break
            path.unlink(missing_ok=True)
            freed += size
        return freed

    def lists(self, task: str) -> Iterator[str]:
        for folder in sorted((self.root / "runs" / task).glob("*")):
            if entry := self._load(folder / "read.json"):
                yield entry

    def add_list(self, task: str, reads: str, entry: str) -> None:
        self._save(f"runs/{task}/{reads}/read.json", entry)

    def run(self, address: Address) -> str | None:
        return self._load(self.root / _path(address))

    def add_run(self, address: Address, entry: str, outputs: Mapping[str, bytes]) -> None:
        self._save(_path(address), entry)

    def get(self, digest: str) -> bytes | None:
        data = self._store.get(digest)
        self._use(self._store.path(digest))
        return data

    def put(self, data: bytes) -> str:
        return self._store.put(data)

    def _load(self, path: Path) -> str | None:
        """Return the content of a file; None if it is missing, or cannot be a text."""
        try:
            entry = files.read_plain(path).decode()
        except (OSError, ValueError):
            return None
        self._use(path)
        return entry

    def _save(self, name: str, entry: str) -> None:
        """Write a file of the cache; one that would lie behind a link is not written."""
        if not files.obstacle(self.root, name):
            files.write_atomic(self.root / name, entry.encode(), self._scratch, durable=False)

    def _use(self, path: Path) -> None:
        """Mark a file as used now, for `shrink`; another process may be removing it."""
        with suppress(OSError):
            if self.writes:
                os.utime(path, follow_symlinks=False)


def _address(task: str, reads: Reads, digests: list[str]) -> Address:
    return Address(task, sha256(canonical(reads).encode()), sha256(canonical(digests).encode()))


def _path(address: Address) -> str:
    return f"runs/{address.task}/{address.reads}/{address.digests}.json"


def _is_name(pair: Any) -> bool:
    """Tell whether a pair is the kind and the name of something that a task may read."""
    match pair:
        case [str(kind), str(name)]:
            leads_out = name.startswith("/") or ".." in name.split("/") or "\0" in name
            return not (leads_out and kind in _NAMED_BY_PATH)
    return False


def _last_used(path: Path) -> int:
    """Return when a file was used last, in nanoseconds; another process may be removing it."""
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return 0
