"""Commands that keep packages true and folders small."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from metagen.cli import options
from metagen.errors import DONE, TASK_FAILED, Problem, UsageError

_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("run", type=_folder)
@click.option(
    "--vary",
    type=click.Choice(["nothing", "all"]),
    default="nothing",
    show_default=True,
    help="Rebuild under another hash seed, time zone, locale, folder, umask, clock and job count.",
)
def verify(run: Path, vary: str) -> None:
    """Check the package in RUN: hash each file against the manifest, rebuild it elsewhere, compare.

    Nothing of the out folder's state is used. The exit status is 1 when a file differs, and the
    first difference is shown.
    """
    from metagen.engine import verify as verifying

    different = False
    for line in verifying.findings(run, vary=vary == "all"):
        different = True
        click.echo(line)
    if not different:
        click.echo(f"{run}: every file is what a clean build makes")
    sys.exit(TASK_FAILED if different else DONE)


@click.command()
@click.option("--out", type=_folder, help="An out folder: forget outputs that no record refers to.")
@options.cache_option
@click.option(
    "--keep",
    default="5GB",
    show_default=True,
    callback=options.number_of_bytes,
    help="Most that the cache may hold; what was used longest ago goes first.",
)
def gc(out: Path | None, cache: Path | None, keep: int) -> None:
    """Make room: in an out folder, in a shared cache, or in both."""
    from metagen.engine import gc as collecting
    from metagen.units import format_bytes

    if out is None and cache is None:
        raise UsageError(Problem("Nothing is named.", hint="Give --out DIR, or --cache DIR."))
    freed = collecting.out_folder(out) if out else 0
    freed += collecting.cache(cache, keep) if cache else 0
    click.echo(f"freed {format_bytes(freed)}")


COMMANDS = (verify, gc)
