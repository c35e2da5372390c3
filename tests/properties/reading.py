"""What a reader of code/runtime/ returns, and what it says, in this process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any


def heard(read: Callable[[], Any]) -> tuple[Any, str]:
    """Return what a reader returns, None if it refuses, and what it says on standard error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            return read(), said.getvalue()
        except SystemExit:
            return None, said.getvalue()
