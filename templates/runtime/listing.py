"""The files of a user's folder: which are data, and which are left out and why."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import fail
from runtime.notes import note

# What systems and programs write into folders by themselves; hidden names start with a dot.
JUNK = (
    *("__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir"),
    *("$recycle.bin", "system volume information", "lost+found"),
)
SHOWN = 5  # names in a sentence; more would hide its end


@dataclass(frozen=True)
class Listing:
    """The files in a folder and its subfolders.

    Attributes:
        folder: The folder.
        files: The files with a suffix that was asked for, sorted by path.
        others: The files with another suffix, and what is no regular file.
        hidden: Hidden files and folders, and junk; nothing below them is listed.
        folders: The folders that were read, this one included.
    """

    folder: Path
    files: list[Path]
    others: list[Path]
    hidden: list[Path]
    folders: list[Path] = field(default_factory=list)

    def left_out(self) -> Iterator[str]:
        """Yield a sentence on each kind of files that are not data."""
        if self.hidden:
            yield f"left out, hidden or junk: {shown(self.folder, self.hidden)}"
        if self.others:
            counts = Counter(suffix_of(path) or "no suffix" for path in self.others)
            kinds = ", ".join(f"{count:,} of {kind}" for kind, count in counts.most_common())
            first = shown(self.folder, self.others[:1])
            yield f"left out, of other kinds: {kinds}, such as {first}"


def say_unread(found: Listing, suffixes: Collection[str], advice: str) -> None:
    """Say of files that hold what is looked for, in a form that is not read."""
    files = [path for path in found.others if suffix_of(path) in suffixes]
    if files:
        names = shown(found.folder, files)
        note(f"{found.folder}: {len(files):,} files are not read: {names}. {advice}")


def suffix_of(path: Path) -> str:
    """Return the suffix of a name in small letters; that of a gzipped file has two parts."""
    name = path.name.lower()
    inner = Path(name.removesuffix(".gz")).suffix
    return f"{inner}.gz" if name.endswith(".gz") else inner


def shown(folder: Path, paths: Iterable[Path]) -> str:
    """Return the first paths of some in a folder, as text without control characters."""
    names = [path.relative_to(folder).as_posix() for path in paths]
    first = ", ".join(printable(name) for name in names[:SHOWN])
    return f"{first} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else first


def printable(name: str) -> str:
    """Return a name of a stranger's file as it may be printed on a terminal."""
    return name if _is_plain(name) else ascii(name)


def list_files(folder: Path, suffixes: Collection[str]) -> Listing:
    """Return the files in a folder and its subfolders, or stop.

    A link is followed within the folder. One that leads out of it is refused: data from a stranger
    must not bring other files of this machine into training. Folders are read once, so links that
    lead back to a folder end.
    """
    root, found = Path(os.path.realpath(folder)), Listing(folder, [], [], [])
    waiting, links, seen = [folder], list[Path](), dict[str, Path]()
    while waiting or links:
        # Links wait until every folder was read under its own name.
        place = waiting.pop() if waiting else links.pop(0)
        known = seen.setdefault(os.path.realpath(place), place)
        if known != place:
            note(f"the link {place} leads to {known}, which is read already: it is left out.")
            continue
        found.folders.append(place)
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path.name.lower() in JUNK:
                found.hidden.append(path)
            elif path.is_symlink() and (path.is_dir() or suffix_of(path) in suffixes):
                _check_link(path, root)
                (links if path.is_dir() else found.files).append(path)
            elif path.is_dir():
                waiting.append(path)
            else:
                fits = suffix_of(path) in suffixes and path.is_file()
                (found.files if fits else found.others).append(path)
    for each in (found.files, found.others, found.hidden):
        each.sort()
    _check_names(found)
    return found


def _check_link(link: Path, root: Path) -> None:
    """Stop if a link leads out of the folder, or nowhere."""
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        fail(f"the link {link} leads out of {root}: put the file itself there, or a copy of it.")
    if not target.exists() or not (target.is_dir() or target.is_file()):
        fail(f"the link {link} leads to no file: remove it.")


def _check_names(found: Listing) -> None:
    """Stop at a file whose name cannot be written as text."""
    for path in found.files:
        if not _is_plain(path.relative_to(found.folder).as_posix()):
            fail(f"the name {str(path)!a} holds control characters or no UTF-8: rename it.")


def _is_plain(name: str) -> bool:
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
