"""Images with a class each: from folders named after classes, or from rows of a data set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.digests import digest, file_digests
from runtime.errors import fail
from runtime.images import list_images
from runtime.listing import Listing, shown
from runtime.notes import note
from runtime.pixels import Picture
from runtime.splits import split_folders, split_named
from runtime.stored import has_rows, stored_images

LABELS = ("label", "labels", "class")


@dataclass(frozen=True)
class Example:
    """An image of a data set.

    Attributes:
        file: The file.
        name: Its place in the data set, for the digest of the data.
        label: Its class, or its number as it is written.
        split: Its split; images that are not yet in a split are in "train".
        key: A digest of its bytes: the same image under two names has one key.
    """

    file: Picture
    name: str
    label: str
    split: str
    key: str


def read_examples(path: Path) -> list[Example]:
    """Return the images of a folder, or of a file with rows, or stop.

    A folder holds a folder of images for each class, or first the splits. Without any image, its
    Parquet or Arrow files are read, as the Hub names them and as `save_to_disk` writes them.
    """
    if not path.is_dir() and not has_rows(path):
        fail(f"{path} is not a folder; it must hold a folder of images for each class.")
    examples = _of_rows(path) if has_rows(path) else _of_folders(list_images(path))
    _say_classes(path, sorted({each.label for each in examples}))
    return examples


def without_copies(examples: Sequence[Example]) -> list[Example]:
    """Return examples without training images that val or test hold too."""
    # A user's own folders may hold one image twice: scores would then reward memorization.
    held_out = {each.key for each in examples if each.split != "train"}
    return [each for each in examples if each.split != "train" or each.key not in held_out]


def examples_digest(examples: Sequence[Example]) -> str:
    """Return the sha256 of examples with their names and splits."""
    # A moved file makes another data set, and old scores do not apply.
    return digest(*(f"{each.split}\0{each.name}\0{each.key}\n".encode() for each in examples))


def _of_folders(found: Listing) -> list[Example]:
    """Return the images of a folder with their classes, and with their splits if it names them."""
    path, files = found.folder, found.files
    places = [file.relative_to(path).parts for file in files]
    # Folders are splits if all their names are names of splits; otherwise all of them are classes.
    splits = split_folders(path, {parts[0] for parts in places if len(parts) > 1})
    depth = 2 if splits else 1
    examples = []
    for file, parts, key in zip(files, places, file_digests(files), strict=True):
        if len(parts) <= depth:
            fail(f"{file} has no class: move it to a folder that is named after its class.")
        split = splits[parts[0]] if splits else "train"
        examples.append(Example(file, "\0".join(parts), parts[depth - 1], split, key))
    _say_unread(found, {parts[:depth] for parts in places}, depth)
    return examples


def _say_unread(found: Listing, read: set[tuple[str, ...]], depth: int) -> None:
    """Say which folders of a class have no image that is read."""
    parts = {folder: folder.relative_to(found.folder).parts for folder in sorted(found.folders)}
    unread = [each for each, names in parts.items() if len(names) == depth and names not in read]
    if unread:
        kinds = "; ".join(found.left_out()) or "they are empty"
        note(
            f"{found.folder}: no image is read from {shown(found.folder, unread)}, so they are no "
            f"classes ({kinds})."
        )


def _say_classes(path: Path, labels: Sequence[str]) -> None:
    """Stop if there is one class alone, and say which names of classes look like a mistake."""
    if len(labels) < 2:
        inside = path / labels[0]
        below = sorted(each.name for each in inside.iterdir()) if inside.is_dir() else []
        hint = f"; if its folders are the classes, name {inside}" if len(below) > 1 else ""
        fail(f"{path} has only the class {labels[0]!r}: a classifier needs at least two{hint}.")
    for label in filter(split_named, labels):
        note(f"{path}: the folder {label} is read as a class, though its name is that of a split.")
    alike = Counter(label.casefold().strip() for label in labels)
    twice = [label for label in labels if alike[label.casefold().strip()] > 1]
    if twice:
        note(f"{path}: the names of classes {', '.join(twice)} differ only in case or blanks.")


def _of_rows(path: Path) -> list[Example]:
    """Return the images of rows with their labels."""
    return [
        Example(image, image.place.removeprefix(str(path)), label, split, digest(image.data))
        for split, image, label in stored_images(path, LABELS)
    ]
