"""`metagen ladder`: small sizes of a model, and the loss of the full one that they forecast."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metagen.cli import options
from metagen.cli.build import status_of
from metagen.cli.options import EXIT_STATUSES
from metagen.errors import DONE, Problem, TaskError, UsageError

if TYPE_CHECKING:
    from metagen.engine.graph import Graph
    from metagen.engine.terminal import Terminal

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="The --data of train.py.  [default: the bundled data]",
)


@click.group(
    cls=options.Defaulted,
    default="climb",
    short_help="Forecast the loss of the full model of a SPEC from small ones.",
)
def ladder() -> None:
    """Forecast the loss of a full model from small ones, and check the forecast."""


def _count(context: object, parameter: object, text: str | None) -> int | None:
    from metagen.units import parse_count

    try:
        return None if text is None else parse_count(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@ladder.command(epilog=EXIT_STATUSES)
@options.specs_argument
@options.out_option("build")
@options.seed_option
@options.run_id_option
@data_option
@click.option(
    "--rungs",
    type=click.IntRange(4, 12),
    default=5,
    show_default=True,
    help="Sizes to train, over a factor of 12 in parameters.",
)
@click.option(
    "--largest",
    callback=_count,
    metavar="PARAMETERS",
    help="Parameters of the largest outside its token tables, such as 150k.  [default: by --share]",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    help="Share of the full training's operations that all trainings together may take.",
)
@click.option("--dry-run", is_flag=True, help="Print the sizes and what they cost; train nothing.")
@click.option("--replace", is_flag=True, help="Register in place of a forecast that is here.")
@options.cache_option
@options.json_option
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def climb(**given: Any) -> None:
    """Train small sizes of the model of SPEC on your data, and forecast the loss of the full one.

    Each size has the full model's shape, data for each parameter and schedule. Batch and learning
    rate follow a published rule, tuned on the two smallest. OUT/ladder-NAME gets forecast.json, the
    registered forecast with its range, ladder.md, and a figure. What was trained once is kept, so
    Ctrl-C loses one training at most.

    `metagen ladder check RUN` compares the forecast with the trained model.
    """
    terminal = options.terminal(quiet=given["quiet"], as_json=given["as_json"])
    status = status_of(terminal, lambda: _climb(terminal, **given))
    terminal.end(status)
    sys.exit(status)


def _climb(
    terminal: Terminal,
    *,
    specs: Sequence[str],
    out: Path,
    seed: int | None,
    run_id: str | None,
    data: Path | None,
    rungs: int,
    largest: int | None,
    share: float,
    dry_run: bool,
    replace: bool,
    cache: str | None,
    **others: Any,
) -> int:
    request = options.Request.of(specs, seed, run_id)
    if len(request.specs) != 1:
        raise UsageError(Problem("A ladder is of one spec.", hint="name the file of one spec"))
    from metagen.engine.graph import known_in

    (graph,) = request.graphs(terminal, bound=known_in(out))
    _check_family(graph)
    _build_code(graph, out, request.fingerprint(), terminal)
    from metagen import trials
    from metagen.ladder import climb, report
    from metagen.ladder.sizes import Full

    package = trials.package_of(out / graph.run)
    full = Full.of_run(out / graph.run, graph.spec.key)
    kept = trials.cache_in(cache or out / ".metagen" / "trials", terminal.warn)
    plan = climb.planned(package, full, kept, number=rungs, largest=largest, share=share)

    def train(trial: trials.Trial) -> trials.Outcome:
        return trials.run(package, trial, kept)

    seconds = None
    if not dry_run:
        with terminal.bar("plan") as move:
            move(0, 1, "timing short trainings of two sizes")
            seconds = plan.seconds(climb.timed(plan, train, data))
    terminal.result("plan", plan.content(), report.plan_lines(plan, seconds))
    if dry_run:
        return DONE
    name, first = graph.spec.key("name"), graph.spec.key("reproducibility.seed")
    code = climb.code_digest(package, full)
    with terminal.bar(_folder(out, graph.run).name) as move:
        done = climb.climbed(
            plan,
            train,
            lambda part, total, words: move(round(part / 1e6), round(total / 1e6), words),
            name=name,
            seed=first,
            data=data,
            code=code,
        )
    return _register(terminal, done, _folder(out, graph.run), replace=replace)


def _folder(out: Path, run: str) -> Path:
    """Return the folder of a ladder, beside the run folder."""
    return out / f"ladder-{run.removeprefix('run-')}"


def _check_family(graph: Graph) -> None:
    """Check that a ladder can be made, before the code is built, which takes a while.

    Raises:
        UsageError: The family knows no smaller designs.
    """
    from metagen.ladder import sizes
    from metagen.sizing import explain, search

    solution = search.solution(explain.desk_over(graph.spec))
    sizes.designs(solution.family, solution.design.dims)


def _build_code(graph: Graph, out: Path, fingerprint: str, terminal: Terminal) -> None:
    """Build the code of the package, which trains the rungs.

    Raises:
        UsageError: The spec asks for no code.
        TaskError: A task of the build failed.
    """
    if "code/train.py" not in graph.maker:
        hint = "add pytorch_skeleton and training_recipe to outputs.artifacts"
        raise UsageError(
            Problem("The spec asks for no code that trains.", str(graph.spec.path), hint)
        )
    from metagen.engine import doors
    from metagen.engine.session import Options, Session

    if doors.run(Session(out, [graph], terminal, Options(fingerprint)), "code"):
        raise TaskError(Problem("The code of the package was not built.", str(out / graph.run)))


def _register(terminal: Terminal, done: Any, folder: Path, *, replace: bool) -> int:
    from metagen.ladder import forecast, results

    folder.mkdir(parents=True, exist_ok=True)
    content, is_new = forecast.registered(folder, forecast.content(done), replace=replace)
    results.write(folder, content)
    from metagen.ladder import report

    terminal.result("forecast", content, report.lines(content))
    path = folder / forecast.FILE
    words = "registered in" if is_new else f"registered on {content['registered']} in"
    release = f"metagen release SPEC --out {folder.parent}"
    terminal.result("registered", {"path": str(path)}, [f"{words} {path}", f"then: {release}"])
    return DONE


@ladder.command(epilog=EXIT_STATUSES)
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@data_option
@click.option(
    "--trained",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The --out of train.py.  [default: what is bound to RUN]",
)
@options.json_option
def check(run: Path, data: Path | None, trained: Path | None, as_json: bool) -> None:
    """Compare the registered forecast of the package in RUN with its trained model.

    The trained weights are scored on the whole validation split, as the rungs were. The forecast
    stays as it was registered.
    """
    terminal = options.terminal(as_json=as_json)
    status = status_of(terminal, lambda: _check(terminal, run, data, trained))
    terminal.end(status)
    sys.exit(status)


def _check(terminal: Terminal, run: Path, data: Path | None, trained: Path | None) -> int:
    from metagen import files, trials
    from metagen.engine.binding import bound_in
    from metagen.engine.graph import of_run
    from metagen.ladder import check, forecast, report, results
    from metagen.ladder.sizes import Full

    run = run.resolve()
    key = of_run(run).spec.key
    folder = _folder(run.parent, run.name)
    registered = forecast.read(folder / forecast.FILE)
    bound = bound_in(run.parent, run.name)
    training = trained or (bound.trained if bound else None)
    if training is None:
        hint = "name the folder that train.py wrote with --trained DIR"
        raise UsageError(Problem("No training is bound to this package.", str(run), hint))
    full = Full.of_run(run, key)
    left = check.measured(trials.package_of(run), full, training, data)
    source = files.read_plain(folder / forecast.FILE)
    fact = check.content(registered, source, left, training)
    files.write_atomic(folder / check.FILE, files.json_bytes(fact), folder)
    results.write(folder, registered, fact)
    terminal.result("check", fact, report.check_lines(fact))
    return DONE


COMMANDS = (ladder,)
