"""What a task reads behind the engine's back: files, environment, clock, chance, network.

Under `--lint` the work of each task is watched, and an undeclared read fails the task. Files,
programs and the network are seen by Python's audit events, the rest by its profiler, which is told
of every call into C. What a library does to import itself, or with files of its own, is covered by
its recorded version.
"""

from __future__ import annotations

import os
import platform
import random
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from metagen import paths
from metagen.errors import Problem, TaskError
from metagen.work import Recipe

# The doors through which the engine itself reads: each records, or shuts out, what lies behind it.
DOORS = ("build/", "programs.py", "docs/latex.py")
# Helpers that read for whoever calls them.
HELPERS = ("paths.py", "files.py")

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
# Functions in C by module and name, or by name alone for methods.
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
# Functions in Python: what they do, and a test of their local variables.
_CODES: dict[CodeType, tuple[str, Callable[[Any], bool]]] = {
    os._Environ.__getitem__.__code__: ("reads the environment", lambda given: True),
    os._Environ.__iter__.__code__: ("reads the environment", lambda given: True),
    platform.uname.__code__: ("depends on the machine", lambda given: True),
    random.Random.seed.__code__: ("draws random numbers", lambda given: given["a"] is None),
}

_SHARED_RANDOM = random._inst
_watch = threading.local()
_hooked: list[bool] = []
_LIBRARIES = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("purelib", "platlib")})
_OWN = f"{paths.PACKAGE}{os.sep}"


@contextmanager
def watched(recipe: Recipe) -> Iterator[None]:
    """Watch this thread while the work of a recipe runs.

    Raises:
        TaskError: It read, or wrote, what its trace does not know of.
    """
    if not _hooked:
        sys.addaudithook(_on_event)  # cannot be taken away again, so only once
        _hooked.append(True)
    found: dict[str, Problem] = {}
    _watch.found, before = found, sys.getprofile()
    sys.setprofile(_on_call)
    try:
        yield
    finally:
        sys.setprofile(before)
        _watch.found = None
    if found:
        head = Problem(f"{recipe.name} depends on what its trace does not record.", hint=_HINT)
        raise TaskError([head, *found.values()])


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_watch, "found", None) is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100, which would resolve links
        if not path.startswith((sys.prefix, sys.base_prefix)) or path.startswith(_OWN):
            _note("opens a file", path)
    elif event in _EVENTS:
        _note(_EVENTS[event], str(arguments[0]) if arguments else "")


def _on_call(frame: FrameType, event: str, called: Any) -> None:
    if event == "c_call":
        name = getattr(called, "__qualname__", "")
        module = getattr(called, "__module__", None) or ""
        if what := _CALLS.get((module, name)) or _CALLS.get(("", name)):
            _note(what, name)
        elif getattr(called, "__self__", None) is _SHARED_RANDOM:
            _note("draws random numbers", name)
    elif event == "call" and frame.f_code in _CODES:
        what, concerns = _CODES[frame.f_code]
        if concerns(frame.f_locals):
            _note(what, str(frame.f_locals.get("key", "")))


def _note(what: str, subject: str) -> None:
    """Note a read, unless an import, a library on its own behalf or one of the doors does it."""
    if _watch.found is None:
        return
    found, _watch.found = _watch.found, None  # looking is not watched
    try:
        frame = _responsible(sys._getframe(2), library=what == "opens a file")
        if frame is not None:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            found.setdefault(place, Problem(f"this {what}: {subject}", place))
    finally:
        _watch.found = found


def _responsible(frame: FrameType | None, *, library: bool) -> FrameType | None:
    """Return the nearest frame of metagen's own work that a read goes back to.

    Args:
        frame: Where the read happens.
        library: Whether metagen answers for what an installed library does.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if "importlib" in name:
            return None
        own = name.removeprefix(_OWN) if name.startswith(_OWN) else ""
        if own and own not in HELPERS:
            return None if own.startswith(DOORS) else frame
        installed = name.startswith(_INSTALLED)
        if installed and not library:
            return None
        if not (own or installed or name.startswith(("<", *_LIBRARIES))):
            return frame
        frame = frame.f_back
    return None
