"""Captions of the files of a folder, which metadata files beside them list."""

from pathlib import Path

from runtime.errors import fail
from runtime.formats import SUFFIXES as ROWS
from runtime.listing import Listing, shown, suffix_of
from runtime.notes import note
from runtime.records import read_records

METADATA = "metadata"


def listed_captions(found: Listing, noun: str) -> dict[Path, str] | None:
    """Return the caption of each file that metadata files list; None without such a file.

    A file without a row is named.

    Args:
        found: The files of a folder.
        noun: What one is, such as `sound`.
    """
    rows = [path for path in found.others if path.name.lower().partition(".")[0] == METADATA]
    rows = [path for path in rows if suffix_of(path) in ROWS]
    if not rows:
        return None
    known, captions = set(found.files), {}
    for file in rows:
        for row in read_records(file, ("file_name", "text")):
            path = file.parent / row["file_name"]
            if path not in known:
                fail(f"{file} names {row['file_name']!a}, which is no {noun} file beside it.")
            captions[path] = row["text"]
    loose = [path for path in found.files if path not in captions]
    if loose:
        names = shown(found.folder, loose)
        note(f"{found.folder}: {len(loose):,} {noun}s have no row: {names}.")
    return captions
