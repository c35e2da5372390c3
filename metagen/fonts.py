"""Fonts of this machine for scripts that the fonts of TeX and of matplotlib lack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "fonts-droid-fallback"  # the smallest of Debian that has Chinese, Japanese and Korean
_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
)
# Scripts whose letters join or turn by rules of their own, such as Devanagari, have no font here.
_NAMES = (
    "NotoSerifCJK-Regular",
    "NotoSansCJK-Regular",
    "DroidSansFallbackFull",
    "DroidSansFallback",
    "wqy-microhei",
    "wqy-zenhei",
    "uming",
    "NotoSansThai-Regular",
    "NotoSansSymbols2-Regular",
)


def installed() -> tuple[Path, ...]:
    """Return the files of the fonts that this machine has, the most suitable first."""
    files = sorted(file for folder in _FOLDERS for file in _within(Path(folder).expanduser()))
    known = {file.stem: file for file in reversed(files)}
    return tuple(known[name] for name in _NAMES if name in known)


def version() -> str:
    """Return the names and sizes of the fonts in `installed`; "" if there are none."""
    return ", ".join(f"{file.stem} {file.stat().st_size}" for file in installed())


def _within(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, n) for n in names if n.endswith((".ttf", ".ttc", ".otf")))
