"""Folders that are replaced as a whole."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import fail


@contextlib.contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Give a folder beside this one to fill, and put it in its place when that has gone well.

    Args:
        folder: Where the result will stand; what it holds is replaced only if `mark` is there.
        mark: A file by which a folder made by this script is known.
    """
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file: name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        fail(f"{folder} holds other files, which would be replaced: name a new folder.")
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError as error:
        fail(f"{folder} cannot be written: {error}.")
    finally:
        shutil.rmtree(new, ignore_errors=True)
