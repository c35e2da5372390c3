"""manifest.json: each file's sha256 and size, the task that made it, what it was made from."""

from __future__ import annotations

from typing import Any, cast

from metagen import files
from metagen.engine.desk import TracingDesk
from metagen.work import Desk, Recipe

MANIFEST = "manifest.json"


def recipe(others: tuple[Recipe, ...]) -> Recipe:
    """Return the recipe that lists what the other recipes make."""
    targets = tuple(target for other in others for target in other.targets)

    def work(desk: Desk) -> dict[str, bytes]:
        rows = [_row(cast(TracingDesk, desk), other, t) for other in others for t in other.targets]
        return {MANIFEST: files.json_bytes(sorted(rows, key=lambda row: row["path"]))}

    doc = "list every file with its sha256 and what it was made from"
    return Recipe("manifest:manifest", work, targets, (MANIFEST,), doc)


def _row(desk: TracingDesk, maker: Recipe, path: str) -> dict[str, Any]:
    data = desk.read(path)
    row = {
        "path": path,
        "sha256": files.sha256(data),
        "bytes": len(data),
        "task": maker.name,
    }
    return row | desk.provenance(path)
