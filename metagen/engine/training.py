"""The files of a bound training run and of bound results: read without following anything.

Both may come from a stranger, so no link in them is followed and nothing but regular files is read.
A build sees each file as it was at its first look; one that changes meanwhile ends the build.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from metagen import entries, files
from metagen.engine.binding import Binding
from metagen.engine.causes import Cause
from metagen.engine.signatures import Known, but_ctime, is_settled, settled, signature_of
from metagen.errors import Problem, TaskError
from metagen.trained import header

KINDS = ("trained", "results")  # kinds of dependencies
BOUND = "."  # The name of the dependency on whether a training folder is bound.
GIVEN = "."  # The name of the dependency on which files of results are bound.
LARGEST = 2**27  # bytes of a file that is loaded
_STATE, _LARGEST_STATE = "state.json", 2**20  # bytes
_MOST = 10_000  # entries of a folder
_RESULTS = ".json"  # The suffix of the files of results in a folder; samples and logs have others.
_WEIGHTS = ".safetensors"
_ASIDE = "move it away, or leave its folder out"
_SAVED_AT_ONCE = 2**24  # bytes of a file whose digest is saved before the build ends


class Training:
    """The bound files of one package.

    Args:
        binding: What is bound.
        known: The signature and the sha256 of each file that was read, by its absolute path.
        save: Saves `known`.

    Attributes:
        looked: The signature of each file and folder at its first look; [] for a missing one.
    """

    def __init__(self, binding: Binding, known: Known, save: Callable[[Known], None]) -> None:
        self.binding = binding
        self.looked: dict[str, list[int]] = {}
        self._known = known
        self._save = save
        self._is_changed = False
        self._lock = threading.RLock()
        self._digests: dict[str, str] = {}
        self._results: dict[str, tuple[Path, str]] | None = None

    def digest(self, path: str) -> str:
        """Return the sha256 of a file of the training folder; "" if it is missing or none is bound.

        Raises:
            TaskError: The path leads elsewhere, or through what is no folder to what is no file.
        """
        root = self.binding.trained
        return self._digest(root, path) if root else ""

    def load(self, path: str) -> bytes:
        """Return the content of a file of the training folder that exists."""
        return _load(self.place(path), self.digest(path))

    def place(self, path: str) -> Path:
        """Return where a file of the training folder lies."""
        assert self.binding.trained
        return self.binding.trained / path

    def plain(self, path: str) -> Path:
        """Return where a file of the training folder lies, which is no link and the like."""
        assert self.binding.trained
        _must_be_plain(self.binding.trained, path)
        return self.binding.trained / path

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names in a folder of the training folder, those of folders left out."""
        root = self.binding.trained
        if root is None:
            return ()
        if folder:
            _must_be_inside(folder)
        place = root / folder if folder else root
        self.looked.setdefault(str(place), _signature(place))
        return tuple(sorted(name for name, mode in _listed(root, folder) if not stat.S_ISDIR(mode)))

    def results(self) -> tuple[str, ...]:
        """Return the names of the files of results, in the order in which they were given."""
        with self._lock:
            if self._results is None:
                self._results = {}
                for path in self.binding.results:
                    self._take(path)
            return tuple(self._results)

    def result_digest(self, name: str) -> str:
        """Return the sha256 of a file of results; "" if there is none of this name."""
        self.results()
        root, path = (self._results or {}).get(name, (None, ""))
        return self._digest(root, path) if root else ""

    def result(self, name: str) -> bytes:
        """Return the content of a file of results."""
        digest = self.result_digest(name)
        root, path = (self._results or {})[name]
        return _load(root / path, digest)

    def current(self, kind: str, name: str) -> str:
        """Return the current digest of a dependency of the kind `trained` or `results`."""
        if kind == "results":
            return names_digest(self.results()) if name == GIVEN else self.result_digest(name)
        if name == BOUND:
            return "bound" if self.binding.trained else "not bound"
        if name.endswith("/"):
            return names_digest(self.names(name[:-1].removeprefix(".")))
        return self.digest(name) or entries.ABSENT

    def shown(self, path: str) -> str:
        """Return a file of the training folder for messages: the step of a checkpoint's file."""
        step = _step(self.place(path).parent / _STATE) if self.binding.trained else None
        return self.digest(path)[:12] if step is None else f"step {step}"

    def cause(self, kind: str, name: str, before: str) -> Cause:
        """Return the cause of a changed dependency that a task had recorded as `before`."""
        if kind == "results":
            return Cause("other results are bound" if name == GIVEN else f"{name} changed")
        if name == BOUND:
            return Cause(f"a training run is {self.current(kind, name)}")
        if name.endswith("/"):
            return Cause(f"the files of {self.binding.name}/{name.removeprefix('./')} changed")
        what = f"{name} of {self.binding.name or 'the training run'} changed"
        now = self.shown(name)
        steps = before != now and before.startswith("step ") and now.startswith("step ")
        return Cause(f"{what} ({before} -> {now.removeprefix('step ')})" if steps else what)

    def check(self) -> None:
        """Refuse what changed since this build looked at it.

        Raises:
            TaskError: A file has another content now, or is gone.
        """
        for full in list(self._digests):
            before, now = self.looked[full], _signature(Path(full))
            # A new hard link changes a time of the file, and nothing of what it holds.
            if now != before and not (now and before and but_ctime(now) == but_ctime(before)):
                raise _changed(full)

    def forget(self) -> None:
        """Look at everything anew: the task at work has trained the model."""
        self.looked.clear()
        self._digests.clear()

    def linked(self, full: Path) -> None:
        """Take note that this build made a hard link to a file, which changes its ctime."""
        with self._lock:
            before = self.looked.get(str(full))
            if before and but_ctime(now := settled(full)) == but_ctime(before):
                self._note(str(full), now, self._digests[str(full)])

    def signatures(self) -> dict[str, list[int]] | None:
        """Return what was looked at, for a snapshot; None if a file is too new to be trusted."""
        trusted = all(is_settled(each) for each in self.looked.values() if each)
        return dict(self.looked) if trusted else None

    def close(self) -> None:
        """Save the digests, so that the next build reads unchanged files no more."""
        with self._lock:
            if self._is_changed:
                # The data of a training in the build is bound by that build only, and stays known.
                known = self._known.items()
                self._save(
                    {path: each for path, each in known if _signature(Path(path)) == each[0]}
                )
                self._is_changed = False

    def _digest(self, root: Path, path: str) -> str:
        full = f"{root}/{path}"
        with self._lock:  # Of tasks side by side, one hashes a file, and the others wait.
            if full not in self._digests:
                _must_be_plain(root, path)
                before = _signature(Path(full))
                digest = self._hashed(full, before) if before else ""
                self._note(full, before, digest)
                self._digests[full] = digest
            return self._digests[full]

    def _hashed(self, full: str, signature: list[int]) -> str:
        known, digest = self._known.get(full, ([], ""))
        if known != signature:
            self._must_be_worth_it(full, signature[2])
            digest = files.sha256_of(Path(full))
            if _signature(Path(full)) != signature:
                raise _changed(full)
        return digest

    def _must_be_worth_it(self, full: str, size: int) -> None:
        """Refuse a large file that no work could use, before it is hashed for minutes."""
        if size <= LARGEST or self.binding.every:
            return
        if full.endswith(_WEIGHTS):
            header.read(Path(full), full)
        else:
            sentence = f"This file has {size:,} bytes, more than {LARGEST:,}."
            raise TaskError(Problem(sentence, full, _ASIDE))

    def _note(self, full: str, signature: list[int], digest: str) -> None:
        self.looked[full] = signature
        if signature and is_settled(signature) and self._known.get(full) != (signature, digest):
            self._known[full] = (signature, digest)
            self._is_changed = True
            # Hashing gigabytes again, because a later task was killed, would take minutes.
            if signature[2] >= _SAVED_AT_ONCE:
                self.close()

    def _take(self, given: Path) -> None:
        """Note the files of one given path by names that tell them apart."""
        assert self._results is not None
        name, number = given.name, 1
        while any(each == name or each.startswith(f"{name}/") for each in self._results):
            number += 1
            name = f"{given.name}-{number}"
        if not given.is_dir():
            self._results[name] = (given.parent, given.name)
            return
        for path in self._below(given):
            self._results[f"{name}/{path}"] = (given, path)

    def _below(self, root: Path) -> list[str]:
        """Return the paths of the files of results below a folder, sorted."""
        found: list[str] = []
        pending = [""]
        while pending:
            folder = pending.pop()
            place = root / folder if folder else root
            self.looked.setdefault(str(place), _signature(place))
            for name, mode in _listed(root, folder):
                path = f"{folder}/{name}" if folder else name
                if stat.S_ISDIR(mode):
                    pending.append(path)
                elif self.binding.every or name.endswith(_RESULTS):
                    found.append(path)
            if len(found) + len(pending) > _MOST:
                raise _too_many(root)
        return sorted(found)


