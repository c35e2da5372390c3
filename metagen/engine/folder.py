"""The files of one run folder: what they hold, and writes that never lose an edit by the user.

An edited file is a source from then on. When a task generates new text for it, both versions are
merged over the text that was generated last. If they conflict, the edited file stays and the new
text is written beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from metagen import files
from metagen.engine.ledger import RunLedger, Trace, Written
from metagen.engine.store import Store
from metagen.errors import TaskError
from metagen.work import Recipe

BESIDE = ".new"  # Suffix of the new text that is written beside an edited file.
# A file whose times are this recent may change again within one tick of the file system's clock and
# keep its times, so its signature is not saved and the next look reads its content.
_RACY_NS = 50_000_000
Known = dict[str, tuple[list[int], str]]
_Lines = Sequence[str]
_Region = tuple[int, int, int, int]  # Start in base, mine and theirs; number of lines.


def signature_of(stat: os.stat_result) -> list[int]:
    """Return mtime, ctime, size and inode: ctime moves with every write, even if mtime is reset."""
    return [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]


class RunFolder:
    """A run folder on disk; a file is read again only when its stat signature changed.

    Attributes:
        root: The folder.
        known: The signature and the sha256 of each file that was read.
        changed: Whether `known` changed since it was loaded.
        backups: The folder of backups.
    """

    def __init__(self, root: Path, backups: Path, scratch: Path, known: Known) -> None:
        self.root = root
        self.known = known
        self.changed = False
        self.backups = backups
        self._scratch = scratch
        self._root = str(root)
        self._digests: dict[str, str] = {}

    def digest(self, path: str) -> str:
        """Return the sha256 of a file as it was at the first look of this build; "" if missing."""
        if path not in self._digests:
            self._digests[path] = self._look(path)
        return self._digests[path]

    def fresh(self, path: str) -> str:
        """Return the sha256 of a file at this moment: an editor may have saved it meanwhile."""
        self._digests.pop(path, None)
        return self.digest(path)

    def _look(self, path: str) -> str:
        full = os.path.join(self._root, path)  # noqa: PTH118, slower than the stat
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
        """Return the content of a file, or raise a TaskError that names it."""
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise TaskError(f"{self.root / path} cannot be read: {error.strerror}.") from None

    def write(self, path: str, data: bytes) -> None:
        self._digests.pop(path, None)
        files.write_atomic(self.root / path, data, self._scratch)

    def back_up(self, path: str) -> None:
        """Copy a file to the backups, under a name with its digest."""
        data = self.load(path)
        name = f"{path}.{files.sha256(data)[:8]}"
        files.write_atomic(self.backups / name, data, self._scratch)

    def remove(self, path: str) -> bool:
        """Remove a file and the folders that this leaves empty; return whether it existed."""
        self._digests.pop(path, None)
        target = self.root / path
        existed = target.exists()
        target.unlink(missing_ok=True)
        for parent in [p for p in target.parents if self.root in (p, *p.parents)]:
            if not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
        return existed


class MemoryFolder(RunFolder):
    """A run folder as a build would leave it: writes stay in memory."""

    def __init__(self, root: Path, known: Known) -> None:
        super().__init__(root, root, root, known)
        self._written: dict[str, bytes | None] = {}

    def digest(self, path: str) -> str:
        if path not in self._written:
            return super().digest(path)
        data = self._written[path]
        return "" if data is None else files.sha256(data)

    def fresh(self, path: str) -> str:
        return self.digest(path)

    def load(self, path: str) -> bytes:
        data = self._written.get(path)
        return super().load(path) if data is None else data

    def write(self, path: str, data: bytes) -> None:
        self._written[path] = data

    def back_up(self, path: str) -> None:
        """Do nothing: the file on disk is not touched."""

    def remove(self, path: str) -> bool:
        existed = bool(self.digest(path))
        self._written[path] = None
        return existed


class Outputs:
    """The generated files of one package.

    Args:
        folder: The run folder.
        records: The record of what the engine wrote there.
        store: Holds the generated text that an edit began from.
        maker: The recipe that makes each path.

    Attributes:
        displaced: Files without a record that a target replaced; they were backed up.
    """

    def __init__(
        self, folder: RunFolder, records: RunLedger, store: Store, maker: Mapping[str, Recipe]
    ) -> None:
        self.displaced: list[str] = []
        self._folder, self._records, self._store, self._maker = folder, records, store, maker

    def put(self, recipe: Recipe, outputs: Mapping[str, bytes], trace: Trace) -> list[str]:
        """Write the outputs of a run and record it; return the paths that changed."""
        self._records.announce(
            {path: self._announced(recipe, path, d) for path, d in trace.outputs.items()}
        )
        changed = [p for p in outputs if self._put(p, outputs[p], trace.outputs[p])]
        done = {p: Written(recipe.name, digest) for p, digest in trace.outputs.items()}
        self._records.record(done | self._beside(recipe), recipe.name, trace)
        return changed

    def in_place(self, path: str, digest: str) -> bool:
        """Tell whether a path holds a generated text, or the user's edit of that text."""
        written = self._records.written.get(path)
        if written is None:
            return False
        return self._folder.digest(path) == digest or (
            self.edited(path) and written.sha256 == digest
        )

    def edited(self, path: str) -> bool:
        """Tell whether the user edited a generated file."""
        written = self._records.written.get(path)
        if written is None:
            return False
        return self._folder.digest(path) not in {"", written.sha256, written.pending}

    def generated(self, path: str) -> bytes | None:
        """Return the text that was generated last for a path; None if it is lost."""
        written = self._records.written.get(path)
        if written is None or not self._folder.digest(path):
            return None
        return self._store.get(written.sha256) if self.edited(path) else self._folder.load(path)

    def edits(self) -> list[str]:
        return sorted(p for p in self._maker if self.edited(p))

    def signatures(self, paths: Iterable[str]) -> dict[str, list[int]]:
        """Return the stat signature of each path, for `workspace.Snapshots`.

        The result is empty if one of them is edited, or too new for its signature to be trusted.
        """
        signatures = {}
        for path in paths:
            written, known = self._records.written.get(path), self._folder.known.get(path)
            if not written or not known or known[1] != written.sha256:
                return {}
            signatures[path] = known[0]
        return signatures

    def conflicts(self) -> list[str]:
        """Return the edited files that have new text beside them."""
        paths = (p.removesuffix(BESIDE) for p in self._records.written if p.endswith(BESIDE))
        return sorted(p for p in paths if self._folder.digest(p + BESIDE))

    def sweep(self) -> list[str]:
        """Remove outputs of tasks that no longer exist, unless edited; return those removed."""
        orphans = [p for p in self._records.written if p not in self._maker]
        unedited = [p for p in orphans if not self.edited(p.removesuffix(BESIDE))]
        removed = [p for p in unedited if self._folder.remove(p)]
        if unedited:
            self._records.record(dict.fromkeys(unedited))
        return removed

    def discard_edits(self) -> list[str]:
        """Move edited files to the backups, so that the build writes them again."""
        edited = self.edits()
        for path in edited:
            self._folder.back_up(path)
            self._folder.remove(path)
        return edited

    def clean(self, recipe: Recipe) -> list[str]:
        """Remove the outputs of a task, unless edited, and its runs; return those removed."""
        removed = [p for p in recipe.targets if not self.edited(p) and self._folder.remove(p)]
        self._records.forget(recipe.name)
        return removed

    def _announced(self, recipe: Recipe, path: str, digest: str) -> Written:
        """Return the record of a path about to be written; back up a file that has none."""
        now, known = self._folder.fresh(path), self._records.written.get(path)
        if known is None:
            if now not in {"", digest}:
                self._folder.back_up(path)
                self.displaced.append(path)
            return Written(recipe.name, now, digest)
        # A build killed after the write, and before the record of it, left the pending text.
        return Written(recipe.name, now if now == known.pending else known.sha256, digest)

    def _put(self, path: str, data: bytes, digest: str) -> bool:
        """Write one output over its own earlier text; merge it into an edit of another text."""
        now, written = self._folder.fresh(path), self._records.written[path]
        if now == digest:
            return False
        if now in {"", written.sha256}:
            self._folder.write(path, data)
        elif written.sha256 != digest:  # An edit of this same text stays as it is.
            self._reconcile(path, written.sha256, data)
        return True

    def _reconcile(self, path: str, base: str, data: bytes) -> None:
        """Merge new text into an edited file; if they conflict, write it beside the file."""
        result = merge(self._store.get(base) or b"", self._folder.load(path), data)
        if result is None:
            self._folder.write(path + BESIDE, data)
        else:
            self._folder.write(path, result)
            self._folder.remove(path + BESIDE)

    def _beside(self, recipe: Recipe) -> dict[str, Written | None]:
        """Return the records of new texts beside edited targets, so that `sweep` knows them."""
        digests = {p + BESIDE: self._folder.digest(p + BESIDE) for p in recipe.targets}
        return {path: Written(recipe.name, digest) for path, digest in digests.items() if digest}


