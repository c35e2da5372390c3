"""Documents from text files."""

from collections.abc import Iterator
from pathlib import Path

from runtime.errors import fail
from runtime.files import json_lines, open_text

SUFFIXES = (".txt", ".md", ".jsonl")


def documents(path: Path) -> Iterator[str]:
    """Yield the documents of a file or of a folder, or stop; files are sorted by name.

    A line of a .jsonl file is a document, its "text"; any other file is one document.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    chosen = [file for file in files if file.suffix in SUFFIXES or file == path]
    if not chosen or not all(file.is_file() for file in chosen):
        fail(f"{path} is neither a text file nor a folder of .txt, .md or .jsonl files.")
    for file in chosen:
        if file.suffix == ".jsonl":
            yield from _texts(file)
        else:
            with open_text(file) as stream:
                yield stream.read()


def _texts(file: Path) -> Iterator[str]:
    for place, row in json_lines(file):
        text = row.get("text")
        if not isinstance(text, str):
            fail(f'{place} is not a JSON object with a "text".')
        yield text
