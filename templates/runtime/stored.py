"""Images that rows of Parquet and Arrow files hold, as on the Hub and in `save_to_disk` folders."""

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
    """Yield the split of each row, its image, and its text or label; or stop.

    Rows stay in memory as the image files that they hold.

    Args:
        path: A file with rows, or a folder of them.
        columns: The names that the column of the text may have.
    """
    files = split_files(list_rows(path, ROWS)) if path.is_dir() else {"train": [path]}
    size = 0
    for split, paths in files.items():
        for place, row in (each for file in paths for each in rows_of(file)):
            image, text = _image_and_text(place, row, columns)
            size += len(image.data)
            if size > MOST_BYTES:
                fail(
                    f"{path} holds more than {MOST_BYTES // 2**30} GiB of images: write them as "
                    "files into folders."
                )
            yield split, image, text
    if not size:
        fail(f"{path} has no rows.")


def digests_of(pictures: Sequence[Picture]) -> list[str]:
    """Return the sha256 of each image file's bytes."""
    paths = [each for each in pictures if isinstance(each, Path)]
    on_disk = iter(file_digests(paths))
    return [digest(e.data) if isinstance(e, Stored) else next(on_disk) for e in pictures]


def _image_and_text(
    place: str, row: Mapping[str, Any], columns: Sequence[str]
) -> tuple[Stored, str]:
    images = [data for value in row.values() if (data := _bytes(value)) is not None]
    texts = [row[column] for column in columns if isinstance(row.get(column), str | int)]
    if len(images) != 1 or not texts:
        fail(
            f"{place} needs one column with the bytes of an image file, and one of "
            f"{', '.join(columns)}; its columns are {columns_of(row)}."
        )
    text = str(texts[0]).lower() if isinstance(texts[0], bool) else str(texts[0])
    return Stored(place, images[0]), text


def _bytes(value: Any) -> bytes | None:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    return data if isinstance(data, bytes) else None
