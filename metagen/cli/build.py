"""Commands that change an out folder, and the dry run of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from metagen import paths
from metagen.cli import options
from metagen.cli.options import EXIT_STATUSES, Request
from metagen.errors import DONE, MetagenError, Problem, SpecError, UsageError

if TYPE_CHECKING:
    from metagen.engine.cache import Shared
    from metagen.engine.graph import Bound, Graph
    from metagen.engine.terminal import Terminal

build_options = options.stacked(
    options.specs_argument,
    options.out_option("build"),
    options.seed_option,
    options.run_id_option,
    options.search_option,
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
    options.upload_option,
    options.json_option,
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
)


@click.command(epilog=EXIT_STATUSES)
@build_options
@options.shard_option
def synth(**given: Any) -> None:
    """Build the package of each SPEC: a file, or a folder of them.

    KEY=VALUE sets a key of the spec for this build, such as constraints.context_window=8k.
    `bench=full` trains the scaled-down model longer, `bench=none` not at all.

    Several machines share many specs by --shard 1/4, --shard 2/4 and so on, and a --cache.
    """
    _build("synth", **given)


@click.command(
    short_help="Build the paper of each SPEC with its PDF; this needs TeX.", epilog=EXIT_STATUSES
)
@build_options
def paper(**given: Any) -> None:
    """Build the paper of each SPEC with its PDF; this needs a TeX installation."""
    _build("paper", **given)


@click.command(
    short_help="Build the package of each SPEC with its trained model.", epilog=EXIT_STATUSES
)
@build_options
@options.bound_options
@click.option("--train", is_flag=True, help="Train and score the full model here first; resumable.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="With --train: the --data of the scripts.  [default: their bundled data]",
)
@click.option("--unbind", is_flag=True, help="Make the package that of an untrained model again.")
def release(
    trained: Path | None,
    results: tuple[Path, ...],
    train: bool,
    data: Path | None,
    unbind: bool,
    **given: Any,
) -> None:
    """Build the package of a SPEC with the model that was trained from it.

    --trained and --results are bound to the run folder: `synth`, `paper`, `plan` and the other
    commands use them from then on, and so does `release` without options. A new checkpoint, score
    or result builds again what depends on it, and nothing else. The files stay where they are. The
    last line is the command that uploads the folder `release`; nothing is uploaded by MetaGen.

    --train trains the full model with the code of the package, in OUT/training-NAME, shows the
    progress, and goes on from the last checkpoint after Ctrl-C. It is done once: until the code,
    the data or a library changes.
    """
    from metagen.engine.binding import Change

    if ((trained or unbind) and train) or (data and not train):
        hint = "--data belongs to --train, which takes neither --trained nor --unbind"
        raise UsageError(Problem("These options exclude each other.", hint=hint))
    if train:
        trained = _train(data, **given)
    change = Change(trained, results, unbind)
    _build("synth", bound=lambda request: change.over(given["out"], request.specs), **given)


def _train(data: Path | None, *, out: Path, dry_run: bool, **given: Any) -> Path:
    """Train the full model of one spec; return the training folder, or exit with an error."""
    terminal = options.terminal(quiet=given["quiet"], as_json=given["as_json"])
    chosen = {"search": given["search"]}
    request = options.Request.of(given["specs"], given["seed"], given["run_id"], **chosen)

    def work() -> int:
        from metagen.engine import doors, full
        from metagen.engine.session import Options, Session

        if len(request.specs) != 1 or dry_run:
            raise UsageError(Problem("--train takes one spec, and no --dry-run."))
        (graph,) = request.graphs(terminal)
        graphs.append(full.graph_of(graph, out, data))
        names = ("strict", "discard_edits", "lint")
        how = Options(
            request.fingerprint(),
            wait=not given["no_wait"],
            trains=True,
            cache=_shared(given["cache"], given["cache_upload"]),
            **{name: given[name] for name in names},
        )
        task = graphs[0].task_name(graphs[0].recipes[-1])
        return doors.run(Session(out, graphs, terminal, how), task)

    graphs: list[Graph] = []
    status = _status(terminal, work)
    if status:
        terminal.end(status)
        sys.exit(status)
    folder = graphs[0].binding.trained
    assert folder
    return folder


@click.command(
    short_help="Build the package of a small language model, as an example.", epilog=EXIT_STATUSES
)
@options.out_option("metagen-demo")
def demo(out: Path) -> None:
    """Build the package of a ten-million-parameter language model, as an example."""
    _build("synth", specs=[str(paths.specs() / "text" / "text_llm_tiny.yaml")], out=out)


@click.command(short_help="Print what `synth` would make, and why; write nothing.")
@options.specs_argument
@options.out_option("build")
@options.seed_option
@options.run_id_option
@options.search_option
@options.cache_option
@options.shard_option
@options.json_option
def plan(
    specs: Sequence[str],
    out: Path,
    seed: int | None,
    run_id: str | None,
    search: Path | None,
    cache: str | None,
    shard: str | None,
    as_json: bool,
) -> None:
    """Print which files `synth` would make, each with its cause; write nothing.

    All work is done in memory, so the list is exact and takes as long as a build. Like a build it
    measures the code of the package, and so runs scripts that were edited by hand; a warning names
    them before they run.
    """
    terminal = options.terminal(as_json=as_json)
    request = options.Request.of(specs, seed, run_id, shard, search)

    def work() -> int:
        _report_shard(request, terminal)
        shared = _shared(cache)
        return _dry_run("synth", request, out, terminal, _known_in(out), shared)

    _exit_with(terminal, work)


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
def gc(out: Path | None, cache: str | None, keep: int) -> None:
    """Free disk space in an out folder, in a shared cache, or in both."""
    from metagen.engine.cache import Folder
    from metagen.engine.workspace import collect_garbage
    from metagen.units import format_bytes

    shared = _shared(cache)
    if out is None and shared is None:
        raise UsageError(Problem("No folder is given.", hint="Add --out DIR or --cache DIR."))
    if shared and shared.is_remote and out is None:
        hint = "Set a limit where the server is started."
        raise UsageError(Problem("A server removes its entries itself.", "--cache", hint))
    freed = collect_garbage(out) if out else 0
    freed += Folder(Path(shared.place)).shrink(keep) if shared and not shared.is_remote else 0
    click.echo(f"freed {format_bytes(freed)}")


def _build(stage: str, **given: Any) -> NoReturn:
    """Build one stage of the graph and exit with its status; see `built`."""
    sys.exit(built(stage, **given))


def built(
    stage: str,
    *,
    specs: Sequence[str],
    out: Path,
    seed: int | None = None,
    run_id: str | None = None,
    search: Path | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    strict: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    no_wait: bool = False,
    shard: str | None = None,
    cache: str | None = None,
    cache_upload: bool = False,
    bound: Callable[[Request], Bound] | None = None,
    **others: Any,
) -> int:
    """Build one stage of the graph and return its status; `others` go to `session.Options`.

    `bound` returns what is bound to each run from now on; None stands for what the ledger says.
    """
    terminal = options.terminal(quiet=quiet, as_json=as_json)

    def work() -> int:
        request = options.Request.of(specs, seed, run_id, shard, search)
        _report_shard(request, terminal)

        def binding() -> Bound:
            return bound(request) if bound else _known_in(out)

        if dry_run:
            return _dry_run(stage, request, out, terminal, binding(), _shared(cache))
        # The fast path looks at whole packages, and not at whether they violate a constraint.
        fast = stage == "synth" and not strict and not bound
        fingerprint = request.fingerprint()
        done = _report_unchanged(request, out, fingerprint, not no_wait, terminal) if fast else {}
        graphs = _graphs_to_build(request, done, terminal, binding, strict=strict)
        if not graphs:
            return DONE
        _warn_of_takeovers(graphs, out, terminal)
        from metagen.engine import doors
        from metagen.engine.session import Options, Session

        rebind = bound is not None
        shared = _shared(cache, cache_upload)
        waits = not no_wait
        how = Options(fingerprint, waits, strict, cache=shared, rebind=rebind, **others)
        return doors.run(Session(out, graphs, terminal, how), stage, jobs)

    status = _status(terminal, work)
    terminal.end(status)
    return status


def _graphs_to_build(
    request: Request,
    done: dict[Path, str],
    terminal: Terminal,
    bound: Callable[[], Bound],
    *,
    strict: bool,
) -> list[Graph]:
    """Return the graphs of the specs that are not done, or refuse them."""
    rest = [spec for spec in request.specs if spec not in done]
    if not rest:
        return []
    graphs = request.graphs(terminal, rest, bound())
    if not {graph.run for graph in graphs}.isdisjoint(done.values()):
        request.graphs(terminal)  # Reports which specs would fill one folder.
    if strict and any(graph.warnings for graph in graphs):
        raise SpecError(Problem("--strict makes the warnings above errors.", hint="Fix them."))
    return graphs


def _warn_of_takeovers(graphs: Sequence[Graph], out: Path, terminal: Terminal) -> None:
    terminal.warn([each for graph in graphs for each in _taken_over(graph, out)])


def _taken_over(graph: Graph, out: Path) -> Iterator[Problem]:
    """Yield a warning where the run folder holds the package of a spec with another name."""
    from metagen.engine.graph import RESOLVED
    from metagen.spec.checked import said
    from metagen.spec.reader import of_top

    resolved = out / graph.run / RESOLVED
    before, name = of_top(resolved, "name"), graph.spec.key("name")
    if before not in ("", name):
        sentence = f"{graph.run} holds the package of {said(before)}; this build makes it "
        hint = "name another --run-id to keep both; edits by hand are carried over"
        yield Problem(f"{sentence}{said(name)}'s", str(resolved), hint)


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


def _known_in(out: Path) -> Bound:
    from metagen.engine.graph import known_in

    return known_in(out)


def _shared(cache: str | None, upload: bool = False) -> Shared | None:
    """Return the cache at a place; the module is none of those of a build with nothing to do."""
    from metagen.engine.cache import Shared

    return Shared.of(cache, uploads=upload)


def _report_shard(request: Request, terminal: Terminal) -> None:
    if request.shard:
        terminal.shard_taken(request.shard, request.specs, request.all)


def _dry_run(
    stage: str,
    request: Request,
    out: Path,
    terminal: Terminal,
    bound: Bound,
    shared: Shared | None,
) -> int:
    from metagen.engine.query import dry_run

    graphs = request.graphs(terminal, bound=bound)
    _warn_of_takeovers(graphs, out, terminal)
    for engine, done in dry_run(out, graphs, stage, terminal, shared):
        for recipe, outcome in done:
            terminal.task_pending(engine.graph, outcome, recipe)
        terminal.outputs_removed(engine.graph, engine.outputs.sweep())
        terminal.edits_pending(engine.graph, engine.outputs.edits())
    return DONE


def _exit_with(terminal: Terminal, work: Callable[[], int]) -> NoReturn:
    """Do the work of a command, report its errors, and exit with its status."""
    status = _status(terminal, work)
    terminal.end(status)
    sys.exit(status)


def _status(terminal: Terminal, work: Callable[[], int]) -> int:
    """Do some work, report its errors, and return its exit status."""
    try:
        return work()
    except MetagenError as error:
        terminal.error(error)
        return error.status
    except SystemExit as end:  # doit ends this way.
        return int(end.code or DONE)


COMMANDS = (synth, paper, release, demo, plan, gc)
