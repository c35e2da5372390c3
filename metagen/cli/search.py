"""The architecture search: a study of a spec, and workers that join it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metagen.cli import options
from metagen.errors import Problem, UsageError

if TYPE_CHECKING:
    from metagen.engine.terminal import Terminal

_STUDIES = "spec"  # The command that stands for none: `metagen search SPEC`.
_OBJECTIVES = ("held_out", "parameters", "memory", "latency")
_DEFAULT = ("held_out", "parameters")
storage_option = click.option(
    "--storage",
    metavar="URL",
    envvar="METAGEN_STORAGE",
    show_envvar=True,
    help="Database of the study, as postgresql://HOST/NAME.  [default: a journal in its folder]",
)
grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    help="Seconds without a sign of life after which the trial of a worker is run again.",
)


@click.group(
    cls=options.Defaulted,
    default=_STUDIES,
    short_help="Search what a SPEC leaves open, by small trainings.",
)
def search() -> None:
    """Search what a SPEC leaves open, by small trainings; `search join` adds a worker."""


@search.command(_STUDIES, hidden=True)
@click.argument("spec", nargs=-1, required=True, metavar="SPEC [KEY=VALUE...]")
@options.out_option("build")
@click.option(
    "--trials", type=click.IntRange(min=1), default=40, show_default=True, help="Trainings in all."
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Steps of one.  [default: those of bench=quick]"
)
@options.seed_option
@click.option(
    "-n", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="At a time."
)
@click.option(
    "--sampler", type=click.Choice(["tpe", "nsga2", "random"]), default="tpe", show_default=True
)
@click.option(
    "--objective",
    "objectives",
    type=click.Choice(_OBJECTIVES),
    multiple=True,
    help="To minimize; may be repeated.  [default: held_out and parameters]",
)
@click.option(
    "--seeds",
    type=click.IntRange(0, 10),
    default=5,
    show_default=True,
    help="New seeds with which the best trial is compared with the spec's own design.",
)
@storage_option
@grace_option
@options.cache_option
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def _spec(
    spec: Sequence[str],
    out: Path,
    trials: int,
    steps: int | None,
    seed: int | None,
    sampler: str,
    objectives: tuple[str, ...],
    seeds: int,
    cache: str | None,
    quiet: bool,
    **how: Any,
) -> None:
    """Search what a SPEC leaves open: shape, structure and recipe, by trainings of its own code.

    Each trial trains the scaled-down model with other choices, and stands for a full design that
    meets the budget and the limits of the spec. The best are in OUT/search-NAME: the front as
    front.csv and front.svg, README.md, and search.yaml, which `metagen synth SPEC --search FILE`
    takes.

    The same command goes on after Ctrl-C, with more --trials too; what was trained is not trained
    again. `metagen search join OUT/search-NAME` adds a worker, on any machine that sees the folder.
    """
    from metagen.search import run
    from metagen.search.plan import Settings
    from metagen.search.results import REPORT, SEARCH
    from metagen.search.storage import library

    library()
    terminal = options.terminal(quiet=quiet)
    graphs = options.Request.of(spec, seed, None).graphs(terminal)
    if len(graphs) != 1:
        raise UsageError(Problem("A search takes one spec.", hint="Name a spec file."))
    (graph,) = graphs
    names = tuple(n for n in _OBJECTIVES if n in (objectives or _DEFAULT) or n == "held_out")
    own: int = graph.spec.key("reproducibility.seed")
    settings = Settings(trials, steps or run.usual_steps(graph), own, sampler, names, seeds)
    url = how.pop("storage")
    plan = run.planned(graph, out, settings, terminal, url)
    say, kept = _lines(terminal, quiet), run.cache_of(plan, cache, terminal.warn)
    with terminal.bar(plan.folder.name) as move:
        found = run.searched(plan, kept, url, say, move=move, **how)
    say(f"{sum(row['front'] for row in found)} of {len(found)} trials are on the front")
    say(f"read {plan.folder / REPORT}")
    say(f"build it with: metagen synth {graph.spec.path} --search {plan.folder / SEARCH}")


@search.command(short_help="Run trials of the study in a folder.")
@click.argument("study", type=click.Path(path_type=Path, exists=True, file_okay=False))
@storage_option
@grace_option
@options.cache_option
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def join(study: Path, storage: str | None, grace: float, cache: str | None, quiet: bool) -> None:
    """Run trials of the STUDY in a folder OUT/search-NAME until all have ended.

    Workers share the folder, on one machine or on several that see the same disk. The trial of a
    worker that was killed is run again by another one. `metagen search SPEC` writes the results.
    """
    from metagen.search import run

    terminal = options.terminal(quiet=quiet)
    run.joined(study, cache, storage, grace, terminal, _lines(terminal, quiet))


def _lines(terminal: Terminal, quiet: bool) -> Callable[[str], None]:
    """Return what prints a line, unless the user wants errors only."""
    return (lambda line: None) if quiet else terminal.write


COMMANDS = (search,)
