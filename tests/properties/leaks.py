"""Nothing in an out folder says where or by whom it was built: no path, no user, no host."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
from pathlib import Path

from . import outside
from .lab import Lab
from .tally import Tally

_USER, _HOST = "somebody_at_the_keyboard", "somehost-on-a-desk"  # No text has these by chance.
_ON_HOST = ("unshare", "--uts", "--map-root-user", "sh", "-c", 'hostname "$0" && exec "$@"', _HOST)


def measure(lab: Lab) -> Tally:
    """Build every spec, or a sample, and search each file of the package and the state."""
    tally = Tally("leaks")
    tally.must_not("leaks")
    for spec in lab.progress("leaks", lab.some(lab.specs, "leaks")):
        with lab.folder() as folder:
            _build(spec, folder)
            _search(spec, folder / "out", tally)
    return tally


def _build(spec: Path, folder: Path) -> None:
    """Build as a user of another name, on a host of another name where this user may name one."""
    environment = outside.environment(HOME=str(folder), USER=_USER, LOGNAME=_USER)
    command = outside.command("synth", str(spec), "--out", "out")
    command = [*_ON_HOST, *command] if _may_name_hosts() else command
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)


def _may_name_hosts() -> bool:
    trial = [*_ON_HOST, "true"]
    return bool(shutil.which("unshare")) and not subprocess.run(trial, check=False).returncode


def _search(spec: Path, out: Path, tally: Tally) -> None:
    host = socket.gethostname()
    words = {str(out.parent), str(outside.REPOSITORY), _USER, _HOST}
    words |= {host} if len(host) > len("local") else set()  # A text has a short one by chance.
    words |= {str(Path.home())} if len(str(Path.home())) > len("/root") else set()
    words |= {getpass.getuser()} if getpass.getuser() != "root" else set()
    for path, data in outside.files_of(out).items():
        tally.count("files")
        leaks = sorted(word for word in words if word.encode() in data)
        tally.check(not leaks, "leaks", f"{spec.stem} {path}: {leaks}")
