"""Commands that read specs and packages, and change nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metagen.cli import options
from metagen.errors import DONE, TASK_FAILED, Problem, UsageError

if TYPE_CHECKING:
    from metagen.engine.binding import Binding

_run = click.Path(path_type=Path, exists=True, file_okay=False)
_spec = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@options.specs_argument
def validate(specs: Sequence[str]) -> None:
    """Check each SPEC and report all of its problems."""
    request = options.Request.of(specs, None, None)
    for graph in request.graphs(options.terminal()):
        click.echo(f"{graph.spec.path}: valid spec")


@click.command(short_help="Explain the architecture of a SPEC, and what limits it.")
@click.argument("spec", nargs=-1, required=True, metavar="SPEC [KEY=VALUE...]")
@click.option("--json", "as_json", is_flag=True, help="Print all of it, one JSON object a spec.")
def explain(spec: Sequence[str], as_json: bool) -> None:
    """Explain the architecture for SPEC, and what a step of each constraint would gain.

    Prints whether the limits are met, a table of the dimensions with the reason of each, the
    constraints that limit them, and what a looser or tighter constraint would change. Nothing is
    built.
    """
    from metagen.files import canonical
    from metagen.sizing.explain import content, lines

    request = options.Request.of(spec, None, None)
    for graph in request.graphs(options.terminal()):
        for line in [canonical(content(graph.spec))] if as_json else lines(graph.spec):
            click.echo(line)


@click.command()
def schema() -> None:
    """Print the JSON Schema of a spec."""
    from metagen.files import json_bytes
    from metagen.spec import json_schema

    click.echo(json_bytes(json_schema()).decode(), nl=False)


@click.command(short_help="Print the values of keys that select each model family.")
def families() -> None:
    """Print which specs can be built: the values of keys that select each family."""
    from metagen.families import ROUTES, named

    for route in ROUTES:
        click.echo(f"{route.family}: {(named(route.family).__doc__ or '').splitlines()[0]}")
        for key, values in route.allowed.items():
            click.echo(f"  {key:<20} {' | '.join(sorted(values))}")


@click.command(short_help="Print the inputs of a FILE of a package.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Levels to print: 1 lists the inputs of FILE, 2 also their inputs, and so on.",
)
def why(file: Path, depth: int) -> None:
    """Print the inputs of a FILE of a package, back to the keys of its spec."""
    from metagen.engine import query, session

    run = _run_of(file)
    with session.of_built(run) as engine:
        path = file.resolve().relative_to(run).as_posix()
        if path not in engine.graph.maker:
            raise UsageError(Problem("No task makes this file.", str(file)))
        lines = list(query.why(engine, path))
    for level, line in lines:
        if level <= depth:
            click.echo("  " * level + line)
    deeper = [level for level, _ in lines if level > depth]
    if deeper:
        click.echo(f"... {len(deeper):,} deeper lines; --depth {max(deeper)} prints all of them")


@click.command(short_help="List the files of RUN that a KEY of the spec affects.")
@click.argument("key")
@click.argument("run", type=_run)
def impact(key: str, run: Path) -> None:
    """List the files of the package in RUN that a KEY of the spec affects, each with the cause.

    KEY may also be a file of the package, or a file that is bound to it: `trained:run.json` of the
    training folder, or `results:NAME`.
    """
    from metagen.engine import query, session

    with session.of_built(run) as engine:
        for path, cause in query.impact(engine, key):
            click.echo(f"{path}  <- {cause}")


@click.command(short_help="Compare two specs: their keys, dimensions and files.")
@click.argument("first", type=_spec)
@click.argument("second", type=_spec)
def diff(first: Path, second: Path) -> None:
    """Show how the packages of two specs differ in keys, dimensions and files."""
    from metagen.engine import query

    for line in query.diff(first, second):
        click.echo(line)


@click.command(short_help="Print where a VALUE in the documents of RUN comes from.")
@click.argument("run", type=_run)
@click.argument("value")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a fact.")
def trace(run: Path, value: str, as_json: bool) -> None:
    """Print where a VALUE that the documents of the package in RUN print comes from.

    VALUE is a text as printed, such as 1.86, 86.0M or "93.4 %", the address of a fact, such as
    params.total, or that of an entry, such as blueprint/params.json#/total. Prints the documents,
    the exact value, the file and the entry that hold it with the file's sha256, the task that made
    the file and what that read, and how the value came. RUN may have any name. Nothing in RUN is
    run, and no link is followed.
    """
    from metagen.engine import trace
    from metagen.files import canonical

    for record in trace.trace(run, value):
        for line in [canonical(record)] if as_json else trace.lines(record):
            click.echo(line)


@click.command(short_help="Check the package in RUN against a clean build.")
@click.argument("run", type=_run)
@click.option(
    "--vary",
    type=click.Choice(["nothing", "all"]),
    default="nothing",
    show_default=True,
    help="Rebuild under another hash seed, time zone, locale, folder, umask, clock and job count.",
)
@options.bound_options
def verify(run: Path, vary: str, trained: Path | None, results: tuple[Path, ...]) -> None:
    """Check the package in RUN against its manifest and against a rebuild in another folder.

    RUN may have any name; of the state of its out folder, only what is bound to RUN is used, and
    --trained and --results name it elsewhere. Nothing in RUN is run, and no link is followed. Each
    entry that the manifest does not list, byte code and links among them, is printed, and so is the
    first difference; the exit status is then 1. So it is where files rest on a training run that is
    not here. A package that passes is followed by the files that each of its scripts runs.
    """
    from metagen.engine import verify

    status, unbuilt = DONE, list[str]()
    binding = _bound_to(run, trained, results)
    for line in verify.verify(run, vary=vary == "all", binding=binding, unbuilt=unbuilt):
        status = TASK_FAILED
        click.echo(line)
    if unbuilt:
        click.echo(verify.not_built(run, unbuilt))
        status = TASK_FAILED
    if status == DONE:
        click.echo(f"{run}: every file equals that of a clean build, and there are no others")
        for line in verify.started(run):
            click.echo(line)
    sys.exit(status)


def _bound_to(run: Path, trained: Path | None, results: tuple[Path, ...]) -> Binding:
    """Return what a clean build of a package uses: what is named, else what its ledger names."""
    from metagen.engine import binding

    if trained or results:
        named = binding.Binding.of(trained, results)
        named.check()
        return named
    place = run.resolve()
    known = binding.bound_in(place.parent, place.name) or binding.NOTHING
    return known if known.is_here else binding.NOTHING


def _run_of(file: Path) -> Path:
    """Return the run folder that contains a file."""
    runs = [p for p in file.resolve().parents if (p / "spec_resolved.yaml").is_file()]
    if not runs:
        raise UsageError(Problem("This file is not in a run folder.", str(file)))
    return runs[0]


COMMANDS = (validate, explain, schema, families, why, impact, trace, diff, verify)
