"""What all tests share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not cut the power, so they need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