def merge(base: bytes, mine: bytes, theirs: bytes) -> bytes | None:
    """Merge two texts over their common base, as diff3 does.

    The regions common to all three split each text into chunks. If one side left a chunk
    unchanged, the other side's version is taken (Khanna, Kunal & Pierce, "A formal investigation
    of diff3", 2007). The result is None if both sides changed the same lines differently, or if
    the bytes are not text.
    """
    try:
        texts = [data.decode().splitlines(keepends=True) for data in (base, mine, theirs)]
    except UnicodeDecodeError:
        return None
    result: list[str] = []
    for old, ours, new, common in _chunks(*texts):
        side = _choose(old, ours, new)
        if side is None:
            return None
        result += [*side, *common]
    return "".join(result).encode()


def _chunks(
    base: _Lines, mine: _Lines, theirs: _Lines
) -> Iterator[tuple[_Lines, _Lines, _Lines, _Lines]]:
    """Yield the chunks of base, mine and theirs before each common region, and the region."""
    at_base = at_mine = at_theirs = 0
    end = (len(base), len(mine), len(theirs), 0)
    for in_base, in_mine, in_theirs, length in [*_common(base, mine, theirs), end]:
        yield (
            base[at_base:in_base],
            mine[at_mine:in_mine],
            theirs[at_theirs:in_theirs],
            base[in_base : in_base + length],
        )
        at_base, at_mine, at_theirs = in_base + length, in_mine + length, in_theirs + length


def _common(base: _Lines, mine: _Lines, theirs: _Lines) -> Iterator[_Region]:
    """Yield the regions that base has in common with both sides, in order."""
    ours = SequenceMatcher(None, base, mine, autojunk=False).get_matching_blocks()
    news = SequenceMatcher(None, base, theirs, autojunk=False).get_matching_blocks()
    for one in ours:
        for two in news:
            start, stop = max(one.a, two.a), min(one.a + one.size, two.a + two.size)
            if start < stop:
                yield start, one.b + start - one.a, two.b + start - two.a, stop - start


def _choose(old: _Lines, ours: _Lines, new: _Lines) -> _Lines | None:
    """Return the side of a chunk that changed; if both did, compare line by line, else None."""
    if ours == new or old == new:
        return ours
    if old == ours:
        return new
    if len(old) == len(ours) == len(new) > 1:
        lines = [_choose([o], [u], [n]) for o, u, n in zip(old, ours, new, strict=True)]
        return None if None in lines else [line[0] for line in lines if line]
    return None
