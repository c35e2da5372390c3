"""Recommend items to users with a trained checkpoint.

    python infer.py --user sympy.solvers.solveset                  the best items for a user
    python infer.py --user 17 42 --data clicks.csv                 for users of your interactions
    python infer.py --user 17 --data clicks.csv --output picks.csv    the same, into a file
    python infer.py --history "sympy.core.numbers:pi" "sympy.core.mul:Mul"   for a new user

A user's history is all that --data has of it, so interactions that are newer than training may be
given; an item of the history is not recommended again. Prints a line for each item: its user, its
rank from 1, its name and its score.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from eval import item_vectors

from data import Config as DataConfig
from data import Dataset, Histories, bundled, dataset, fitted
from model import NO_ITEM, Model
from model import Config as ModelConfig
from runtime.catalogue import Catalogue, read_catalogue
from runtime.errors import fail, run
from runtime.interactions import read_interactions
from runtime.listing import printable
from runtime.options import Group
from runtime.recommenders import best
from runtime.scripts import Setting, Trained, serving

COLUMNS = ("user", "rank", "item", "score")
NEW = "new user"  # what stands for a user that --history describes
SUFFIXES = (".csv", ".jsonl")
AT_ONCE = 256  # users or items encoded at once; more take more memory and change no answer
Row = tuple[str, int, str, float]


@dataclass(frozen=True)
class Config:
    """How items are scored and printed."""

    top: int = 10
    """Items for each user."""
    digits: int = 3
    """Digits of a printed score after the point."""
    dtype: str = "float32"
    """float32 or bfloat16: the format of weights and arithmetic."""


def output(text: str) -> Path:
    """Read the path of a file to write."""
    if Path(text).suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text} ends neither in {' nor in '.join(SUFFIXES)}")
    return Path(text)


def options(group: Group) -> None:
    asked = group.add_mutually_exclusive_group(required=True)
    asked.add_argument("--user", nargs="+", metavar="NAME", help="users of the data")
    asked.add_argument("--history", nargs="+", metavar="ITEM", help="items of a new user, in order")
    group.add_argument("--output", type=output, metavar="FILE", help="a .csv or .jsonl file")


def of_users(data: Dataset, names: Sequence[str]) -> Histories:
    """Return the histories of some users, or stop at one without any."""
    places = {name: number for number, name in enumerate(data.users.tolist())}
    for name in names:
        user = places.get(name)
        if user is None or data.ends[user, 0] == data.ends[user, -1]:
            such = printable(str(data.users[data.owner[0]])) if len(data.owner) else "none"
            fail(
                f"{data.name} has no item of a user {name!a}: choose one with items, such as "
                f"{such}, or describe a new one by --history."
            )
    users = np.array([places[name] for name in names])
    return Histories(users, data.ends[users, 0], data.ends[users, -1], np.full(len(users), -1))


def numbered(names: Sequence[str], catalogue: Catalogue) -> list[int]:
    """Return the numbers of some items, or stop at one that training did not see."""
    places = {name: number for number, name in enumerate(catalogue.items, start=NO_ITEM + 1)}
    for name in names:
        if name not in places:
            such = printable(catalogue.items[0])
            fail(f"training saw no item {name!a}: name others, such as {such}.")
    return [places[name] for name in names]


@torch.inference_mode()
def recommended(
    trained: Trained[Config, DataConfig, ModelConfig], data: Dataset, model: Model
) -> list[Row]:
    """Return the best items of each user that is asked for."""
    args, like = trained.args, next(model.parameters())
    c, items = model.config, item_vectors(model, data, trained.device, AT_ONCE)
    if args.history:
        names, seen = [NEW], [np.array(numbered(args.history, data.catalogue))]
        inputs = (
            torch.from_numpy(seen[0][-c.history_length :])[None],
            torch.zeros(1, min(len(seen[0]), c.history_length), c.edge_features),
            torch.zeros(1, c.node_features),
        )
    else:
        names, histories = args.user, of_users(data, args.user)
        ranges = zip(histories.begin, histories.end, strict=True)
        seen = [data.item[begin:end] for begin, end in ranges]
        inputs = histories.tensors(data, c.history_length)
    history, edges, users = inputs
    vectors = model.encode_users(history.to(like.device), edges.to(like), users.to(like))
    scores = (vectors.float() @ items.float().T).double().cpu().numpy()
    return _rows(names, scores, [each - 1 for each in seen], data.catalogue, trained.config.top)


def _rows(
    names: Sequence[str],
    scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    seen: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.int64]]],
    catalogue: Catalogue,
    top: int,
) -> list[Row]:
    chosen = best(scores, seen, top)
    return [
        (name, rank, catalogue.items[place], float(row[place]))
        for name, row, places, history in zip(names, scores, chosen, seen, strict=True)
        for rank, place in enumerate(places.tolist(), start=1)
        if place not in history
    ]


def written(rows: Sequence[Row], path: Path, digits: int) -> None:
    """Write recommendations to a file."""
    rounded = [(*row[:-1], round(row[-1], digits)) for row in rows]
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".csv":
            table = csv.writer(stream, lineterminator="\n")
            table.writerows([COLUMNS, *rounded])
        else:
            lines = (dict(zip(COLUMNS, row, strict=True)) for row in rounded)
            stream.writelines(json.dumps(line) + "\n" for line in lines)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each recommended item, and write the same to a file."""
    config, path = trained.config, trained.args.output
    catalogue = read_catalogue(trained.folder)
    model_config = fitted(trained.model, catalogue, trained.args.size)
    every = read_interactions(trained.args.data) if trained.args.data else bundled()
    # All rows are history here: nothing is held out from a user who is served.
    data = dataset(every, catalogue, np.zeros(len(every), np.int64), model_config)
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    rows = recommended(trained, data, model)
    for user, rank, item, score in rows:
        print(f"{printable(user)}  {rank:>2}  {score:.{config.digits}f}  {printable(item)}")
    if path:
        written(rows, path, config.digits)
        print(f"{path}: {len(rows):,} recommendations", file=sys.stderr)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "top": Setting("items for each user"),
        "dtype": Setting("format of weights and arithmetic", str, ("float32", "bfloat16")),
    },
    data="interactions, whose users are served (default: bundled imports)",
)

if __name__ == "__main__":
    run(main)
