"""The generated files of one package: put in place, and never at the cost of a person's edit.

An edited file is a source from then on. When new text is generated for it, both are merged over
the text that was generated last; where they clash, the new text waits beside the edited file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metagen.engine.ledger import Trace, Written
from metagen.engine.merge import merged
from metagen.engine.place import Place
from metagen.work import Recipe

BESIDE = ".new"  # the end of a name under which new text waits beside an edited file


class Outputs:
    """What the recipes of a package have made.

    Args:
        place: Where.
        maker: The recipe that makes each path.

    Attributes:
        displaced: Files that stood in the way, unknown to the records, and were backed up.
    """

    def __init__(self, place: Place, maker: Mapping[str, Recipe]) -> None:
        self.displaced: list[str] = []
        self._place = place
        self._folder, self._records = place.folder, place.records
        self._maker = maker

    def put(self, recipe: Recipe, outputs: Mapping[str, bytes], trace: Trace) -> list[str]:
        """Write outputs and record the trace that led to them; return the paths that changed.

        What is coming is recorded beforehand, so that a kill in between is no hand edit.
        """
        ahead = {p: self._ahead(recipe, p, digest) for p, digest in trace.outputs.items()}
        self._records.announce(ahead)
        changed = [p for p in outputs if self._put(p, outputs[p], trace.outputs[p])]
        done = {p: Written(recipe.name, digest) for p, digest in trace.outputs.items()}
        self._records.record(done | self._beside(recipe), recipe.name, trace)
        return changed

    def stand(self, path: str, digest: str) -> bool:
        """Return whether a generated file, or a person's edit of it, is in place."""
        written = self._records.written.get(path)
        if written is None:
            return False
        return self._folder.digest(path) == digest or (
            self.edited(path) and written.sha256 == digest
        )

    def edited(self, path: str) -> bool:
        """Return whether a person changed a generated file."""
        written = self._records.written.get(path)
        if written is None:
            return False
        return self._folder.digest(path) not in {"", written.sha256, written.pending}

    def edits(self) -> list[str]:
        """Return the generated files that a person changed."""
        return sorted(p for p in self._maker if self.edited(p))

    def signatures(self, paths: Iterable[str]) -> dict[str, list[int]]:
        """Return the stat signature of each path when its digest was taken.

        Nothing when one of them is not as its task left it, or was written only just now.
        """
        found = {}
        for path in paths:
            written, known = self._records.written.get(path), self._folder.known.get(path)
            if not written or not known or known[1] != written.sha256:
                return {}
            found[path] = known[0]
        return found

    def conflicts(self) -> list[str]:
        """Return the edited files that newly generated text waits beside."""
        waiting = (p.removesuffix(BESIDE) for p in self._records.written if p.endswith(BESIDE))
        return sorted(p for p in waiting if self._folder.digest(p + BESIDE))

    def sweep(self) -> list[str]:
        """Remove outputs of tasks that no longer exist, unless edited; return what went."""
        orphans = [p for p in self._records.written if p not in self._maker]
        settled = [p for p in orphans if not self.edited(p.removesuffix(BESIDE))]
        gone = [p for p in settled if self._folder.remove(p)]
        if settled:
            self._records.record(dict.fromkeys(settled))
        return gone

    def discard_edits(self) -> list[str]:
        """Move edited files to the backup folder, so that the build makes clean ones."""
        edited = self.edits()
        for path in edited:
            self._folder.back_up(path)
            self._folder.remove(path)
        return edited

    def clean(self, recipe: Recipe) -> list[str]:
        """Remove the outputs of a task, unless edited, and forget its runs."""
        gone = [p for p in recipe.targets if not self.edited(p) and self._folder.remove(p)]
        self._records.forget(recipe.name)
        return gone

    def _ahead(self, recipe: Recipe, path: str, digest: str) -> Written:
        """Say what is about to be written at a path, over which of our own bytes."""
        now, known = self._folder.fresh(path), self._records.written.get(path)
        if known is None:
            if now not in {"", digest}:
                self._folder.back_up(path)
                self.displaced.append(path)
            return Written(recipe.name, now, digest)
        return Written(recipe.name, now if now == known.pending else known.sha256, digest)

    def _put(self, path: str, data: bytes, digest: str) -> bool:
        """Write one output; an edit of what was generated from other inputs is merged with it."""
        now, written = self._folder.fresh(path), self._records.written[path]
        if now == digest:
            return False
        if now in {"", written.sha256}:
            self._folder.write(path, data)
        elif written.sha256 != digest:
            self._reconcile(path, written.sha256, data)
        return True

    def _reconcile(self, path: str, base: str, data: bytes) -> None:
        """Merge an edited file with its new text; where both changed it, put the text beside."""
        result = merged(self._place.store.get(base) or b"", self._folder.load(path), data)
        if result is None:
            self._folder.write(path + BESIDE, data)
        else:
            self._folder.write(path, result)
            self._folder.remove(path + BESIDE)

    def _beside(self, recipe: Recipe) -> dict[str, Written | None]:
        waiting = ((p + BESIDE, self._folder.digest(p + BESIDE)) for p in recipe.targets)
        return {path: Written(recipe.name, digest) for path, digest in waiting if digest}
