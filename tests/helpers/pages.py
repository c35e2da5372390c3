"""How far the pages of a PDF are filled."""

from __future__ import annotations

import subprocess
from pathlib import Path

_FOOT = 0.92  # the number of a page stands below this share of its height
_GREY = 200  # brighter pixels are paper


def filled(pdf: bytes, folder: Path) -> list[tuple[float, float]]:
    """Return for each page the shares of its height at which the ink of its two columns ends."""
    (folder / "main.pdf").write_bytes(pdf)
    command = ["pdftoppm", "-r", "20", "-gray", "main.pdf", "page"]
    subprocess.run(command, cwd=folder, check=True)
    return [_ends(page.read_bytes()) for page in sorted(folder.glob("page-*.pgm"))]


def _ends(pgm: bytes) -> tuple[float, float]:
    _, size, _, data = pgm.split(b"\n", 3)
    width, height = map(int, size.split())
    rows = [data[y * width : (y + 1) * width] for y in range(int(_FOOT * height))]
    return _end([row[: width // 2] for row in rows]), _end([row[width // 2 :] for row in rows])


def _end(rows: list[bytes]) -> float:
    inked = [place for place, row in enumerate(rows, 1) if min(row) < _GREY]
    return max(inked, default=0) / len(rows)
