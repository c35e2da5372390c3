"""Images with texts that a metadata file in their folder lists."""

from pathlib import Path

from runtime.errors import fail
from runtime.records import SUFFIXES, one_of, read_records

METADATA = "metadata"


def has_metadata(folder: Path) -> bool:
    """Return whether a folder has a metadata file."""
    return any((folder / f"{METADATA}{suffix}").is_file() for suffix in SUFFIXES)


def read_captions(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Return the metadata file of a folder, and the name and the text of each of its rows, or stop.

    A row has a `file_name`, an image in the folder, and a `text`. A name must not lead out of the
    folder, so that a data set from a stranger cannot read other files of this machine.
    """
    metadata = one_of(folder, METADATA)
    rows = read_records(metadata, ("file_name", "text"))
    inside = folder.resolve()
    for name in dict.fromkeys(row["file_name"] for row in rows):
        path = folder / name
        if not path.resolve().is_relative_to(inside) or not path.is_file():
            fail(f"{metadata} names {name}, which is not a file in {folder}.")
    return metadata, [(row["file_name"], row["text"]) for row in rows]
