"""What a task reads: through its desk, which records it, or past the desk, which `--lint` catches.

Under `--lint` the work of each task is watched, and an unrecorded read fails the task. Python's
audit events report files, programs and the network; its profiler, which is called for every call
of a C function, reports the rest. The reads of a library that is being imported, or of its own
files, are not reported: the library's recorded version covers them.
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

from metagen import entries, files, paths
from metagen.engine.digest import Environment, version
from metagen.engine.ledger import Dependency
from metagen.engine.terminal import Progress
from metagen.errors import Problem, TaskError
from metagen.spec import Spec
from metagen.work import Recipe

# The environment variable with the run folder whose record of the machine a build repeats.
OBSERVED = "METAGEN_OBSERVED"
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


class MissingEntryError(TaskError, LookupError):
    """A structured file lacks an entry: it was edited, or a task reads a wrong address."""


class TracingDesk:
    """The `Desk` of one run of one recipe.

    Args:
        recipe: What runs.
        spec: The source of keys.
        environment: The source of code digests.
        load: Returns a file of the package.
        edited: Tells whether the user edited a file of the package.
        generated: Returns a file of the package without the user's edits; None if it is lost.
        origin: Returns what a file of the package was made from.
        report: Reports progress.

    Attributes:
        reads: Every dependency of the run, by (kind, name), with the digest of the value returned.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: Spec,
        environment: Environment,
        load: Callable[[str], bytes],
        edited: Callable[[str], bool],
        generated: Callable[[str], bytes | None],
        origin: Callable[[str], dict[str, Any]],
        report: Progress,
    ) -> None:
        self.reads: dict[tuple[str, str], Dependency] = {}
        self._recipe = recipe
        self._spec = spec
        self._environment = environment
        self._load = load
        self._edited = edited
        self._generated = generated
        self._origin = origin
        self._report = report
        self._files: dict[str, bytes] = {}
        self._contents: dict[str, Any] = {}
        root = code_root(recipe)
        self._record("code", root, environment.digest("code", root), root)
        self._record("graph", recipe.name, graph_digest(recipe), "")

    def key(self, name: str) -> Any:
        value = self._spec.key(name)
        self._record("key", name, self._spec.digest(name), self._spec.shown(name))
        return value

    def read(self, path: str) -> bytes:
        data = self._input(path)
        self._record("file", path, files.sha256(data), files.sha256(data)[:12])
        return data

    def entry(self, path: str, *keys: str) -> Any:
        address = entries.pointer(path, keys)
        try:
            value = entries.at(self._parsed(path), keys)
        except LookupError:
            self._record("entry", address, entries.ABSENT, entries.ABSENT)
            hint = "if you edited the file, put the entry back, or build with --discard-edits"
            raise MissingEntryError(Problem("There is no such entry.", address, hint)) from None
        self._record("entry", address, entries.digest(value), files.brief(value))
        return value

    def names(self, path: str, *keys: str) -> tuple[str, ...]:
        names = entries.names(entries.at(self._parsed(path), keys))
        address = entries.pointer(path, keys)
        self._record("names", address, entries.digest(names), files.brief(names))
        return names

    def edited(self, path: str) -> bool:
        self._must_be_input(path)
        edited = self._edited(path)
        self._record("edited", path, edited_digest(edited), "")
        return edited

    def generated(self, path: str) -> bytes | None:
        self._must_be_input(path)
        data = self._generated(path)
        digest = generated_digest(data)
        self._record("generated", path, digest, digest[:12])
        return data

    def _must_be_input(self, path: str) -> None:
        if path not in self._recipe.inputs:
            raise TaskError(f"{self._recipe.name} reads {path} without naming it as an input.")

    def _input(self, path: str) -> bytes:
        """Return an input of the recipe; read once, so that all of a run sees the same bytes."""
        self._must_be_input(path)
        if path not in self._files:
            self._files[path] = self._load(path)
        return self._files[path]

    def _parsed(self, path: str) -> Any:
        if path not in self._contents:
            try:
                self._contents[path] = entries.parse(path, self._input(path))
            except ValueError as error:
                raise TaskError(Problem(f"This file cannot be read: {error}", path)) from None
        return self._contents[path]

    def source(self, name: str) -> bytes:
        try:
            data = paths.source(name).read_bytes()
        except OSError as error:
            raise TaskError(f"{self._recipe.name} needs {name}: {error.strerror}.") from None
        self._record("source", name, files.sha256(data), files.sha256(data)[:12])
        return data

    def version(self, name: str) -> str:
        number = version(name)
        self._record("version", name, number, number)
        return number

    def observed(self, path: str, seen: bytes) -> bytes:
        run = os.environ.get(OBSERVED)
        recorded = Path(run) / path if run else None
        return recorded.read_bytes() if recorded and recorded.is_file() else seen

    def code(self, module: str) -> str:
        self._record("code", module, self._environment.digest("code", module), module)
        return module

    def provenance(self, path: str) -> dict[str, Any]:
        """Return what a file of the package was made from, and whether the user edited it since."""
        origin = self._origin(path)
        self._record("provenance", path, provenance_digest(origin), "")
        return origin

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._report(done, total, note)

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of each file of the package that was read."""
        return {path: files.sha256(data) for path, data in self._files.items()}

    def _record(self, kind: str, name: str, digest: str, text: str) -> None:
        self.reads.setdefault((kind, name), Dependency(kind, name, digest, text))


def edited_digest(edited: bool) -> str:
    """Return the digest of the result of `TracingDesk.edited`."""
    return "edited" if edited else "as generated"


def generated_digest(data: bytes | None) -> str:
    """Return the digest of the result of `TracingDesk.generated`."""
    return entries.ABSENT if data is None else files.sha256(data)


def provenance_digest(origin: dict[str, Any]) -> str:
    """Return the digest of the result of `TracingDesk.provenance`."""
    return files.sha256(files.canonical(origin).encode())


def graph_digest(recipe: Recipe) -> str:
    """Return the digest of a recipe's place in the graph: its inputs and targets."""
    return files.sha256(files.canonical([recipe.inputs, recipe.targets]).encode())


