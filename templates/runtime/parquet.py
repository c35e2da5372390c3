"""Tables of Parquet files, whole."""

from pathlib import Path
from typing import Any

from runtime.errors import fail


def parquet_table(path: Path) -> Any:
    """Return the table of a Parquet file, a pyarrow.Table, or stop."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        fail(f"reading {path} needs a library: pip install pyarrow.")
    try:
        return pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        fail(f"{path} cannot be read as Parquet: {error}.")
