"""Images with texts or numbers: a metadata file in their folder lists them, or rows hold them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import fail
from runtime.formats import SUFFIXES
from runtime.images import list_images
from runtime.listing import shown, suffix_of
from runtime.notes import note
from runtime.pixels import Picture
from runtime.records import read_records
from runtime.splits import split_folders
from runtime.stored import has_rows, stored_images

METADATA = "metadata"
TEXTS = ("text", "caption")


@dataclass(frozen=True)
class Captions:
    """The texts of the images in a folder, or their numbers as they are written.

    Attributes:
        metadata: The files that list them: one in the folder, or one in the folder of each split.
        files: The image of each name.
        rows: The name of an image, its path in the folder, and a text; an image may have several.
        splits: The split of each name; empty if the data has no splits yet.
    """

    metadata: list[Path]
    files: dict[str, Picture]
    rows: list[tuple[str, str]]
    splits: dict[str, str]


def has_metadata(folder: Path) -> bool:
    """Return whether a folder, or each split in it, has a metadata file, or rows hold images."""
    return has_rows(folder) or bool(_metadata(folder)[0])


def read_captions(folder: Path, columns: Sequence[str] = TEXTS) -> Captions:
    """Return the texts of the images in a folder, or stop.

    A row has a `file_name`, an image beside its metadata file, and a text. A name must not lead out
    of the folder, so that a data set from a stranger cannot read other files of this machine.

    Args:
        folder: The folder, or a file with rows that hold images.
        columns: The names that the column of the texts may have; in metadata it has the first.
    """
    if has_rows(folder):
        return _of_rows(folder, columns)
    if not folder.is_dir():
        fail(f"{folder} is no folder: name the one that holds the images and {METADATA}.csv.")
    metadata, folders = _metadata(folder)
    if not metadata:
        fail(
            f"{folder} must hold one of {METADATA}.csv, {METADATA}.jsonl, {METADATA}.parquet; so "
            "may each of its splits, such as train."
        )
    rows: list[tuple[str, str]] = []
    inside = folder.resolve()
    for file in metadata:
        for row in read_records(file, ("file_name", columns[0])):
            path = file.parent / row["file_name"]
            if not path.resolve().is_relative_to(inside) or not path.is_file():
                fail(f"{file} names {row['file_name']}, which is not a file in {file.parent}.")
            rows.append((path.relative_to(folder).as_posix(), row[columns[0]]))
    known = {(folder / name).resolve() for name, _ in rows}
    loose = [path for path in list_images(folder).files if path.resolve() not in known]
    if loose:
        names = shown(folder, loose)
        note(f"{folder}: {len(loose):,} images have no row, and are left out: {names}.")
    files: dict[str, Picture] = {name: folder / name for name, _ in rows}
    return Captions(metadata, files, rows, splits_of(files, folders))


def splits_of(names: Iterable[str], folders: Mapping[str, str]) -> dict[str, str]:
    """Return the split of each name by the first folder of its path; none without splits."""
    return {name: folders[name.partition("/")[0]] for name in names} if folders else {}


def _of_rows(path: Path, columns: Sequence[str]) -> Captions:
    """Return the images and texts of rows, which are named by their places."""
    files: dict[str, Picture] = {}
    rows, splits = [], {}
    for split, image, text in stored_images(path, columns):
        name = image.place.removeprefix(str(path))
        files[name], splits[name] = image, split
        rows.append((name, text))
    return Captions([], files, rows, splits if len(set(splits.values())) > 1 else {})


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
