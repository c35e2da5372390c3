"""Commands that make packages, or say what would be made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from metagen import paths
from metagen.cli import options
from metagen.cli.options import EXIT_STATUSES, Request
from metagen.errors import DONE, MetagenError, Problem, SpecError

if TYPE_CHECKING:
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
        help="Tasks to run side by side.",
    ),
    click.option("--dry-run", is_flag=True, help="Only say what would be made; see `plan`."),
    click.option("--strict", is_flag=True, help="A violated constraint fails the build."),
    click.option("--no-wait", is_flag=True, help="Fail at once if the folder is in use."),
    click.option(
        "--discard-edits",
        is_flag=True,
        help="Give up edits of generated files; a backup is kept in OUT/.metagen/backup.",
    ),
    click.option("--lint", is_flag=True, help="Fail a task that reads what it does not record."),
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
    """Build a ten-million-parameter language model, to see what comes out."""
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
    """Say which files `synth` would make, each with its cause, and write nothing.

    The work is done in memory, so the list is exact; it takes as long as that work.
    """
    terminal = options.terminal(as_json=as_json)
    request = options.Request.of(specs, seed, run_id)
    _end(terminal, lambda: _plan("synth", request, out, terminal))


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
    **rules: Any,
) -> NoReturn:
    """Build one stage of the graph and leave with the exit status."""
    terminal = options.terminal(quiet=quiet, as_json=as_json)

    def work() -> int:
        request = options.Request.of(specs, seed, run_id)
        if dry_run:
            return _plan(stage, request, out, terminal)
        waiting = not rules.pop("no_wait", False)
        short = stage == "synth" and not strict
        around = request.around()
        sealed = _sealed(request, out, around, waiting, terminal) if short else {}
        rest = [spec for spec in request.specs if spec not in sealed]
        if not rest:
            return DONE
        from metagen.engine import doors
        from metagen.engine.session import Rules, Session

        packages = request.packages(terminal, rest)
        if not {package.run for package in packages}.isdisjoint(sealed.values()):
            request.packages(terminal)  # says which specs would fill one folder
        if strict and any(package.warnings for package in packages):
            raise SpecError(Problem("Under --strict a warning is an error.", hint="See above."))
        how = Rules(around, wait=waiting, strict=strict, **rules)
        return doors.run(Session(out, packages, terminal, how), stage, jobs)

    _end(terminal, work)


def _sealed(
    request: Request, out: Path, around: str, waiting: bool, terminal: Terminal
) -> dict[Path, str]:
    """Return the run folders of the specs that there is no work for; show how they stand."""
    from metagen.engine import quick

    found = quick.standing(out, request.specs, around, wait=waiting)
    for run, standing in found.values():
        terminal.warn(standing.warnings)
        terminal.summary(out / run, standing)
    return {spec: run for spec, (run, _) in found.items()}


def _plan(stage: str, request: Request, out: Path, terminal: Terminal) -> int:
    from metagen.engine.plan import plan

    for engine, done in plan(out, request.packages(terminal), stage, terminal):
        for recipe, outcome in done:
            terminal.planned(engine.package, outcome, recipe)
        terminal.removed(engine.package, engine.outputs.sweep())
        terminal.kept(engine.package, engine.outputs.edits())
    return DONE


def _end(terminal: Terminal, work: Callable[[], int]) -> NoReturn:
    """Do the work of a command, tell how it ended, and leave with its status."""
    try:
        status = work()
    except MetagenError as error:
        terminal.error(error)
        status = error.status
    except SystemExit as end:  # doit's way out
        status = int(end.code or DONE)
    terminal.ended(status)
    sys.exit(status)


COMMANDS = (synth, paper, demo, plan)
