"""Images with texts that a metadata file in their folder lists."""

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import fail
from runtime.formats import SUFFIXES
from runtime.images import list_images
from runtime.listing import shown, suffix_of
from runtime.notes import note
from runtime.records import read_records
from runtime.splits import split_folders

METADATA = "metadata"


@dataclass(frozen=True)
class Captions:
    """The texts of the images in a folder.

    Attributes:
        metadata: The files that list them: one in the folder, or one in the folder of each split.
        rows: The path of an image in the folder, and a text; an image may have several rows.
        splits: The split of each folder in the folder; empty if the data has no splits yet.
    """

    metadata: list[Path]
    rows: list[tuple[str, str]]
    splits: dict[str, str]


def has_metadata(folder: Path) -> bool:
    """Return whether a folder, or each split in it, has a metadata file."""
    return bool(_metadata(folder)[0])


def read_captions(folder: Path) -> Captions:
    """Return the texts of the images in a folder, or stop.

    A row has a `file_name`, an image beside its metadata file, and a `text`. A name must not lead
    out of the folder, so that a data set from a stranger cannot read other files of this machine.
    """
    metadata, splits = _metadata(folder)
    if not metadata:
        fail(
            f"{folder} must hold one of {METADATA}.csv, {METADATA}.jsonl, {METADATA}.parquet; so "
            "may each of its splits, such as train."
        )
    rows: list[tuple[str, str]] = []
    inside = folder.resolve()
    for file in metadata:
        for row in read_records(file, ("file_name", "text")):
            path = file.parent / row["file_name"]
            if not path.resolve().is_relative_to(inside) or not path.is_file():
                fail(f"{file} names {row['file_name']}, which is not a file in {file.parent}.")
            rows.append((path.relative_to(folder).as_posix(), row["text"]))
    known = {(folder / name).resolve() for name, _ in rows}
    loose = [path for path in list_images(folder).files if path.resolve() not in known]
    if loose:
        names = shown(folder, loose)
        note(f"{folder}: {len(loose):,} images have no row, and are left out: {names}.")
    return Captions(metadata, rows, splits)


def _metadata(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the metadata files of a folder or of the splits in it, and these splits; or stop."""
    own = _in(folder)
    if own:
        return own, {}
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = {path: _in(path) for path in folders if path.name[0] != "."}
    splits = split_folders(folder, (path.name for path, files in found.items() if files))
    return [file for path in found if path.name in splits for file in found[path]], splits


def _in(folder: Path) -> list[Path]:
    """Return the metadata file of one folder, if there is one, or stop if there are several."""
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().partition(".")[0] == METADATA and suffix_of(path) in SUFFIXES
    ]
    if len(files) > 1:
        fail(f"{folder} must hold one of {shown(folder, files)}.")
    return files
