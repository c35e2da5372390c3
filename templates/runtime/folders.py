"""Folders that are replaced as a whole."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import fail


@contextlib.contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder to fill, which replaces `folder` if the block succeeds.

    Args:
        folder: The final folder. Its content is replaced only if it has the file `mark`.
        mark: A file that only this script writes, which protects other folders of the user.
    """
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file: name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        fail(f"{folder} has other files, which would be replaced: name a new folder.")
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
