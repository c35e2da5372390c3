"""The command line: `metagen synth SPEC`, and what goes with it.

========  ========================================================================
options   arguments and options that commands share
building  synth, paper, demo, plan: make a package, or say what would be made
looking   validate, explain, families, why, impact, diff ...: look, and change nothing
keeping   verify, gc: whether a package is what it says, and room on the disk
========  ========================================================================
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from metagen import __version__
from metagen.cli import building, keeping, looking
from metagen.cli.options import EXIT_STATUSES
from metagen.engine import interrupts
from metagen.errors import MetagenError, from_system

_NEW_OBJECTS = 100_000  # between two searches for garbage, which else take a short build's tenth


@contextmanager
def _while_read() -> Iterator[None]:
    """End without a word when nobody reads what is printed any more, as behind `| head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        from metagen.engine.terminal import unread

        unread(sys.stdout)
        sys.exit(1)


class _Main(click.Group):
    """Turns errors that a user can act on into text and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        gc.set_threshold(_NEW_OBJECTS)
        try:
            with interrupts.watched(), from_system(), _while_read():
                return super().invoke(ctx)
        except MetagenError as error:
            from metagen.engine.terminal import Terminal

            Terminal().error(error)
            sys.exit(error.status)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which one meets them."""
        return list(self.commands)


@click.group(
    cls=_Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_STATUSES,
)
@click.version_option(__version__)
def main() -> None:
    """Make complete, measured model release packages from YAML specs."""


for _command in (*building.COMMANDS, *looking.COMMANDS, *keeping.COMMANDS):
    main.add_command(_command)
