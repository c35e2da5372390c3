"""An out folder can go anywhere: moved, copied, zipped, linked to, oddly named; nothing reruns.

And nothing in it says where or by whom it was built.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import inside, outside
from .lab import Lab
from .tally import Tally

_USER, _HOST = "somebody_at_the_keyboard", "somehost-on-a-desk"  # that no text holds by chance
_ON_HOST = ("unshare", "--uts", "--map-root-user", "sh", "-c", 'hostname "$0" && exec "$@"', _HOST)


def _moved(out: Path, to: Path) -> Path:
    return out.rename(to / "moved")


def _copied(out: Path, to: Path) -> Path:
    """Copy without times, as `cp -r` does."""
    return Path(shutil.copytree(out, to / "copied", copy_function=shutil.copyfile))


def _copied_whole(out: Path, to: Path) -> Path:
    """Copy with times, as `cp -p` does."""
    return Path(shutil.copytree(out, to / "copied"))


def _zipped(out: Path, to: Path) -> Path:
    """Zip and unzip: times to two seconds and in no zone, no permissions."""
    with zipfile.ZipFile(to / "out.zip", "w") as archive:
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


_WAYS: tuple[Callable[[Path, Path], Path], ...] = (
    _moved, _copied, _copied_whole, _zipped, _linked, _oddly_named, _touched,
)  # fmt: skip


def measure(lab: Lab) -> Tally:
    """Build, take the folder away in every way, build there."""
    tally = Tally("move")
    tally.must_not("ran", "other bytes", "leaks")
    for spec in lab.specs:
        with lab.folder() as folder:
            _build(spec, folder)
            _leaks(spec, folder / "out", tally)
            for way in lab.progress("move", lab.some(_WAYS, "move"), lambda way: way.__name__):
                with lab.folder() as to:
                    _measure(spec, way, folder / "out", to, tally)
    return tally


def _build(spec: Path, folder: Path) -> None:
    """Build as somebody, on a host of another name where this user may name one."""
    environment = outside.environment(HOME=str(folder), USER=_USER, LOGNAME=_USER)
    command = outside.command("synth", str(spec), "--out", "out")
    found = [*_ON_HOST, *command] if _may_name_hosts() else command
    subprocess.run(found, cwd=folder, env=environment, capture_output=True, check=True)


def _may_name_hosts() -> bool:
    tried = [*_ON_HOST, "true"]
    return bool(shutil.which("unshare")) and not subprocess.run(tried, check=False).returncode


def _measure(
    spec: Path, way: Callable[[Path, Path], Path], built: Path, to: Path, tally: Tally
) -> None:
    name = way.__name__.strip("_").replace("_", " ")
    there = way(Path(shutil.copytree(built, to / "out")), to)
    before = inside.tree(there)
    after = inside.build(there, spec)
    tally.count("ways")
    tally.check(not after.log.ran, "ran", f"{spec.stem} {name}: {sorted(after.log.ran)}")
    wrong = inside.difference(after.tree, before)
    tally.check(not wrong, "other bytes", f"{spec.stem} {name}: {wrong}")


def _leaks(spec: Path, out: Path, tally: Tally) -> None:
    """Look for the folders, the user and the host in every file of the package and the state."""
    host = socket.gethostname()
    words = {str(out.parent), str(outside.REPOSITORY), _USER, _HOST}
    words |= {host} if len(host) > len("local") else set()  # a short one is in a text by chance
    words |= {str(Path.home())} if len(str(Path.home())) > len("/root") else set()
    words |= {getpass.getuser()} if getpass.getuser() != "root" else set()
    for path, data in outside.files_of(out).items():
        tally.count("files")
        found = sorted(word for word in words if word.encode() in data)
        tally.check(not found, "leaks", f"{spec.stem} {path}: {found}")
