"""Reading a user's text files, and JSONL line by line; all readers open text here."""

import contextlib
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from runtime.encodings import encoding_of, open_bytes
from runtime.errors import fail


@contextlib.contextmanager
def open_text(
    path: Path, newline: str | None = None, legacy: str | None = None
) -> Iterator[TextIO]:
    """Open a file for reading; stop if that fails, or if the block meets invalid text.

    A file that gzip packed is unpacked, and a byte order mark names UTF-16 or UTF-32.

    Args:
        path: The file.
        newline: Passed to `open`; None reads every end of a line as one newline.
        legacy: The encoding of a file that is not UTF-8; None: stop.
    """
    try:
        encoding = encoding_of(path, legacy)
        with io.TextIOWrapper(open_bytes(path), encoding, newline=newline) as stream:
            yield stream
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as UTF-8 text: {error}.")


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the object of each line of a JSONL file, or stop.

    A place names the line in errors, such as `notes.jsonl:7`. Blank lines are skipped.
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
