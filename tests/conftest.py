"""What all tests share."""

from __future__ import annotations

import os
import signal

import pytest

# A shell that starts tests in the background has them ignore Ctrl-C, and so all that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not cut the power, so they need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