def code_root(recipe: Recipe) -> str:
    """Return `module:name` of the top-level definition that contains a recipe's work."""
    work = recipe.work
    if not isinstance(work, types.FunctionType):
        raise TypeError(f"the work of {recipe.name} is not a plain function")
    return f"{work.__module__}:{work.__qualname__.partition('.')[0]}"


@contextmanager
def lint(recipe: Recipe) -> Iterator[None]:
    """Watch this thread while the work of a recipe runs.

    Raises:
        TaskError: The work read something past its desk.
    """
    if not _hooked:
        sys.addaudithook(_on_event)  # An audit hook cannot be removed, so it is added once.
        _hooked.append(True)
    problems: dict[str, Problem] = {}
    _watch.problems, before = problems, sys.getprofile()
    sys.setprofile(_on_call)
    try:
        yield
    finally:
        sys.setprofile(before)
        _watch.problems = None
    if problems:
        head = Problem(f"{recipe.name} reads something that its trace does not record.", hint=_HINT)
        raise TaskError([head, *problems.values()])


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_watch, "problems", None) is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100, which resolves links
        if not path.startswith((sys.prefix, sys.base_prefix)) or path.startswith(_OWN):
            _note("opens a file", path)
    elif event in _EVENTS:
        _note(_EVENTS[event], str(arguments[0]) if arguments else "")


def _on_call(frame: types.FrameType, event: str, function: Any) -> None:
    if event == "c_call":
        name = getattr(function, "__qualname__", "")
        module = getattr(function, "__module__", None) or ""
        if what := _CALLS.get((module, name)) or _CALLS.get(("", name)):
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
