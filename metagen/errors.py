"""Errors for users, each a sentence, a place and a next step; and the exit statuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

DONE = 0
TASK_FAILED = 1
USAGE = 2
VIOLATED = 3
LOCKED = 4
CONFLICT = 5


@dataclass(frozen=True)
class Problem:
    """A single problem.

    Attributes:
        sentence: What is wrong, and what is allowed.
        place: `file:line:column`, a path or an option; "" without a place.
        hint: The next step; "" if the sentence already says it.
    """

    sentence: str
    place: str = ""
    hint: str = ""

    def __str__(self) -> str:
        head = f"{self.place}: {self.sentence}" if self.place else self.sentence
        return f"{head}\n  {self.hint}" if self.hint else head


class MetagenError(Exception):
    """An error that a user can act on, with all problems at once."""

    status = TASK_FAILED

    def __init__(self, problems: Problem | str | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class UsageError(MetagenError):
    """The command line names something that does not exist."""

    status = USAGE


class SpecError(MetagenError):
    """The spec is invalid."""

    status = USAGE


class TaskError(MetagenError):
    """A task could not make its artifacts."""


@contextmanager
def from_system() -> Iterator[None]:
    """Turn an error of the operating system into one that a user can act on.

    Raises:
        TaskError: The disk is full, a folder is read-only, or the like.
    """
    try:
        yield
    except OSError as error:
        sentence = f"{error.strerror or error}."
        hint = "correct this, then run the same command again: it continues from here"
        # A rename has two names; the second is the file that was to be written.
        place = str(error.filename2 or error.filename or "")
        raise TaskError(Problem(sentence, place, hint)) from error


class LockedError(MetagenError):
    """Another build is using the out folder."""

    status = LOCKED
