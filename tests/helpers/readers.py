"""The readers of code/runtime/, imported from the templates without building a package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

from metagen import paths

READERS = (
    *("captions", "errors", "formats", "images", "listing", "masks", "notes", "pixels"),
    *("records", "report", "splits", "texts"),
)


@contextmanager
def readers() -> Iterator[SimpleNamespace]:
    """Yield the modules by their names, and forget them afterwards."""
    before = _forget()
    sys.path.insert(0, str(paths.templates()))
    try:
        modules = {name: importlib.import_module(f"runtime.{name}") for name in READERS}
        yield SimpleNamespace(**modules)
    finally:
        sys.path.remove(str(paths.templates()))
        _forget()
        sys.modules.update(before)


def _forget() -> dict[str, ModuleType]:
    own = [name for name in sys.modules if name.partition(".")[0] == "runtime"]
    return {name: sys.modules.pop(name) for name in own}
