"""The files of one run folder: what they hold, and writes that never lose an edit by the user.

An edited file is a source from then on. When a task generates new text for it, both versions are
merged over the text that was generated last. If they conflict, the edited file stays and the new
text is written beside it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from metagen import files
from metagen.engine import large
from metagen.engine.ledger import RunLedger, Trace, Written
from metagen.engine.merge import merge
from metagen.engine.signatures import Known, is_settled, signature_of
from metagen.engine.store import Store
from metagen.errors import Problem, TaskError
from metagen.work import Output, Recipe

BESIDE = ".new"  # Suffix of the new text that is written beside an edited file.


class RunFolder:
    """A run folder on disk; a file is read again only when its stat signature changed.

    No link is followed below the out folder, and nothing but regular files is read: the folder may
    come from a stranger. `obstacle` names what is in the place of a file.

    Attributes:
        root: The folder.
        known: The signature and the sha256 of each file that was read.
        changed: Whether `known` changed since it was loaded.
        backups: The folder of backups.
        sources: The signature of each file outside that may be linked into the folder.
    """

    def __init__(self, root: Path, backups: Path, scratch: Path, known: Known) -> None:
        self.root = root
        self.known = known
        self.changed = False
        self.backups = backups
        self.sources: Mapping[str, list[int]] = {}
        self._scratch = scratch.absolute()  # Programs get paths in it, and run elsewhere.
        self._root = str(root)
        self._plain: set[str] = set()  # Folders that were no links at the first look.
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
        folder, full = path.rpartition("/")[0], f"{self._root}/{path}"
        if folder not in self._plain:
            self._must_be_plain(path)
            self._plain.add(folder)
        try:
            seen = os.lstat(full)
        except FileNotFoundError:
            return ""
        if not stat.S_ISREG(seen.st_mode):
            self._must_be_plain(path)
        signature = signature_of(seen)
        if path in self.known and self.known[path][0] == signature:
            return self.known[path][1]
        digest = files.sha256_of(Path(full))
        if is_settled(signature):
            self.known[path] = (signature, digest)
            self.changed = True
        return digest

    def obstacle(self, path: str) -> str:
        """Return what keeps a path from being a plain file in plain folders; "" for nothing."""
        return files.obstacle(self.root, path)

    def _must_be_plain(self, path: str) -> None:
        if blocked := self.obstacle(path):
            sentence = f"This is {files.kind(os.lstat(blocked).st_mode)}, and no build made it"
            hint = "move it away, or build with --discard-edits, which moves it to .metagen/backup"
            raise TaskError(Problem(f"{sentence}: {path} must be written here.", blocked, hint))

    def load(self, path: str) -> bytes:
        """Return the content of a file, or raise a TaskError that names it."""
        self._must_be_plain(path)
        try:
            return files.read_plain(self.root / path)
        except OSError as error:
            raise TaskError(f"{self.root / path} cannot be read: {error.strerror}.") from None

    def size(self, path: str) -> int:
        """Return the size of a file that exists, in bytes."""
        self._must_be_plain(path)
        return os.lstat(f"{self._root}/{path}").st_size

    def place_of(self, path: str) -> Path:
        """Return where a program, which runs in any folder, can read a file that exists."""
        self._must_be_plain(path)
        return (self.root / path).absolute()

    def write(self, path: str, data: Output) -> None:
        """Write a file, or put a large one into place."""
        self._digests.pop(path, None)
        self._must_be_plain(path)
        if isinstance(data, bytes):
            files.write_atomic(self.root / path, data, self._scratch)
        elif signature := large.put(data, self.root / path, self._scratch, self.sources):
            self.known[path] = (signature, data.sha256)
            self.changed = True

    def new_scratch(self) -> Path:
        """Return a new empty folder in the file system of the run folder, for large files."""
        folder = self._scratch / os.urandom(8).hex()
        folder.mkdir(parents=True)
        return folder

    def drop_scratch(self, folder: Path) -> None:
        """Remove a folder of `new_scratch` after its files were written."""
        files.remove(folder)

    def back_up(self, path: str) -> None:
        """Copy a file to the backups, under a name with its digest."""
        digest = self.fresh(path)
        self._must_be_plain(path)
        large.back_up(self.root / path, self._backup(f"{path}.{digest[:8]}"), self._scratch)

    def move_away(self, blocked: str) -> str:
        """Move an `obstacle` to the backups; return its path in the run folder."""
        path = os.path.relpath(blocked, self._root)
        name = self.root.name if blocked == self._root else path
        backup = self._backup(f"{name}.{os.urandom(4).hex()}")
        backup.parent.mkdir(parents=True, exist_ok=True)
        Path(blocked).rename(backup)
        return path

    def _backup(self, name: str) -> Path:
        """Return where a backup goes."""
        blocked = files.obstacle(self.backups, name)
        if blocked:
            raise TaskError(Problem("A backup must be written here.", blocked, "Move it away."))
        return self.backups / name

    def remove(self, path: str) -> bool:
        """Remove a file and the folders that this leaves empty; return whether it existed."""
        self._digests.pop(path, None)
        self._must_be_plain(path)
        target = self.root / path
        existed = target.exists()
        target.unlink(missing_ok=True)
        for parent in [p for p in target.parents if self.root in (p, *p.parents)]:
            if not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
        return existed


class Outputs:
    """The generated files of one package.

    Args:
        folder: The run folder.
        records: The record of what the engine wrote there.
        store: Holds the generated text that an edit began from.
        maker: The recipe that makes each path.

    Attributes:
        displaced: Files that a build replaced and whose text it did not write; they were backed up.
    """

    def __init__(
        self, folder: RunFolder, records: RunLedger, store: Store, maker: Mapping[str, Recipe]
    ) -> None:
        self.displaced: list[str] = []
        self._folder, self._records, self._store, self._maker = folder, records, store, maker

    def put(self, recipe: Recipe, outputs: Mapping[str, Output], trace: Trace) -> list[str]:
        """Write the outputs of a run and record it; return the paths that changed."""
        self._records.announce(
            {path: self._announced(recipe, path, d) for path, d in trace.outputs.items()}
        )
        changed = [p for p in outputs if self._put(recipe, p, outputs[p], trace.outputs[p])]
        done = {p: Written(recipe.name, digest) for p, digest in trace.outputs.items()}
        self._records.record(done, recipe.name, trace)
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
        return sorted(p for p in paths if self._is_there(p + BESIDE))

    def sweep(self) -> list[str]:
        """Remove outputs of tasks that no longer exist, unless edited; return those removed."""
        orphans = [p for p in self._records.written if p not in self._maker]
        done = [p for p in orphans if not self._stays(p)]
        removed = [p for p in done if self._is_as_written(p) and self._folder.remove(p)]
        if done:
            self._records.record(dict.fromkeys(done))
        return removed

    def _stays(self, orphan: str) -> bool:
        """Tell whether a file is an edit by the user, or a new text beside one."""
        edit = orphan.removesuffix(BESIDE)
        return self._is_there(orphan) and self._is_there(edit) and self.edited(edit)

    def _is_there(self, path: str) -> bool:
        return not self._folder.obstacle(path) and bool(self._folder.digest(path))

    def _is_as_written(self, path: str) -> bool:
        return path in self._records.written and self._is_there(path) and not self.edited(path)

    def discard_edits(self) -> list[str]:
        """Move edited files, and what is in the place of one, to the backups; return their paths.

        The build writes them again.
        """
        blocked = (self._folder.obstacle(path) for path in self._maker)
        moved = [self._folder.move_away(each) for each in blocked if each]
        edited = self.edits()
        for path in edited:
            self._folder.back_up(path)
            self._folder.remove(path)
        return [*moved, *edited]

    def clean(self, recipe: Recipe) -> list[str]:
        """Remove the outputs of a task, unless edited, and its runs; return those removed."""
        written = [p for p in recipe.targets if self._is_as_written(p)]
        removed = [p for p in written if self._folder.remove(p)]
        self._records.forget(recipe.name)
        return removed

    def _announced(self, recipe: Recipe, path: str, digest: str) -> Written:
        """Return the record of a path about to be written; back up a file that has none."""
        now, known = self._folder.fresh(path), self._records.written.get(path)
        if known is None:
            if now not in {"", digest}:
                self._displace(path)
            return Written(recipe.name, now, digest)
        # A build killed after the write, and before the record of it, left the pending text.
        return Written(recipe.name, now if now == known.pending else known.sha256, digest)

    def _displace(self, path: str) -> None:
        """Back up a file whose text the engine did not write, and which it is about to replace."""
        self._folder.back_up(path)
        self.displaced.append(path)

    def _put(self, recipe: Recipe, path: str, data: Output, digest: str) -> bool:
        """Write one output over its own earlier text; merge it into an edit of another text."""
        now, written = self._folder.fresh(path), self._records.written[path]
        if now == digest:
            return False
        if now in {"", written.sha256}:
            self._folder.write(path, data)
        elif written.sha256 != digest:  # An edit of this same text stays as it is.
            self._reconcile(recipe, path, written.sha256, data, digest)
        return True

    def _reconcile(self, recipe: Recipe, path: str, base: str, data: Output, digest: str) -> None:
        """Merge new text into an edited file; if they conflict, write it beside the file."""
        result = None
        if isinstance(data, bytes):
            result = merge(self._store.get(base) or b"", self._folder.load(path), data)
        if result is None:
            self._write_beside(recipe, path + BESIDE, data, digest)
        else:
            self._folder.write(path, result)
            self._take_back(path + BESIDE)

    def _write_beside(self, recipe: Recipe, beside: str, data: Output, digest: str) -> None:
        """Write new text beside an edited file, and record it, so that `sweep` knows it."""
        if self._folder.fresh(beside) and self.edited(beside):
            self._displace(beside)
        self._records.announce({beside: self._announced(recipe, beside, digest)})
        self._folder.write(beside, data)
        self._records.record({beside: Written(recipe.name, digest)})

    def _take_back(self, beside: str) -> None:
        """Remove the new text of an earlier conflict, unless the user changed it."""
        if self._is_as_written(beside):
            self._folder.remove(beside)
        if beside in self._records.written:
            self._records.record({beside: None})
