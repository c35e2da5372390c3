"""The command line: `metagen synth SPEC` and the other commands.

========  ========================================================================
options   arguments and options that several commands use
init      a first spec
build     synth, paper, demo, plan, gc: change an out folder, or print what would change
launch    files that start workers on many machines
search    search, search join: small trainings over what a spec leaves open
live      view, watch: stay until the user ends them
query     validate, explain, families, why, impact, trace, diff, verify ...: change nothing
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
from metagen.cli import build, init, launch, live, query, search
from metagen.cli.options import EXIT_STATUSES
from metagen.engine.terminal import Terminal, discard_rest, exiting_on_signals
from metagen.errors import MetagenError, from_system

# New objects between two garbage collections; Python's default slows a short build by a tenth.
_NEW_OBJECTS = 100_000


@contextmanager
def _while_read() -> Iterator[None]:
    """Exit silently if the reader of the output has closed it, as `| head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard_rest(sys.stdout)
        sys.exit(1)


class _Main(click.Group):
    """Turns errors for users into text and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        gc.set_threshold(_NEW_OBJECTS)
        try:
            with exiting_on_signals(), from_system(), _while_read():
                return super().invoke(ctx)
        except MetagenError as error:
            Terminal().error(error)
            sys.exit(error.status)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of use instead of the alphabet."""
        return list(self.commands)


@click.group(
    cls=_Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_STATUSES,
)
@click.version_option(__version__)
def main() -> None:
    """Make complete, measured model release packages from YAML specs."""


_COMMANDS = (
    *init.COMMANDS,
    *build.COMMANDS,
    *search.COMMANDS,
    *launch.COMMANDS,
    *live.COMMANDS,
    *query.COMMANDS,
)
for _command in _COMMANDS:
    main.add_command(_command)
