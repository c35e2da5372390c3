"""Images and masks in rows of Parquet and Arrow files, as of the Hub and of `save_to_disk`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.digests import digest, file_digests
from runtime.errors import fail
from runtime.formats import columns_of, list_rows, rows_of
from runtime.images import SUFFIXES, list_images
from runtime.listing import Listing, list_files, suffix_of
from runtime.pixels import Picture, Stored
from runtime.records import split_files

ROWS = (".parquet", ".arrow")
# Names of the column of masks in data sets of the Hub, such as scene_parse_150.
MASKS = ("mask", "annotation", "label", "labels", "segmentation_mask", "semantic_mask", "gt")
MOST_BYTES = 2**32  # Images in rows stay in memory, packed as they are stored.


def has_rows(path: Path) -> bool:
    """Return whether images come from rows: the path is such a file, or a folder of them alone."""
    if not path.is_dir():
        return suffix_of(path) in ROWS
    suffixes = {suffix_of(file) for file in list_files(path, (*SUFFIXES, *ROWS)).files}
    return bool(suffixes) and suffixes <= set(ROWS)


def list_pictures(path: Path) -> Listing:
    """Return the files with images of a folder or of a file with rows, and what is left out."""
    if not path.is_dir():
        return Listing(path.parent, [path], [], [])
    return list_rows(path, ROWS) if has_rows(path) else list_images(path)


def stored_images(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Stored, str]]:
    """Yield the split of each row, its image, and its text, label or number; or stop.

    Rows stay in memory as the image files that they hold.

    Args:
        path: A file with rows, or a folder of them.
        columns: The names that the column beside the image may have.
    """
    room = _Room(path)
    for split, place, row in _rows(path):
        image, text = _image_and_text(place, row, columns)
        room.take(image)
        yield split, image, text


def stored_masks(path: Path) -> Iterator[tuple[str, Stored, Stored]]:
    """Yield the split of each row, its image and its mask, or stop.

    Args:
        path: A file with rows, or a folder of them; rows stay in memory as files.
    """
    room = _Room(path)
    for split, place, row in _rows(path):
        image, mask = _image_and_mask(place, row)
        room.take(image, mask)
        yield split, image, mask


def _rows(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the split, the place and the cells of each row, or stop if there is none."""
    files = split_files(list_rows(path, ROWS)) if path.is_dir() else {"train": [path]}
    place = ""
    for split, paths in files.items():
        for place, row in (each for file in paths for each in rows_of(file)):
            yield split, place, row
    if not place:
        fail(f"{path} has no rows.")


class _Room:
    """What is left of the memory for images of a path."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, 0

    def take(self, *images: Stored) -> None:
        """Take the room of some images, or stop if there is none left."""
        self._size += sum(len(image.data) for image in images)
        if self._size > MOST_BYTES:
            fail(
                f"{self._path} holds more than {MOST_BYTES // 2**30} GiB of images: write them as "
                "files into folders."
            )


def digests_of(pictures: Sequence[Picture]) -> list[str]:
    """Return the sha256 of each image file's bytes."""
    paths = [each for each in pictures if isinstance(each, Path)]
    on_disk = iter(file_digests(paths))
    return [digest(e.data) if isinstance(e, Stored) else next(on_disk) for e in pictures]


def _image_and_text(
    place: str, row: Mapping[str, Any], columns: Sequence[str]
) -> tuple[Stored, str]:
    images = [data for value in row.values() if (data := _bytes(value)) is not None]
    texts = [row[column] for column in columns if isinstance(row.get(column), str | int | float)]
    if len(images) != 1 or not texts:
        fail(
            f"{place} needs one column with the bytes of an image file, and one of "
            f"{', '.join(columns)}; its columns are {columns_of(row)}."
        )
    text = str(texts[0]).lower() if isinstance(texts[0], bool) else str(texts[0])
    return Stored(place, images[0]), text


def _image_and_mask(place: str, row: Mapping[str, Any]) -> tuple[Stored, Stored]:
    """Return the two images of a row; the name of a column says which is the mask."""
    images = {name: data for name, value in row.items() if (data := _bytes(value)) is not None}
    masks = [name for name in images if name.lower() in MASKS]
    others = [name for name in images if name not in masks]
    if len(masks) != 1 or len(others) != 1:
        fail(
            f"{place} needs one column with the bytes of an image file, and one with those of its "
            f"mask, named {', '.join(MASKS)}; its columns are {columns_of(row)}, and images are in "
            f"{', '.join(map(repr, images)) or 'none'}."
        )
    pair = ((others[0], "image"), (masks[0], "mask"))
    image, mask = (Stored(f"{place}: the {what}", images[name]) for name, what in pair)
    return image, mask


def _bytes(value: Any) -> bytes | None:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    return data if isinstance(data, bytes) else None
