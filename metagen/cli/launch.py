"""The command that writes files which start many workers."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import click

from metagen import workers
from metagen.errors import Problem, UsageError

_SHARED_DISK = ("slurm", "submitit")  # Their workers see one file system.


@click.command(short_help="Print a file that starts workers of a build on many machines.")
@click.argument("kind", type=click.Choice(list(workers.KINDS)))
@click.argument("specs", nargs=-1, metavar="[SPEC... [KEY=VALUE...]]")
@click.option("--study", help="Let the workers join this study in place of building SPECs.")
@click.option("--workers", "count", type=click.IntRange(min=1), required=True, help="How many.")
@click.option("--out", default="build", show_default=True, help="Each worker K has OUT/shard-K.")
@click.option("-n", "--jobs", type=click.IntRange(min=1), default=1, help="Cores of each worker.")
@click.option(
    "--cache",
    metavar="PLACE",
    help="What the workers share, see `synth`.  [default: their secret METAGEN_CACHE]",
)
@click.option("--signed", is_flag=True, help="The workers have a secret METAGEN_CACHE_KEY.")
@click.option("--image", default="", help="Container image that holds metagen.")
def launch(
    kind: str,
    specs: Sequence[str],
    study: str | None,
    count: int,
    out: str,
    jobs: int,
    cache: str | None,
    signed: bool,
    image: str,
) -> None:
    """Print a file for Slurm, Kubernetes, GitHub Actions, SkyPilot, `hf jobs` or submitit.

    It starts workers that each build a shard of the SPECs and share a cache, or that join a study.
    Nothing is started here; a comment in the file says what starts it.
    """
    if bool(specs) == (study is not None):
        raise UsageError(Problem("Name SPECs, or a --study.", "metagen launch"))
    for given in (*specs, study or "", out, image, cache or ""):
        if not given.isprintable():
            raise UsageError(Problem("This has characters that do not print.", ascii(given)))
    secrets = ("METAGEN_CACHE_KEY",) if signed else ()
    if study is not None:
        words: tuple[str, ...] = ("metagen", "search", "join", "--", study)
        work = workers.Work(words, "", count, jobs, (), image)
    else:
        _check_cache(kind, cache)
        place = ("--cache", cache) if cache else ()
        secrets = (*secrets, *(() if cache else ("METAGEN_CACHE",)))
        words = ("metagen", "synth", "-n", str(jobs), *place, "--cache-upload", "--", *specs)
        work = workers.Work(words, out, count, jobs, secrets, image)
    click.echo(workers.text(kind, work), nl=False)


def _check_cache(kind: str, cache: str | None) -> None:
    """Check that the workers can share a cache.

    Raises:
        UsageError: They cannot, or the file would show a password.
    """
    from metagen.engine.cache import Shared

    shared = Shared.of(cache)
    if shared and shared.is_remote and "@" in urlsplit(shared.place).netloc:
        hint = "Leave --cache out, and give the workers the URL as a secret METAGEN_CACHE."
        raise UsageError(Problem("A file is no place for a password.", "--cache", hint))
    if shared and not shared.is_remote and kind not in _SHARED_DISK:
        hint = "Name the URL of a server, such as bazel-remote."
        raise UsageError(Problem(f"Workers of {kind} share no folder.", "--cache", hint))


COMMANDS = (launch,)