def _step(state: Path) -> int | None:
    """Return the step that train.py wrote beside weights, for messages; None without one."""
    try:
        step = json.loads(files.read_plain(state, _LARGEST_STATE))["step"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None


def names_digest(names: tuple[str, ...]) -> str:
    """Return the digest of the names of files."""
    return files.sha256(files.canonical(names).encode())


def _load(full: Path, digest: str) -> bytes:
    try:
        data = files.read_plain(full, LARGEST)
    except OSError as error:
        raise TaskError(Problem(f"{error.strerror}.", str(full), _ASIDE)) from None
    if files.sha256(data) != digest:
        raise _changed(str(full))
    return data


def _signature(path: Path) -> list[int]:
    try:
        return signature_of(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _listed(root: Path, folder: str) -> list[tuple[str, int]]:
    """Return the name and the mode of each entry of a folder; a missing one has none."""
    if folder:
        _must_be_plain(root, f"{folder}/-")
    try:
        with os.scandir(root / folder) as found:
            listed = [(e.name, e.stat(follow_symlinks=False).st_mode) for e in found]
    except FileNotFoundError:
        return []
    if len(listed) > _MOST:
        raise _too_many(root / folder)
    for name, _ in listed:
        _must_be_inside(name)
    return listed


def _must_be_inside(path: str) -> None:
    if not files.is_inside(path):
        sentence = f"{path!r} is no path below a training folder"
        raise TaskError(Problem(f"{sentence}.", hint="rename the file, or name another folder"))


def _must_be_plain(root: Path, path: str) -> None:
    _must_be_inside(path)
    if blocked := files.obstacle(root, path):
        what = files.kind(os.lstat(blocked).st_mode)
        sentence = f"This is {what}; a training run is read from files and folders only."
        raise TaskError(Problem(sentence, blocked, "put a copy of the file in its place"))


def _too_many(folder: Path) -> TaskError:
    sentence = f"This folder has more than {_MOST:,} entries."
    return TaskError(Problem(sentence, str(folder), "name the folder of the results alone"))


def _changed(path: str) -> TaskError:
    hint = "wait until the program that writes it has ended, and run the same command again"
    return TaskError(Problem("This file changed while it was read.", path, hint))
