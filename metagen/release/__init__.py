"""The release of a trained model: a folder that is a repository of the Hugging Face Hub.

=========  =======================================================================
module     what it knows
=========  =======================================================================
forms      forms of the values of a card's metadata
hub        the Hub's rules for the metadata of a card, checked offline
tensors    the plan of the files of weights, from the headers of the trained ones
weights    the weights: links where nothing changes, else written by a worker
texts      config, tokenizer and the other small files of a checkpoint
scores     results on data sets of the Hub, for its leaderboards
opens      the libraries that open a release
about      what the release holds, in one file
card       the model card as README.md
listing    the files that are copied, and the manifest
smoke      the release opened by others, and its first steps run
=========  =======================================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from metagen.docs import latex, paper
from metagen.errors import TaskError
from metagen.families.family import Family, Lookup
from metagen.measure.results import FULL_MODEL, FULL_RESULTS
from metagen.release import (
    about,
    card,
    listing,
    scores,
    smoke,
    tensors,
    texts,
    weights,
)
from metagen.trained.weights import CHECKPOINT, FILE
from metagen.work import Recipe


def recipes(family: Family, key: Lookup, trained: Path, *, results: bool) -> tuple[Recipe, ...]:
    """Return the tasks that make the files of `release/`, but for those of `closing`.

    Args:
        family: The family of the package.
        key: Gives the value of a leaf key of the spec.
        trained: The bound training folder; only names and headers of its files are read.
        results: Whether results are bound too.
    """
    folder = trained / CHECKPOINT
    return (
        _weights(folder, key("release.dtype")),
        *texts.recipes(family.words.pipeline_tag, _names(folder)),
        about.RECIPE,
        *((_SCORES,) if results else ()),
        card.RECIPE,
    )


def closing(made: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """Return the tasks that complete `release/`: copies of the package's files, list and check.

    Args:
        made: The other tasks of the package, those of `recipes` among them.
    """
    targets = tuple(target for recipe in made for target in recipe.targets)
    pdf = _paper() if latex.TARGET in targets else ()
    copies = (*listing.recipes(made, paper=bool(pdf)), *pdf)
    every = (*targets, *(target for recipe in copies for target in recipe.targets))
    paths = tuple(path for path in every if path.startswith(f"{weights.FOLDER}/"))
    lists = listing.closing(paths)
    made_last = tuple(target for recipe in lists for target in recipe.targets)
    return (*copies, *lists, smoke.recipe((*paths, *made_last)))


def _paper() -> tuple[Recipe, ...]:
    """Return the recipe of the paper's PDF, where TeX is installed."""
    return (_PAPER,) if all(map(shutil.which, paper.PROGRAMS)) else ()


def _weights(folder: Path, dtype: str | None) -> Recipe:
    """Return the recipe of the weights, whose files follow from the headers of the checkpoint."""
    try:
        names = tensors.of_folder(folder, dtype).names
    except TaskError:
        # The task that checks the training says what is wrong with it, before this one runs.
        names = (FILE,)
    made = tuple(f"{weights.FOLDER}/{name}" for name in names)
    return Recipe("release:weights", weights.weights, (FULL_MODEL,), made, "release the weights")


def _names(folder: Path) -> tuple[str, ...]:
    """Return which of the small files that a release takes over a checkpoint has."""
    places = ((name, folder / name) for name in texts.COPIED)
    return tuple(name for name, path in places if path.is_file() and not path.is_symlink())


_SCORES = Recipe(
    "release:scores", scores.eval_results, (FULL_RESULTS,), (scores.PATH,), "list the scores"
)
_PAPER = Recipe("release:paper", listing.paper, (latex.TARGET,), (listing.PAPER,), "copy the paper")
