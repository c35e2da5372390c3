"""Documents from text files."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.errors import fail


def documents(path: Path) -> Iterator[str]:
    """Yield the documents of a file or of a folder, in the order of their names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [f for f in files if f.suffix in (".txt", ".md", ".jsonl") or f == path]
    if not found or not all(f.is_file() for f in found):
        fail(f"{path} is neither a text file nor a folder of .txt, .md or .jsonl files.")
    for file in found:
        try:
            with file.open(encoding="utf-8") as stream:
                if file.suffix == ".jsonl":
                    yield from _jsonl(file, stream)
                else:
                    yield stream.read()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{file} cannot be read as UTF-8 text: {error}.")


def _jsonl(file: Path, lines: Iterable[str]) -> Iterator[str]:
    """Yield the text of each line; blank lines are none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str):
            fail(f'{file}:{number} is not a JSON object with a "text".')
        yield text
