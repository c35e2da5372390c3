"""The library that reads Parquet and Arrow files."""

from pathlib import Path
from typing import Any

from runtime.errors import fail


def pyarrow_for(path: Path) -> Any:
    """Return pyarrow, which a file needs, or stop."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.ipc  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        fail(f"reading {path} needs a library: pip install pyarrow.")
    return pyarrow
