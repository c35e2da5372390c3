"""Text files of a user: the one place where they are opened, and JSON is read line by line."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from runtime.errors import fail


@contextlib.contextmanager
def open_text(path: Path, encoding: str = "utf-8", newline: str | None = None) -> Iterator[TextIO]:
    """Open a file to read; stop where it cannot be opened or, in the block, is no such text.

    Args:
        path: The file.
        encoding: How its bytes stand for characters.
        newline: What `open` takes: None reads each end of a line as one newline.
    """
    try:
        with path.open(encoding=encoding, newline=newline) as stream:
            yield stream
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as UTF-8 text: {error}.")


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the object of each line of a JSONL file, or stop.

    A place is what an error names, such as `notes.jsonl:7`. Blank lines are skipped.
    """
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                fail(f"{place} is not a JSON object.")
            yield place, row
