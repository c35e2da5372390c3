"""A desk to which a training folder is bound, to run the work of one recipe of a release."""

from __future__ import annotations

import hashlib
from pathlib import Path

from helpers.plain_desk import PlainDesk


class TrainedDesk(PlainDesk):
    """A desk to which a training folder is bound."""

    folder: Path
    made: Path

    def bound(self) -> bool:
        return True

    def trained(self, path: str) -> bytes:
        return self.trained_place(path).read_bytes()

    def trained_names(self, folder: str) -> tuple[str, ...]:
        place = self.folder / folder
        files = place.iterdir() if place.is_dir() else ()
        return tuple(sorted(path.name for path in files if path.is_file()))

    def trained_digest(self, path: str) -> str:
        return hashlib.sha256(self.trained(path)).hexdigest()

    def trained_place(self, path: str) -> Path:
        if not (self.folder / path).is_file():
            raise LookupError(path)
        return self.folder / path

    def digest(self, path: str) -> str:
        return hashlib.sha256(self.package[path]).hexdigest()

    def place(self, path: str) -> Path:
        place = self.made / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.package[path])
        return place

    def scratch(self) -> Path:
        self.made.mkdir(exist_ok=True)
        return self.made


def desk_over(folder: Path, spec: str = "") -> TrainedDesk:
    desk = TrainedDesk(spec or "license: mit\n", folder)
    desk.folder, desk.made = folder / "run", folder / "made"
    return desk
