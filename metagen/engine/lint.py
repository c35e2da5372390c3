"""What a task reads past its desk: `--lint` catches it.

Under `--lint` the work of each task is watched, and an unrecorded read fails the task. Python's
audit events report files, programs and the network; its profiler, which is called for every call
of a C function, reports the rest. The reads of a library that is being imported, or of its own
files, are not reported: the library's recorded version covers them. Nor are reads of a file whose
place the desk told, or below the scratch folder that it gave.
"""

from __future__ import annotations

import os
import platform
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from metagen import paths
from metagen.errors import Problem, TaskError
from metagen.work import Recipe

# A read that comes from these modules is fine: they record it, or isolate the program they start.
_TRUSTED = ("engine/", "programs.py", "docs/latex.py")
# A read in these modules is attributed to their caller.
_HELPERS = ("paths.py", "files.py")

_HINT = "read it through the desk, so that the task's trace records it"
_EVENTS = {
    "os.listdir": "lists a folder",
    "os.scandir": "lists a folder",
    "subprocess.Popen": "starts a program",
    "os.posix_spawn": "starts a program",
    "os.system": "starts a program",
    "os.fork": "starts a program",
    "socket.connect": "uses the network",
    "socket.getaddrinfo": "uses the network",
    "socket.gethostbyname": "uses the network",
    "socket.bind": "uses the network",
}
_CLOCKS = (
    *("time", "time_ns", "localtime", "gmtime", "strftime", "clock_gettime", "clock_gettime_ns"),
    *("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"),
    *("process_time", "process_time_ns", "thread_time", "thread_time_ns"),
)
# C functions by module and name; methods, which have no module, by name.
_CALLS = {
    **{("time", name): "reads the clock" for name in _CLOCKS},
    ("", "datetime.now"): "reads the clock",
    ("", "datetime.utcnow"): "reads the clock",
    ("", "date.today"): "reads the clock",
    ("posix", "urandom"): "draws random numbers",
    ("posix", "getcwd"): "depends on the current folder",
    ("posix", "getpid"): "depends on the process",
    ("posix", "uname"): "depends on the machine",
    ("posix", "cpu_count"): "depends on the machine",
    ("_socket", "gethostname"): "depends on the machine",
    ("posix", "getuid"): "depends on the user",
    ("pwd", "getpwuid"): "depends on the user",
    ("posix", "stat"): "looks whether a file is there",
    ("_locale", "setlocale"): "depends on the locale",
}
# Python functions: what they do, and a test of their arguments.
_CODES: dict[types.CodeType, tuple[str, Callable[[Any], bool]]] = {
    os._Environ.__getitem__.__code__: ("reads the environment", lambda arguments: True),
    os._Environ.__iter__.__code__: ("reads the environment", lambda arguments: True),
    platform.uname.__code__: ("depends on the machine", lambda arguments: True),
    random.Random.seed.__code__: ("draws random numbers", lambda arguments: arguments["a"] is None),
}

_SHARED_RANDOM = random._inst
_watch = threading.local()
_hooked: list[bool] = []
_OWN = f"{paths.PACKAGE}{os.sep}"


@contextmanager
def watched(recipe: Recipe) -> Iterator[None]:
    """Watch this thread while the work of a recipe runs.

    Raises:
        TaskError: The work read something past its desk.
    """
    if not _hooked:
        sys.addaudithook(_on_event)  # An audit hook cannot be removed, so it is added once.
        _hooked.append(True)
    problems: dict[str, Problem] = {}
    _watch.problems, _watch.allowed, before = problems, [], sys.getprofile()
    sys.setprofile(_on_call)
    try:
        yield
    finally:
        sys.setprofile(before)
        _watch.problems = None
    if problems:
        head = Problem(f"{recipe.name} reads something that its trace does not record.", hint=_HINT)
        raise TaskError([head, *problems.values()])


def allow(place: Path) -> None:
    """Let the task at work open a file, or what lies in a folder, that its desk gave it."""
    if getattr(_watch, "problems", None) is not None:
        _watch.allowed.append(str(place))


def _is_allowed(path: str) -> bool:
    return _watch.problems is not None and any(
        path == each or path.startswith(f"{each}{os.sep}") for each in _watch.allowed
    )


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_watch, "problems", None) is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100, which resolves links
        library = path.startswith((sys.prefix, sys.base_prefix)) and not path.startswith(_OWN)
        if not library and not _is_allowed(path):
            _note("opens a file", path)
    elif event in _EVENTS:
        _note(_EVENTS[event], str(arguments[0]) if arguments else "")


def _on_call(frame: types.FrameType, event: str, function: Any) -> None:
    if event == "c_call":
        name = getattr(function, "__qualname__", "")
        module = getattr(function, "__module__", None) or ""
        if what := _CALLS.get((module, name)) or _CALLS.get(("", name)):
            # `Path.stat` has the path; of a call of `os.stat` nothing tells which it was.
            path = frame.f_locals.get("self") if name == "stat" else None
            if not (isinstance(path, Path) and _is_allowed(str(path))):
                _note(what, name)
        elif getattr(function, "__self__", None) is _SHARED_RANDOM:
            _note("draws random numbers", name)
    elif event == "call" and frame.f_code in _CODES:
        what, applies = _CODES[frame.f_code]
        if applies(frame.f_locals):
            _note(what, str(frame.f_locals.get("key", "")))


def _note(what: str, subject: str) -> None:
    """Note a read, unless an import, a library for itself or a trusted module does it."""
    if _watch.problems is None:
        return
    problems, _watch.problems = _watch.problems, None  # The lint's own reads do not count.
    try:
        frame = _responsible(sys._getframe(2), opens=what == "opens a file")
        if frame is not None:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            problems.setdefault(place, Problem(f"this {what}: {subject}", place))
    finally:
        _watch.problems = problems


def _responsible(frame: types.FrameType | None, *, opens: bool) -> types.FrameType | None:
    """Return the innermost frame of a task's work that a read goes back to; None if it is fine.

    Args:
        frame: The frame of the read.
        opens: Whether the read opens a file. A task answers for a file that it makes a library
            open, but not for a library that reads a clock or the environment for itself.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if "importlib" in name:
            return None
        own = name.removeprefix(_OWN) if name.startswith(_OWN) else ""
        if own and own not in _HELPERS:
            return None if own.startswith(_TRUSTED) else frame
        installed = name.startswith(_folders("purelib", "platlib"))
        if installed and not opens:
            return None
        if not (own or installed or name.startswith(("<", *_folders("stdlib", "platstdlib")))):
            return frame
        frame = frame.f_back
    return None


@cache
def _folders(*names: str) -> tuple[str, ...]:
    """Return some of Python's folders; builds without `--lint` need not load `sysconfig`."""
    import sysconfig

    return tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in names})
