"""The versions of the installed libraries, found in a millisecond."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import cache


@cache
def installed() -> dict[str, str]:
    """Return the version of each installed library, from the name of its metadata's folder."""
    found: dict[str, str] = {}
    for folder in reversed(sys.path):
        with suppress(OSError):
            for entry in os.listdir(folder or "."):  # noqa: PTH208, since it is fast
                if entry.endswith(".dist-info"):
                    name, _, number = entry.removesuffix(".dist-info").rpartition("-")
                    found[normal(name)] = number
    return found


def normal(name: str) -> str:
    """Return a library's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
