"""Commands that change an out folder, and the dry run of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from metagen import paths
from metagen.cli import options
from metagen.cli.options import EXIT_STATUSES, Request
from metagen.errors import DONE, MetagenError, Problem, SpecError, UsageError

if TYPE_CHECKING:
    from metagen.engine.graph import Graph
    from metagen.engine.terminal import Terminal

_build_options = options.stacked(
    options.specs_argument,
    options.out_option("build"),
    options.seed_option,
    options.run_id_option,
    click.option(
        "-n",
        "--jobs",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Tasks to run in parallel.",
    ),
    click.option("--dry-run", is_flag=True, help="Print what would be built; see `plan`."),
    click.option("--strict", is_flag=True, help="A violated constraint fails the build."),
    click.option("--no-wait", is_flag=True, help="Fail at once if the folder is in use."),
    click.option(
        "--discard-edits",
        is_flag=True,
        help="Replace edited files by generated ones; backups are in OUT/.metagen/backup.",
    ),
    click.option("--lint", is_flag=True, help="Fail a task that reads anything outside its trace."),
    options.cache_option,
    options.json_option,
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
)


@click.command(epilog=EXIT_STATUSES)
@_build_options
def synth(**given: Any) -> None:
    """Build the package of each SPEC: a file, or a folder of them.

    KEY=VALUE sets a key of the spec for this build, such as constraints.context_window=8k.
    `bench=full` trains the scaled-down model longer, `bench=none` not at all.
    """
    _build("synth", **given)


@click.command(epilog=EXIT_STATUSES)
@_build_options
def paper(**given: Any) -> None:
    """Build the paper of each SPEC with its PDF; this needs a TeX installation."""
    _build("paper", **given)


@click.command(epilog=EXIT_STATUSES)
@options.out_option("metagen-demo")
def demo(out: Path) -> None:
    """Build the package of a ten-million-parameter language model, as an example."""
    _build("synth", specs=[str(paths.specs() / "text" / "text_llm_tiny.yaml")], out=out)


@click.command()
@options.specs_argument
@options.out_option("build")
@options.seed_option
@options.run_id_option
@options.json_option
def plan(
    specs: Sequence[str], out: Path, seed: int | None, run_id: str | None, as_json: bool
) -> None:
    """Print which files `synth` would make, each with its cause; write nothing.

    All work is done in memory, so the list is exact and takes as long as a build. Like a build it
    measures the code of the package, and so runs scripts that were edited by hand; a warning names
    them before they run.
    """
    terminal = options.terminal(as_json=as_json)
    request = options.Request.of(specs, seed, run_id)
    _exit_with(terminal, lambda: _dry_run("synth", request, out, terminal))


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Out folder in which to delete outputs that no record refers to.",
)
@options.cache_option
@click.option(
    "--keep",
    default="5GB",
    show_default=True,
    callback=options.number_of_bytes,
    help="Size to shrink the cache to; the least recently used files go first.",
)
def gc(out: Path | None, cache: Path | None, keep: int) -> None:
    """Free disk space in an out folder, in a shared cache, or in both."""
    from metagen.engine.store import Cache
    from metagen.engine.workspace import collect_garbage
    from metagen.units import format_bytes

    if out is None and cache is None:
        raise UsageError(Problem("No folder is given.", hint="Add --out DIR or --cache DIR."))
    freed = collect_garbage(out) if out else 0
    freed += Cache(cache).shrink(keep) if cache else 0
    click.echo(f"freed {format_bytes(freed)}")


def _build(
    stage: str,
    *,
    specs: Sequence[str],
    out: Path,
    seed: int | None = None,
    run_id: str | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    strict: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    no_wait: bool = False,
    **others: Any,
) -> NoReturn:
    """Build one stage of the graph and exit with its status; `others` go to `session.Options`."""
    terminal = options.terminal(quiet=quiet, as_json=as_json)

    def work() -> int:
        request = options.Request.of(specs, seed, run_id)
        if dry_run:
            return _dry_run(stage, request, out, terminal)
        # The fast path looks at whole packages, and not at whether they violate a constraint.
        fast = stage == "synth" and not strict
        fingerprint = request.fingerprint()
        done = _report_unchanged(request, out, fingerprint, not no_wait, terminal) if fast else {}
        graphs = _graphs_to_build(request, done, terminal, strict)
        if not graphs:
            return DONE
        from metagen.engine import doors
        from metagen.engine.session import Options, Session

        how = Options(fingerprint, wait=not no_wait, strict=strict, **others)
        return doors.run(Session(out, graphs, terminal, how), stage, jobs)

    _exit_with(terminal, work)


def _graphs_to_build(
    request: Request, done: dict[Path, str], terminal: Terminal, strict: bool
) -> list[Graph]:
    """Return the graphs of the specs that are not done, or refuse them."""
    rest = [spec for spec in request.specs if spec not in done]
    if not rest:
        return []
    graphs = request.graphs(terminal, rest)
    if not {graph.run for graph in graphs}.isdisjoint(done.values()):
        request.graphs(terminal)  # Reports which specs would fill one folder.
    if strict and any(graph.warnings for graph in graphs):
        raise SpecError(Problem("--strict makes the warnings above errors.", hint="Fix them."))
    return graphs


def _report_unchanged(
    request: Request, out: Path, fingerprint: str, wait: bool, terminal: Terminal
) -> dict[Path, str]:
    """Report the packages that need no work; return the run folder of each of their specs."""
    from metagen.engine import workspace

    matches = workspace.unchanged(out, request.specs, fingerprint, wait=wait)
    for run, report in matches.values():
        terminal.warn(report.warnings)
        terminal.summary(out / run, report)
    return {spec: run for spec, (run, _) in matches.items()}


def _dry_run(stage: str, request: Request, out: Path, terminal: Terminal) -> int:
    from metagen.engine.query import dry_run

    for engine, done in dry_run(out, request.graphs(terminal), stage, terminal):
        for recipe, outcome in done:
            terminal.task_pending(engine.graph, outcome, recipe)
        terminal.outputs_removed(engine.graph, engine.outputs.sweep())
        terminal.edits_pending(engine.graph, engine.outputs.edits())
    return DONE


def _exit_with(terminal: Terminal, work: Callable[[], int]) -> NoReturn:
    """Do the work of a command, report its errors, and exit with its status."""
    try:
        status = work()
    except MetagenError as error:
        terminal.error(error)
        status = error.status
    except SystemExit as end:  # doit ends this way.
        status = int(end.code or DONE)
    terminal.end(status)
    sys.exit(status)


COMMANDS = (synth, paper, demo, plan, gc)
