"""The command line: `metagen synth SPEC`, and what goes with it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from metagen import __version__, errors, paths
from metagen.errors import MetagenError, Problem, SpecError, UsageError

EXIT_STATUSES = """\b
Exit status:
  0  done
  1  a task failed
  2  the command line or the spec is not right
  3  a constraint is violated (with --strict)
  4  another build holds the folder (with --no-wait)
  5  a file edited by hand is in conflict with its new text
"""

_Command = Callable[..., Any]


class _Main(click.Group):
    """Turns errors that a user can act on into text and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except MetagenError as error:
            from metagen.build.terminal import Terminal

            Terminal().error(error)
            sys.exit(error.status)


@click.group(
    cls=_Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_STATUSES,
)
@click.version_option(__version__)
def main() -> None:
    """Make complete, measured model release packages from YAML specs."""
    signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _build_options(command: _Command) -> _Command:
    """Add the options that every command that builds has."""
    for option in reversed(
        [
            click.argument("specs", nargs=-1, required=True, metavar="SPEC... [KEY=VALUE...]"),
            click.option(
                "--out",
                type=click.Path(path_type=Path, file_okay=False),
                default=Path("build"),
                show_default=True,
                help="Folder that the run folders go into.",
            ),
            click.option("--seed", type=int, help="Seed; the same as reproducibility.seed=N."),
            click.option("--run-id", help="Name of the run folder: run-ID. [default: the name]"),
            click.option(
                "-n",
                "--jobs",
                type=click.IntRange(min=1),
                default=1,
                show_default=True,
                help="Tasks to run side by side.",
            ),
            click.option("--strict", is_flag=True, help="A violated constraint fails the build."),
            click.option("--no-wait", is_flag=True, help="Fail at once if the folder is in use."),
            click.option(
                "--discard-edits",
                is_flag=True,
                help="Give up edits of generated files; a backup is kept in OUT/.metagen/backup.",
            ),
            click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
        ]
    ):
        command = option(command)
    return command


@main.command(epilog=EXIT_STATUSES)
@_build_options
def synth(specs: Sequence[str], **options: Any) -> None:
    """Build the package of each SPEC: a file, or a folder of them.

    KEY=VALUE sets a key of the spec for this build, such as constraints.context_window=8k.
    `bench=full` trains the scaled-down model longer, `bench=none` not at all.
    """
    _build("synth", specs, **options)


@main.command(epilog=EXIT_STATUSES)
@_build_options
def paper(specs: Sequence[str], **options: Any) -> None:
    """Build the paper of each SPEC with its PDF; this needs a TeX installation."""
    _build("paper", specs, **options)


@main.command(epilog=EXIT_STATUSES)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("metagen-demo"),
    show_default=True,
    help="Folder that the run folder goes into.",
)
def demo(out: Path) -> None:
    """Build a ten-million-parameter language model, to see what comes out."""
    _build("synth", [str(paths.specs() / "text" / "text_llm_tiny.yaml")], out=out)


@main.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC... [KEY=VALUE...]")
def validate(specs: Sequence[str]) -> None:
    """Check each SPEC and say everything that is wrong with it."""
    from metagen.build import graph
    from metagen.build.terminal import Terminal

    places, overrides = _split(specs)
    for package in graph.packages(places, overrides):
        Terminal().warn(package.warnings)
        click.echo(f"{package.spec.path}: this is a valid spec")


@main.command()
@click.argument("spec", nargs=-1, required=True, metavar="SPEC [KEY=VALUE...]")
def explain(spec: Sequence[str]) -> None:
    """Tell why SPEC gets its architecture, and what a step of each constraint would buy.

    Prints each decision with its figures, the constraints that bind it, and a table of what more
    or less of each would change. Nothing is built.
    """
    from metagen.blueprint.explain import lines
    from metagen.build import graph

    places, overrides = _split(spec)
    for package in graph.packages(places, overrides):
        for line in lines(package.spec):
            click.echo(line)


@main.command()
def schema() -> None:
    """Print the JSON Schema of a spec."""
    from metagen.files import json_bytes
    from metagen.spec import json_schema

    click.echo(json_bytes(json_schema()).decode(), nl=False)


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def why(file: Path) -> None:
    """Tell where a FILE of a package comes from, back to the keys of its spec."""
    from metagen.build import explain, session

    with session.opened(_run_of(file)) as engine:
        path = file.resolve().relative_to(engine.folder.resolve()).as_posix()
        for depth, line in explain.why(engine, path):
            click.echo("  " * depth + line)


@main.command()
@click.argument("key")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def impact(key: str, run: Path) -> None:
    """List the files of the package in RUN that a KEY of the spec reaches, and by what."""
    from metagen.build import explain, session

    with session.opened(run) as engine:
        for path, cause in explain.impact(engine, key):
            click.echo(f"{path}  <- {cause}")


def _run_of(file: Path) -> Path:
    """Return the run folder that a file lies in."""
    found = [p for p in file.resolve().parents if (p / "spec_resolved.yaml").is_file()]
    if not found:
        raise UsageError(Problem("This file is in no run folder.", str(file)))
    return found[0]


@main.command()
def families() -> None:
    """Print which specs can be built: the values of the keys that lead to each family."""
    from metagen.families import FAMILIES, ROUTES, load

    for route in ROUTES:
        click.echo(
            f"{route.family}: {(load(FAMILIES[route.family]).__doc__ or '').splitlines()[0]}"
        )
        for key, values in route.allowed().items():
            click.echo(f"  {key:<20} {' | '.join(sorted(values))}")


def _split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Part spec files from KEY=VALUE settings; a file that exists is a file."""
    places = [a for a in arguments if "=" not in a or Path(a).exists()]
    return [Path(a) for a in places], [a for a in arguments if a not in places]


def _build(
    target: str,
    specs: Sequence[str],
    *,
    out: Path,
    seed: int | None = None,
    run_id: str | None = None,
    jobs: int = 1,
    strict: bool = False,
    no_wait: bool = False,
    discard_edits: bool = False,
    quiet: bool = False,
) -> NoReturn:
    """Build one target of the graph and leave with the exit status."""
    from metagen.build import doors, graph
    from metagen.build.session import Session
    from metagen.build.terminal import Terminal

    places, overrides = _split(specs)
    overrides += [] if seed is None else [f"seed={seed}"]
    terminal = Terminal(quiet=quiet)
    packages = graph.packages(places, overrides, run_id)
    warnings = [problem for package in packages for problem in package.warnings]
    terminal.warn(warnings)
    if strict and warnings:
        raise SpecError(Problem("Under --strict a warning is an error.", hint="See above."))
    session = Session(
        out, packages, terminal, wait=not no_wait, strict=strict, discard_edits=discard_edits
    )
    try:
        parallel = ["-n", str(jobs)] if jobs > 1 else []
        sys.exit(doors.run(session, ["run", *parallel, target]))
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(errors.INTERRUPTED)
