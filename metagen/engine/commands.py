"""Commands of plain doit that have another answer here, since doit's own database stays empty.

`pyproject.toml` names them as plug-ins of doit, in the place of doit's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from doit import cmd_info
from doit.cmd_base import Command
from doit.exceptions import InvalidCommand

from metagen.spec import nearest


class Info(cmd_info.Info):  # type: ignore[misc]
    """`doit info TASK`; doit's own ends with a traceback when there is no such task."""

    name = "info"

    def _execute(self, pos_args: Sequence[str], hide_status: bool = False) -> int:
        names = [task.name for task in self.task_list]
        for name in pos_args:
            if name not in names:
                close = nearest(name, names)
                guess = f"did you mean {close!r}? " if close else ""
                raise InvalidCommand(f"{name!r} is no task; {guess}`doit list --all` lists them.")
        return int(super()._execute(pos_args, hide_status) or 0)


class Refused(Command):  # type: ignore[misc]
    """A command that would say that it did something, and do nothing."""

    doc_usage = "[TASK ...]"
    doc_description = None
    cmd_options = ()
    sentence = ""

    def execute(self, opt_values: Mapping[str, Any], pos_args: Sequence[str]) -> int:
        """Refuse.

        Raises:
            InvalidCommand: Always; doit prints it and exits with status 3.
        """
        raise InvalidCommand(self.sentence)


class Ignore(Refused):
    """`doit ignore`."""

    name = "ignore"
    doc_purpose = "not possible: a package is whole, or stale"
    sentence = (
        "no task can be ignored, since the package would be stale; `doit TASK` builds some tasks "
        "only, and outputs.artifacts in the spec leaves documents out."
    )


class DumpDB(Refused):
    """`doit dumpdb`."""

    name = "dumpdb"
    doc_purpose = "not possible: doit has no database here"
    sentence = (
        "doit has no database here, since the ledger of MetaGen is the record; `metagen why FILE` "
        "prints what a file was made from, and `doit info TASK` whether a task is current."
    )


class ResetDep(Refused):
    """`doit reset-dep`."""

    name = "reset-dep"
    doc_purpose = "not possible: every build compares contents"
    sentence = (
        "there is nothing to reset, since every build compares contents; `doit forget TASK` makes "
        "a task run again."
    )
