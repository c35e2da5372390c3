"""Sounds with their texts: what metadata files, LibriSpeech's lists or files beside them say."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from runtime.errors import fail
from runtime.files import open_text
from runtime.formats import SUFFIXES as ROWS
from runtime.formats import rows_of
from runtime.listing import Listing, printable, shown, suffix_of
from runtime.notes import note
from runtime.records import read_records
from runtime.splits import split_folders

METADATA = "metadata"
LISTED = ".trans.txt"  # The suffix of a list of LibriSpeech: a line has a file's name and its text.
TEXTS = ("text", "transcription", "sentence", "transcript")
SPEAKERS = ("speaker_id", "speaker", "client_id")


class Transcript(NamedTuple):
    """A sound file with its text.

    Attributes:
        path: The file.
        text: What is said in it.
        speaker: Who says it; "" where nothing tells.
        split: The split of its folder; None where no folder names one.
    """

    path: Path
    text: str
    speaker: str
    split: str | None


def read_transcripts(found: Listing) -> list[Transcript]:
    """Return the sound files of a folder that have a text, sorted by path, or stop."""
    folder = found.folder
    parts = {path: path.relative_to(folder).parts for path in found.files}
    # Speakers of LibriSpeech have folders too, whose names are numbers and no splits.
    folders = split_folders(folder, {names[0] for names in parts.values() if len(names) > 1})
    texts = _texts(found)
    if not texts:
        fail(
            f"{folder} has no texts: write {METADATA}.jsonl with a row for each file, "
            '{"file_name": "1.wav", "text": "what is said"}, or keep LibriSpeech\'s lists, '
            f"*{LISTED}."
        )
    loose = [path for path in found.files if path not in texts]
    if loose:
        note(f"{folder}: {len(loose):,} sounds have no text: {shown(folder, loose)}.")
    return [
        Transcript(path, *texts[path], folders.get(parts[path][0]))
        for path in found.files
        if path in texts
    ]


def _texts(found: Listing) -> dict[Path, tuple[str, str]]:
    """Return the text and the speaker of each file that a metadata file or a list names."""
    texts: dict[Path, tuple[str, str]] = {}
    known = set(found.files)
    for file in found.others:
        name = file.name.lower()
        if name.partition(".")[0] == METADATA and suffix_of(file) in ROWS:
            rows = _of_metadata(file)
        elif name.endswith(LISTED):
            rows = _of_list(file, known)
        else:
            continue
        for path, text, speaker in rows:
            if path not in known:
                fail(f"{file} names {path.name!a}, which is no sound file beside it.")
            if path in texts:
                fail(f"{file} names {path.name!a}, which has a text already: keep one.")
            texts[path] = (text, speaker)
    return texts


def _of_metadata(file: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield path, text and speaker of each row of a metadata file, in the Hub's form."""
    columns = _columns(file)
    text = next((name for name in TEXTS if name in columns), TEXTS[0])
    who = next((name for name in SPEAKERS if name in columns), None)
    read = {"file_name": "file_name", "text": text} | ({"speaker": who} if who else {})
    for row in read_records(file, tuple(read), read):
        yield file.parent / row["file_name"], row["text"], row.get("speaker", "")


def _columns(file: Path) -> Sequence[str]:
    """Return the names of the columns of the first row; none of an empty file."""
    return next((tuple(row) for _, row in rows_of(file)), ())


def _of_list(file: Path, known: set[Path]) -> Iterator[tuple[Path, str, str]]:
    """Yield path, text and speaker of each line of a list of LibriSpeech.

    A line is `SPEAKER-CHAPTER-NUMBER THE TEXT`; the file lies beside the list, as .flac or .wav.
    """
    with open_text(file) as stream:
        for number, line in enumerate(stream, 1):
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            if not text.strip():
                fail(f"{printable(str(file))}:{number} has no text after {name!a}.")
            paths = [
                p for p in (file.parent / f"{name}{s}" for s in (".flac", ".wav")) if p in known
            ]
            if not paths:
                fail(
                    f"{printable(str(file))}:{number} names {name!a}, which is no sound beside it."
                )
            yield paths[0], text.strip(), name.partition("-")[0]
