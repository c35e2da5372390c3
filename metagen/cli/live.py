"""Commands that stay until the user ends them: a package in a browser, builds at each save."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import click

from metagen.cli import build, options
from metagen.cli.options import EXIT_STATUSES
from metagen.errors import Problem, UsageError


@click.command(short_help="Show the package in RUN in a browser, and follow its builds.")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on this machine.  [default: any that is free]",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def view(run: Path, port: int, opens: bool) -> None:
    """Serve the report of the package in RUN to browsers on this machine, until Ctrl-C.

    The page also shows what changed since the last build, and loads itself again after a build,
    such as one by `metagen watch` in another terminal. Only plain files of the package are sent: no
    hidden file, nothing outside RUN, and no link is followed.
    """
    from metagen.docs import report
    from metagen.view.server import Server
    from metagen.view.watch import until_ended

    if not (run / report.TARGET).is_file():
        hint = "build the package again, or name an OUT/run-... folder"
        raise UsageError(Problem(f"This folder has no {report.TARGET}.", str(run), hint))
    with until_ended() as ended, Server(run, port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        click.echo(f"{server.address}  (Ctrl-C ends this)")
        if opens:
            click.launch(server.address)
        ended.wait()
        server.shutdown()


@click.command(
    short_help="Build the package of each SPEC, again at each save.", epilog=EXIT_STATUSES
)
@build.build_options
def watch(**given: Any) -> None:
    """Build the package of each SPEC now, and again whenever the file is saved, until Ctrl-C.

    The arguments and options are those of `synth`. An error in a spec is printed, and the next save
    is waited for.
    """
    from metagen.view.watch import rebuilding

    request = options.Request.of(given["specs"], given["seed"], given["run_id"])

    def say(text: str) -> None:
        click.echo(text, err=given["as_json"])

    rebuilding(request.specs, lambda: build.built("synth", **given), say)


COMMANDS = (view, watch)
