"""Where the trials of a study lie: a journal in its folder, or a database.

Both are Optuna's. A worker whose disk is full, or that is killed while it writes, leaves half a
line at the end of the journal. The next worker that opens the journal cuts it off: what it says was
never noted.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from metagen import files
from metagen.errors import Problem, TaskError, UsageError

JOURNAL = "journal.log"
BUSY = 60.0  # seconds for which a worker waits while another one writes to SQLite
_OPTION = "--storage"


def library() -> Any:
    """Return Optuna.

    Raises:
        UsageError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        hint = "pip install optuna"
        raise UsageError(Problem("A search needs Optuna.", hint=hint)) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def opened(folder: Path, url: str | None) -> Any:
    """Return the storage of a study: the journal in its folder, or the database at a URL.

    Raises:
        UsageError: The journal is damaged, or the database cannot be opened.
    """
    return _journal(folder) if url is None else _database(url)


@contextmanager
def faults(url: str | None) -> Iterator[None]:
    """Turn a fault of the database while a study runs into an error for its user.

    Raises:
        TaskError: The database failed.
    """
    try:
        yield
    except library().exceptions.StorageInternalError as error:
        sentence = f"The database failed: {_reason(error.__cause__ or error, url or '')}."
        hint = "run the same command again: it continues from here"
        raise TaskError(Problem(sentence, _OPTION, hint)) from None


def _journal(folder: Path) -> Any:
    storages, path = library().storages, folder / JOURNAL
    if blocked := files.obstacle(folder, JOURNAL):
        raise UsageError(Problem("A link or a folder is in the way.", blocked, "remove it"))
    backend = storages.journal.JournalFileBackend(str(path))
    lock = storages.journal.JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        _mend(path)
    finally:
        lock.release()
    try:
        return storages.JournalStorage(backend)
    except OSError:
        raise
    except Exception:
        # A journal is replayed by Optuna, which trusts every line of it.
        raise _damaged(path) from None


def _mend(path: Path) -> None:
    """Cut off half a line at the end of a journal.

    Raises:
        UsageError: Another line is none of a journal.
    """
    *whole, rest = path.read_bytes().split(b"\n")
    try:
        for line in whole:
            json.loads(line)
    except ValueError:
        raise _damaged(path) from None
    if rest:
        os.truncate(path, path.stat().st_size - len(rest))


def _damaged(path: Path) -> UsageError:
    hint = "remove it, and run the same search again: what was trained is in its cache"
    return UsageError(Problem("The journal of this study is damaged.", str(path), hint))


def _database(url: str) -> Any:
    try:
        storage = library().storages.RDBStorage(url)
    except Exception as error:
        raise UsageError(_refusal(error, url)) from None
    if storage.engine.dialect.name == "sqlite":
        _take_turns(storage.engine)
    return storage


def _take_turns(engine: Any) -> None:
    """Let a transaction lock SQLite from its first read on, since SQLite locks no single trial."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def _(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # Else the driver begins transactions, and later.
        connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY:.0f}")

    @event.listens_for(engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # The connection that made the tables knows nothing of this.


def _refusal(error: Exception, url: str) -> Problem:
    """Return why a database cannot be opened."""
    from sqlalchemy import exc

    if isinstance(error, ImportError):
        module = getattr(error.__cause__, "name", None) or "a driver"
        sentence = f"This database needs {module}, which is not installed."
        return Problem(sentence, _OPTION, "install the Python package that has this module")
    cause = error if isinstance(error, exc.DBAPIError) else error.__cause__ or error
    if isinstance(cause, exc.DBAPIError | RuntimeError):
        sentence = f"The database cannot be opened: {_reason(cause, url)}."
        return Problem(sentence, _OPTION, "correct the address, or what it names")
    hint = "write it as sqlite:////PATH, or postgresql://USER:PASSWORD@HOST/NAME"
    return Problem("This is no address of a database.", _OPTION, hint)


def _reason(error: BaseException, url: str) -> str:
    """Return the first line of what a driver says, without the password of the URL."""
    said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")
    password = urlsplit(url).password
    for secret in {password, unquote(password)} if password else ():
        said = said.replace(secret, "***")
    return said
