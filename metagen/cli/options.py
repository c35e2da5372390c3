"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metagen.errors import Problem, UsageError

if TYPE_CHECKING:
    from metagen.engine.graph import Bound, Graph
    from metagen.engine.terminal import Terminal
    from metagen.engine.workspace import Shard

EXIT_STATUSES = """\b
Exit status:
  0  done
  1  a task failed
  2  the command line or the spec is invalid
  3  a constraint is violated (with --strict)
  4  another build is using the folder (with --no-wait)
  5  a file that was edited by hand conflicts with its new text
"""
Command = Callable[..., Any]

specs_argument = click.argument("specs", nargs=-1, required=True, metavar="SPEC... [KEY=VALUE...]")
seed_option = click.option("--seed", type=int, help="Seed; the same as reproducibility.seed=N.")
run_id_option = click.option("--run-id", help="Name of the run folder: run-ID. [default: the name]")
search_option = click.option(
    "--search",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Build what `metagen search` chose: its search.yaml.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON event per line instead of text."
)
cache_option = click.option(
    "--cache",
    metavar="PLACE",
    envvar="METAGEN_CACHE",
    show_envvar=True,
    help="Results shared by out folders: a folder, or the URL of a server. Share it only with "
    "users you trust.",
)
upload_option = click.option(
    "--cache-upload",
    is_flag=True,
    envvar="METAGEN_CACHE_UPLOAD",
    show_envvar=True,
    help="Add results to the cache on a server; a cache in a folder is always written.",
)
shard_option = click.option(
    "--shard",
    metavar="K/N",
    help="Take the K-th of N equal shares of the specs, as one of N machines does.",
)


def out_option(default: str) -> Callable[[Command], Command]:
    """Return the option that names the out folder."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(default),
        show_default=True,
        help="Folder for the run folders.",
    )


def stacked(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds several options, in the order of `--help`."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate spec files from KEY=VALUE settings; an existing file may have a = in its name."""
    places = [a for a in arguments if "=" not in a or os.path.exists(a)]  # noqa: PTH110
    return [Path(a) for a in places], [a for a in arguments if a not in places]


class _Nameless(click.Context):
    """The context of a command whose name nobody types."""

    @property
    def command_path(self) -> str:
        """What a user types to run the command."""
        assert self.parent
        return self.parent.command_path


class Defaulted(click.Group):
    """A group with a command that needs no name: `metagen search SPEC`.

    Args:
        default: The command that an argument stands for which names none.
    """

    def __init__(self, *arguments: Any, default: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._default = default

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(cmd, name)
        if (name or cmd.name) == self._default:
            cmd.context_class = _Nameless

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args if args and args[0] in self.commands else [self._default, *args]
        return super().parse_args(ctx, named)


bound_options = stacked(
    click.option(
        "--trained",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of a training of the full model: the --out of train.py.",
    ),
    click.option(
        "--results",
        type=click.Path(path_type=Path),
        metavar="PATH",
        multiple=True,
        help="File of results of the trained model, or a folder of them; may be repeated.",
    ),
)


@dataclass(frozen=True)
class Request:
    """The specs and settings of a command line.

    Attributes:
        specs: Spec files.
        overrides: KEY=VALUE settings.
        run_id: Name of the run folder; None for the name in the spec.
        shard: Which share of all specs these are; None where they are all.
        all: Number of all specs, where these are a shard.
    """

    specs: tuple[Path, ...]
    overrides: tuple[str, ...]
    run_id: str | None
    shard: Shard | None = None
    all: int = 0

    @classmethod
    def of(
        cls,
        arguments: Sequence[str],
        seed: int | None,
        run_id: str | None,
        shard: str | None = None,
        search: Path | None = None,
    ) -> Request:
        """Read the arguments SPEC... [KEY=VALUE...], and take a shard K/N of the specs.

        What a search chose goes before settings of the command line.

        Raises:
            UsageError: There is no spec or no such shard, or several specs with one search.
        """
        from metagen.engine.workspace import Shard, spec_files

        places, overrides = _split(arguments)
        if not places:
            raise UsageError(
                Problem("No spec is given.", hint="Name a spec file, or a folder of spec files.")
            )
        overrides += [] if seed is None else [f"seed={seed}"]
        specs = spec_files(places)
        if search:
            from metagen.search import choices

            if len(specs) > 1:
                raise UsageError(Problem("A search is of one spec.", "--search", "Name one spec."))
            overrides = [*choices.overrides(search), *overrides]
        if shard is None:
            return cls(tuple(specs), tuple(overrides), run_id)
        part = Shard.of(shard)
        return cls(
            tuple(part.take(specs, overrides, run_id)), tuple(overrides), run_id, part, len(specs)
        )

    def fingerprint(self) -> str:
        """Return the `workspace.fingerprint` of this build."""
        from metagen.engine.workspace import fingerprint

        return fingerprint((*self.overrides, self.run_id))

    def graphs(
        self,
        terminal: Terminal,
        specs: Sequence[Path] | None = None,
        bound: Bound | None = None,
    ) -> list[Graph]:
        """Return the graphs of the specs, or of some of them, and print the specs' warnings.

        `bound` tells what is bound to a run; without it, nothing is.

        Raises:
            SpecError: A spec is invalid.
            UsageError: Two of them would fill one folder.
        """
        from metagen.engine import graph

        chosen = self.specs if specs is None else specs
        graphs = graph.of_files(chosen, self.overrides, self.run_id, bound or graph.unbound)
        terminal.warn([problem for each in graphs for problem in each.warnings])
        return graphs


def terminal(*, quiet: bool = False, as_json: bool = False) -> Terminal:
    """Return the terminal that a command reports to: JSON events for a program, or text."""
    from metagen.engine.terminal import Events, Terminal

    return Events() if as_json else Terminal(quiet=quiet)


def number_of_bytes(context: object, parameter: object, text: str) -> int:
    """Read an amount such as `5GB`."""
    from metagen.units import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
