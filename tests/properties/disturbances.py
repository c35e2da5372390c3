"""What may happen to files between two builds: damage, edits that hide, other places and times."""

from __future__ import annotations

import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, random.Random], None]
Trick = Callable[[Path, bytes], None]
Way = Callable[[Path, Path], Path]
_PAGE = 4096


def name(disturbance: Damage | Trick | Way) -> str:
    return disturbance.__name__.strip("_").replace("_", " ")


def _removed(path: Path, chance: random.Random) -> None:
    path.unlink()


def _emptied(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def _cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) + 1)])


def _grown(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(100))


def _overwritten(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        start = chance.randrange(len(data))
        length = min(len(data) - start, chance.choice((1, 8, 100, 5000)))
        data[start : start + length] = chance.randbytes(length)
    path.write_bytes(data)


def _flipped(path: Path, chance: random.Random) -> None:
    """Change a few bytes far apart: a database that is still one has damaged rows then."""
    data = bytearray(path.read_bytes())
    for place in chance.sample(range(len(data)), min(len(data), 5)):
        data[place] ^= 1 + chance.randrange(255)
    path.write_bytes(data)


def _zeroed(path: Path, chance: random.Random) -> None:
    """Zero a page, which a power cut may leave unwritten."""
    data = bytearray(path.read_bytes())
    page = chance.randrange(len(data) // _PAGE + 1) * _PAGE
    end = min(len(data), page + _PAGE)
    data[page:end] = bytes(end - page)
    path.write_bytes(data)


def _replaced_by_folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Damage, ...] = (
    _removed, _emptied, _cut, _grown, _overwritten, _flipped, _zeroed, _replaced_by_folder,
)  # fmt: skip


def damage_some(folder: Path, chance: random.Random) -> str:
    """Damage some files of a state or a cache, often rows of a ledger, or remove it all."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    if files and chance.random() < 1 / 25:
        shutil.rmtree(folder)
        return f"all of {folder.name}"
    chosen = chance.sample(files, min(len(files), chance.choice((1, 1, 2, 50))))
    damages = {path: chance.choice(DAMAGES) for path in chosen}
    ledgers = [path for path in files if path.suffix == ".sqlite"]
    if ledgers and chance.random() < 0.5:
        damages = dict.fromkeys(ledgers, _flipped)
    for path, damage in damages.items():
        damage(path, chance)
    return ", ".join(f"{p.relative_to(folder)} {name(d)}" for p, d in list(damages.items())[:3])


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _same_time_and_size(path: Path, data: bytes) -> None:
    stat = path.stat()
    path.write_bytes(data[: stat.st_size].ljust(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _clock_set_back(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (1, 1))


def _in_the_future(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (2**32, 2**32))


def _copied_with_times(path: Path, data: bytes) -> None:
    """Put another file of the same size and time in its place, as `cp -p` or a checkout does."""
    stat, other = path.stat(), path.with_name("other")
    other.write_bytes(data[: stat.st_size].ljust(stat.st_size))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


def _within_a_float(path: Path, data: bytes) -> None:
    """Change the time by 100 ns, which a float of seconds cannot show."""
    stat = path.stat()
    path.write_bytes(data[: stat.st_size].ljust(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 100))


def _in_place(path: Path, data: bytes) -> None:
    """Write through an open handle, without truncating the file first."""
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.write(data[: stat.st_size].ljust(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


TRICKS: tuple[Trick, ...] = (
    _written, _same_time_and_size, _clock_set_back, _in_the_future, _copied_with_times,
    _within_a_float, _in_place,
)  # fmt: skip


def _moved(out: Path, to: Path) -> Path:
    return out.rename(to / "moved")


def _copied(out: Path, to: Path) -> Path:
    """Copy without times, as `cp -r` does."""
    return Path(shutil.copytree(out, to / "copied", copy_function=shutil.copyfile))


def _copied_whole(out: Path, to: Path) -> Path:
    """Copy with times, as `cp -p` does."""
    return Path(shutil.copytree(out, to / "copied"))


def _zipped(out: Path, to: Path) -> Path:
    """Zip and unzip: times are rounded to two seconds and have no zone; permissions are lost."""
    with zipfile.ZipFile(to / "out.zip", "w", strict_timestamps=False) as archive:
        for path in sorted(out.rglob("*")):
            archive.write(path, path.relative_to(out))
    with zipfile.ZipFile(to / "out.zip") as archive:
        archive.extractall(to / "unzipped")
    return to / "unzipped"


def _linked(out: Path, to: Path) -> Path:
    (to / "link").symlink_to(out)
    return to / "link"


def _oddly_named(out: Path, to: Path) -> Path:
    (to / "ünï códe").mkdir()
    return out.rename(to / "ünï códe" / "with spaces & $signs;")


def _touched(out: Path, to: Path) -> Path:
    """Give every file another time."""
    for number, path in enumerate(out.rglob("*")):
        os.utime(path, (number, number))
    return out


WAYS: tuple[Way, ...] = (
    _moved, _copied, _copied_whole, _zipped, _linked, _oddly_named, _touched,
)  # fmt: skip
