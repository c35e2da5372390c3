"""What a file of text is: packed or not, in which encoding, or no text at all."""

import codecs
import gzip
import io
import re
from pathlib import Path

from runtime.errors import fail
from runtime.notes import note

GZIP = b"\x1f\x8b"
CHUNK = 2**20  # bytes that are checked at once
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins with the mark of UTF-16, so it is tried first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHERS = (
    (0, b"PK\x03\x04", "a spreadsheet (.xlsx, .ods) or a zip archive: export CSV, or unpack it"),
    (0, b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls): export it as CSV"),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"BZh", "packed by bzip2: unpack it, or pack it by gzip"),
    (0, b"\xfd7zXZ", "packed by xz: unpack it, or pack it by gzip"),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd: unpack it, or pack it by gzip"),
    (0, b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (0, b"Rar!", "a rar archive: unpack it"),
    (0, b"PAR1", "a Parquet file: let its name end in .parquet"),
    (0, b"ARROW1", "an Arrow file: save it as Parquet"),
    (0, b"\x89HDF", "an HDF5 file: export it as CSV or Parquet"),
    (0, b"\x93NUMPY", "a NumPy array: export it as CSV"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89PNG", "an image"),
    (0, b"\xff\xd8\xff", "an image"),
    (0, b"SQLite format", "a database: export a table as CSV"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file with `git lfs pull`"),
)
"""Offset, first bytes and description of files that are often taken for text."""
MARKUP = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
FOREIGN = re.compile("[\udc80-\udcff]")
"""Bytes that are not valid in an encoding, as Python's surrogateescape stands for them."""
LETTERS = re.compile("[^\x00-\x7f\udc80-\udcff]")


def open_bytes(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """Open a file, unpacked if gzip packed it, whatever its name says."""
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")


def encoding_of(path: Path, legacy: str | None = None) -> str:
    """Return the encoding of a file of text, or stop if it is none.

    UTF-16 and UTF-32 need a byte order mark. Everything else is UTF-8.

    Args:
        path: The file.
        legacy: The encoding of a file that is not UTF-8, which a note then names; None: stop.
    """
    with open_bytes(path) as stream:
        head = stream.read(512)
    for offset, magic, what in OTHERS:
        if head[offset:].startswith(magic):
            fail(f"{path} is no text, but {what}.")
    if MARKUP.match(head):
        fail(f"{path} is a page of HTML or XML, often an error that was saved: fetch it again.")
    encoding = next((name for mark, name in BOMS.items() if head.startswith(mark)), "utf-8")
    line, mixed = _first_foreign(path, encoding)
    if not line:
        return encoding
    if legacy is None or mixed or encoding != "utf-8" or _first_foreign(path, legacy)[0]:
        fail(f"{path}:{line} cannot be read as UTF-8 text: save the file as UTF-8.")
    note(
        f"{path}:{line} is not UTF-8, so the file is read as {legacy}: if its letters are wrong, "
        "save it as UTF-8."
    )
    return legacy


def _first_foreign(path: Path, encoding: str) -> tuple[int, bool]:
    """Return the first line that is not in an encoding, or 0; and whether other lines show it is.

    Stops at a NUL, which no text has.
    """
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    line, first, letters = 1, 0, False
    with open_bytes(path) as stream:
        while not first or not letters:
            data = stream.read(CHUNK)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError:  # UTF-16 has no way around an invalid half of a pair
                return first or line, letters
            if (at := text.find("\0")) >= 0:
                fail(f"{path}:{line + text.count(chr(10), 0, at)} has a NUL: it is no text.")
            if not text.isascii():
                letters = letters or bool(LETTERS.search(text))
                foreign = FOREIGN.search(text)
                if foreign and not first:
                    first = line + text.count("\n", 0, foreign.start())
            line += text.count("\n")
            if not data:
                break
    return first, letters
