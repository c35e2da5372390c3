"""The readers of code/runtime/, imported from the templates without building a package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from metagen import paths

from .generated import forget


class Readers:
    """The modules of `runtime/` by their names, each imported at its first use."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(f"runtime.{name}")


@contextmanager
def readers() -> Iterator[Readers]:
    """Yield the modules, and forget them afterwards."""
    before = forget()
    sys.path.insert(0, str(paths.templates()))
    try:
        yield Readers()
    finally:
        sys.path.remove(str(paths.templates()))
        forget()
        sys.modules.update(before)
