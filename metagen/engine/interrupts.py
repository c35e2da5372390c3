"""Ctrl-C and its like: a build ends at once, and the next one goes on from there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TEXT = b"\ninterrupted; the same command goes on from here\n"


def watch() -> None:
    """From now on end the process at a signal, with a sentence; called in the main thread.

    There is nothing to tidy up: each task is one transaction, programs hang on their leash, and
    to wait for the tasks of other threads would only lose time.
    """
    for number in _SIGNALS:
        signal.signal(number, _leave)


@contextmanager
def watched() -> Iterator[None]:
    """Do so for a while."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    watch()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, _TEXT)
    os._exit(128 + number)
