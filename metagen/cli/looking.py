"""Commands that look at specs and at packages, and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from metagen.cli import options
from metagen.errors import Problem, UsageError

_spec = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@options.specs_argument
def validate(specs: Sequence[str]) -> None:
    """Check each SPEC and say everything that is wrong with it."""
    request = options.Request.of(specs, None, None)
    for package in request.packages(options.terminal()):
        click.echo(f"{package.spec.path}: this is a valid spec")


@click.command()
@click.argument("spec", nargs=-1, required=True, metavar="SPEC [KEY=VALUE...]")
def explain(spec: Sequence[str]) -> None:
    """Tell why SPEC gets its architecture, and what a step of each constraint would buy.

    Prints each decision with its figures, the constraints that bind it, and a table of what more
    or less of each would change. Nothing is built.
    """
    from metagen.sizing.explain import lines

    request = options.Request.of(spec, None, None)
    for package in request.packages(options.terminal()):
        for line in lines(package.spec):
            click.echo(line)


@click.command()
def schema() -> None:
    """Print the JSON Schema of a spec."""
    from metagen.files import json_bytes
    from metagen.spec import json_schema

    click.echo(json_bytes(json_schema()).decode(), nl=False)


@click.command()
def families() -> None:
    """Print which specs can be built: the values of the keys that lead to each family."""
    from metagen.families import FAMILIES, ROUTES, load

    for route in ROUTES:
        click.echo(
            f"{route.family}: {(load(FAMILIES[route.family]).__doc__ or '').splitlines()[0]}"
        )
        for key, values in route.allowed().items():
            click.echo(f"  {key:<20} {' | '.join(sorted(values))}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def why(file: Path) -> None:
    """Tell where a FILE of a package comes from, back to the keys of its spec."""
    from metagen.engine import explain, session

    run = _run_of(file)
    with session.opened(run) as engine:
        for depth, line in explain.why(engine, file.resolve().relative_to(run).as_posix()):
            click.echo("  " * depth + line)


@click.command()
@click.argument("key")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def impact(key: str, run: Path) -> None:
    """List the files of the package in RUN that a KEY of the spec reaches, and by what."""
    from metagen.engine import explain, session

    with session.opened(run) as engine:
        for path, cause in explain.impact(engine, key):
            click.echo(f"{path}  <- {cause}")


@click.command()
@click.argument("first", type=_spec)
@click.argument("second", type=_spec)
def diff(first: Path, second: Path) -> None:
    """Show how the packages of two specs differ: in keys, in dimensions, and in files."""
    from metagen.engine import differ

    for line in differ.lines(first, second):
        click.echo(line)


def _run_of(file: Path) -> Path:
    """Return the run folder that a file lies in."""
    found = [p for p in file.resolve().parents if (p / "spec_resolved.yaml").is_file()]
    if not found:
        raise UsageError(Problem("This file is in no run folder.", str(file)))
    return found[0]


COMMANDS = (validate, explain, schema, families, why, impact, diff)
