"""Waiting for another process."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool]) -> None:
    """Look until a condition holds; on a busy machine that takes many looks."""
    for _ in range(30_000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("the condition never held")
