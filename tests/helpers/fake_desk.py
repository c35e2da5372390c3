"""A desk over files in memory, for a recipe that is run alone."""

from __future__ import annotations

from typing import Any

from metagen import entries, paths


class FakeDesk:
    """A desk over a dictionary of files and of spec keys; it serves what a recipe declares.

    `own` holds the generated text of files that were edited.
    """

    def __init__(self, files: dict[str, bytes], keys: dict[str, Any]) -> None:
        self.files, self.keys = files, keys
        self.own: dict[str, bytes] = {}
        self.reads: set[str] = set()
        self.changed: set[str] = set()
        self.asked: set[str] = set()

    def key(self, name: str) -> Any:
        self.asked.add(name)
        return self.keys[name]

    def read(self, path: str) -> bytes:
        self.reads.add(path)
        return self.files[path]

    def entry(self, path: str, *way: str) -> Any:
        return entries.at(entries.parse(path, self.read(path)), way)

    def names(self, path: str, *way: str) -> tuple[str, ...]:
        return entries.names(self.entry(path, *way))

    def edited(self, path: str) -> bool:
        self.reads.add(path)
        return path in self.changed

    def generated(self, path: str) -> bytes | None:
        return self.own.get(path, self.files[path])

    def source(self, name: str) -> bytes:
        return paths.source(name).read_bytes()

    def version(self, name: str) -> str:
        return "1"

    def observed(self, path: str, seen: bytes) -> bytes:
        return seen

    def code(self, module: str) -> str:
        return module

    def progress(self, done: int, total: int, note: str = "") -> None:
        pass
