"""What a history of builds holds, and how each of its builds is judged."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metagen import files
from metagen.engine.cache import Shared
from metagen.errors import CONFLICT, DONE, USAGE, SpecError

from . import inside, outside, values
from .disturbances import Trick
from .inside import Build
from .lab import Lab
from .tally import Tally
from .witness import Log

_TRACEBACKS = ("Traceback", "MetaGen's own")
PRISTINE = files.canonical({})
"""The digest of no change of what metagen ships."""

Key = tuple[tuple[str, ...], str]  # the settings, and the digest of the templates and the code
Cleans = dict[tuple[Path, Key], Build]


class Violation(Exception):
    """Something that must hold does not."""


class Record:
    """What a history holds: an out folder, what the spec says now, and what was built.

    Attributes:
        overrides: The values that the spec has now in place of its own, by key.
        edits: The outputs that were edited by hand and not discarded since.
        visited: The overrides of each package that was built, by its key.
        standing: The key of the package that the folder holds; None when it may hold another.
        lossy: Whether records of earlier builds may be lost, so that ways back may run tasks.
        originals: What metagen ships, by the path of each file that was changed.
        sources: The digest of these changes.
        cache: The cache that all builds of this history share; None for the others.
    """

    spec: Path
    out: Path
    shipped: Path
    sources: str
    cache: Path | None

    def __init__(self, lab: Lab, cleans: Cleans, tally: Tally) -> None:
        self.lab, self.cleans, self.tally = lab, cleans, tally
        self.overrides: dict[str, str] = {}
        self.edits: set[str] = set()
        self.visited: dict[Key, dict[str, str]] = {}
        self.originals: dict[Path, bytes] = {}
        self.standing: Key | None = None
        self.lossy = False

    def edit(self, chance: random.Random) -> str:
        """Edit the spec, so that the next build has work to do."""
        key = chance.choice(values.leaf_keys())
        others = _others(self.spec, key)
        if not others:
            return f"{key} has no other value"
        self.overrides[key] = chance.choice(others)
        return self.overrides[key]

    def build_and_judge(self, *, discard_edits: bool = False) -> int:
        """Build, and judge the result; return the exit status."""
        self.tally.count("builds")
        built = self.result(discard_edits=discard_edits)
        label = f"status {built.status} {built.output[-400:]}"
        self.must(is_clean(built.output), "tracebacks", label)
        if discard_edits or not self.edits:
            self._judge(built, label)
        elif built.status in (DONE, CONFLICT):
            self._judge_manifest(built)
        if built.status in (DONE, CONFLICT):
            again = self.result()
            self.must(not again.log.ran, "not settled", f"{label}: {sorted(again.log.ran)}")
        return built.status

    def _judge(self, built: Build, label: str) -> None:
        """Compare a package without edits to a clean build, and what ran to what had to run."""
        key, clean = self.key(), self._clean()
        self.must(built.status == clean.status, "stale", f"clean has {clean.status}, {label}")
        if clean.status != DONE:
            self.standing = None
            return
        wrong = inside.difference(built.tree, clean.tree)
        self.must(not wrong, "stale", f"{wrong}, {label}")
        ran = sorted(built.log.ran)
        if key == self.standing:
            self.tally.count("builds with nothing to do")
            self.must(not ran, "not settled", str(ran))
        if key in self.visited and not self.lossy:
            self.tally.count("ways back")
            self.must(not ran, "ran on the way back", str(ran))
        self.edits.clear()
        self.standing, self.visited[key] = key, dict(self.overrides)

    def _judge_manifest(self, built: Build) -> None:
        """Compare each file to its sha256 in the manifest, unless that was edited too."""
        self.standing = None
        if "manifest.json" in self.edits:
            return
        run = f"run-{self.spec.stem}"
        for row in json.loads(built.tree[f"{run}/manifest.json"]):
            data = built.tree[f"{run}/{row['path']}"]
            self.must(files.sha256(data) == row["sha256"], "unseen edits", row["path"])

    def must(self, holds: bool, kind: str, case: str) -> None:
        if not holds:
            raise Violation(kind, case)

    def _clean(self) -> Build:
        key = (self.spec, self.key())
        if key not in self.cleans:
            with self.lab.folder() as folder:
                self.cleans[key] = _result(folder / "clean", self.spec, self._settings())
        return self.cleans[key]

    def key(self) -> Key:
        return tuple(sorted(self._settings())), self.sources

    def _settings(self) -> list[str]:
        return list(self.overrides.values())

    def output(self, chance: random.Random) -> Path | None:
        """Return a file of the package."""
        paths = sorted(p for p in self.out.glob("run-*/**/*") if p.is_file())
        self.standing = None
        return chance.choice(paths) if paths else None

    def change(self, path: Path, data: bytes, trick: Trick) -> None:
        self.originals.setdefault(path, path.read_bytes())
        trick(path, data)
        self.sources = self.digest()

    def digest(self) -> str:
        """Return the digest of what differs from what metagen ships."""
        changed = {
            path.relative_to(self.shipped).as_posix(): files.sha256(path.read_bytes())
            for path, data in self.originals.items()
            if path.read_bytes() != data
        }
        return files.canonical(changed)

    def result(self, **rules: bool) -> Build:
        cache = str(self.cache) if self.cache else None
        return _result(self.out, self.spec, self._settings(), cache=Shared.of(cache), **rules)

    def start(self, *more: str) -> Any:
        name = ("--run-id", self.spec.stem, "--out", str(self.out))
        cache = ("--cache", str(self.cache)) if self.cache else ()
        command = ("synth", str(self.spec), *name, *cache, *self._settings(), *more)
        return outside.start(*command, SHIPPED=str(self.shipped))

    def doit(self, words: Sequence[str]) -> Any:
        command = [word.format(run=self.spec.stem, out=self.out) for word in words]
        package = (f"spec={self.spec}", f"out={self.out}", f"run_id={self.spec.stem}")
        command += [*package, *self._settings()]
        here = outside.REPOSITORY
        result = outside.metagen("doit", *command, cwd=here, SHIPPED=str(self.shipped))
        self.must(is_clean(result.stderr), "tracebacks", f"doit: {result.stderr[-600:]}")
        return result


def _result(out: Path, spec: Path, overrides: Sequence[str], **rules: Any) -> Build:
    """Build; a spec that is refused at the door has the status that the command has."""
    try:
        return inside.build(out, spec, overrides, **rules)
    except SpecError as error:
        return Build(USAGE, str(error), Log(), {}, inside.tree(out))


@functools.cache
def _others(spec: Path, key: str) -> list[str]:
    """Return one or two settings of a key to other values."""
    raws = values.buildable(spec, key, random.Random(f"{spec.stem} {key}"), most=2)
    return [values.setting(key, raw) for raw in raws]


def edited(data: bytes) -> bytes:
    """Return a text in which one word differs, so that it has the same size and is still valid."""
    return data.replace(b" the ", b" THE ", 1) if b" the " in data else data + b"\n"


def is_clean(text: str) -> bool:
    return not any(word in text for word in _TRACEBACKS)
