"""Images with texts, as a metadata file in their folder lists them."""

from pathlib import Path

from runtime.errors import fail
from runtime.records import SUFFIXES, one_of, read_records

METADATA = "metadata"


def has_metadata(folder: Path) -> bool:
    """Tell whether a folder has a metadata file."""
    return any((folder / f"{METADATA}{suffix}").is_file() for suffix in SUFFIXES)


def read_captions(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Return the metadata file of a folder, and the name and the text of each of its rows, or stop.

    A row has a `file_name`, an image below the folder, and a `text`. No name may lead out of the
    folder: a data set from elsewhere must not have other files of this machine read.
    """
    metadata = one_of(folder, METADATA)
    rows = read_records(metadata, ("file_name", "text"))
    inside = folder.resolve()
    for name in dict.fromkeys(row["file_name"] for row in rows):
        path = folder / name
        if not path.resolve().is_relative_to(inside) or not path.is_file():
            fail(f"{metadata} names {name}, which is no file below {folder}.")
    return metadata, [(row["file_name"], row["text"]) for row in rows]
