"""Read interactions of users with items, bundled or your own, and hold the latest out.

    python data.py --data ratings.csv     shows what training will read

PATH is a table (.csv, .tsv, .jsonl, .json or .parquet; .gz too) with a row for each interaction, or
a folder with parts of one. It has a column of users, one of items and, if known, one of times, in
any usual names, such as userId, movie_id and timestamp. Each other column describes the users, the
items or the interactions: one that has a single value for each user is of the users, and so on.

With times, val and test are the latest interactions of all, so that no training row is later than a
scored one; or, with `holdout` "last", the last two of each user. Without times, a digest picks two
items of each user, whose history is then a set. Without --data, the script reads which module of
sympy imports which names.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import NO_ITEM
from model import Config as ModelConfig
from runtime.catalogue import Catalogue, catalogue_of, read_catalogue
from runtime.digests import digest
from runtime.errors import fail, run
from runtime.held_out import splits_of
from runtime.imports import imported_names
from runtime.interactions import Integers, Interactions, interactions, read_interactions
from runtime.listing import printable
from runtime.modules import part_of
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples

BUNDLED = "sympy_imports"
MOST_SHOWN = 5  # items that data.py names


@dataclass(frozen=True)
class Config:
    """How interactions are held out for validation and scoring."""

    holdout: str = "time"
    """time: the latest of all interactions; last: the last two of each user."""
    val_fraction: float = 0.1
    """Share of the interactions for validation during training, if they are held out by time."""
    test_fraction: float = 0.1
    """Share of the interactions that only eval.py reads, if they are held out by time."""


@dataclass(frozen=True)
class Dataset:
    """Interactions in the form for the network, those of a user together.

    A user's rows are those of train, then of val, then of test; of one split, in their order.

    Attributes:
        name: Name in reports.
        sha256: Digest of the data.
        catalogue: The items, and how columns become numbers.
        users: Names of the users.
        owner: The user of each row, (M,).
        item: The item of each row, from 1: (M,).
        edges: Features of each row, (M, F).
        ends: Where a user's rows begin, and where those of train, val and test end: (users, 4).
        user_features: Features of the users, (users, F).
        item_features: Features of the items by number, (items + 1, F).
        shares: The share of each item in the training rows by number, (items + 1,); the first,
            of no item, means nothing.
    """

    name: str
    sha256: str
    catalogue: Catalogue
    users: NDArray[Any]
    owner: Integers
    item: Integers
    edges: Tensor
    ends: Integers
    user_features: Tensor
    item_features: Tensor
    shares: NDArray[np.float64]

    def rows(self, split: str) -> Integers:
        """Return the rows of a split."""
        at = SPLITS.index(split)
        place = np.arange(len(self.owner))
        return np.flatnonzero(
            (place >= self.ends[self.owner, at]) & (place < self.ends[self.owner, at + 1])
        )


def load_interactions(
    config: Config, path: Path | None, model: ModelConfig, size: str, begin: Path | None = None
) -> tuple[Dataset, ModelConfig]:
    """Return the interactions of a path, or the bundled ones, and the model for them; or stop.

    Args:
        config: How interactions are held out.
        path: A table; None for the bundled interactions.
        model: The model's dimensions.
        size: `proxy`, which takes any data, or `full`.
        begin: A checkpoint whose items keep their numbers; None to number those of the data.
    """
    every = read_interactions(path) if path else bundled()
    split = splits_of(every, config.holdout, config.val_fraction, config.test_fraction)
    # A trained model keeps its own items: other numbers would select other rows of its table.
    catalogue = read_catalogue(begin) if begin else catalogue_of(every, split)
    if new := int((~np.isin(every.items, catalogue.items))[every.item].sum()):
        note(
            f"{every.name}: {new:,} rows are of items that training never saw: no method here can "
            "recommend these, so they are left out."
        )
    data = dataset(every, catalogue, split, fitted(model, catalogue, size))
    counts = {each: len(data.rows(each)) for each in SPLITS}
    require_samples(every.name, "interactions", counts, least=2)
    return data, fitted(model, catalogue, size)


def bundled() -> Interactions:
    """Return which module of sympy imports which names; parts of the package describe both."""
    pairs = imported_names()
    users, items = (np.array(side, object) for side in zip(*pairs, strict=True))
    columns = {
        "module_part": np.array([part_of(name) for name in users], object),
        "name_part": np.array([part_of(name) for name in items], object),
    }
    total = digest("\n".join(" ".join(pair) for pair in pairs).encode())
    return interactions(BUNDLED, total, users, items, None, columns)


def dataset(
    every: Interactions, catalogue: Catalogue, split: Integers, model: ModelConfig
) -> Dataset:
    """Return interactions in the form for the network.

    Rows with items that the catalogue lacks are left out.

    Args:
        every: The interactions.
        catalogue: The items, and how columns become numbers.
        split: The split of each row.
        model: Sets how many features there is room for.
    """
    if catalogue.ordered and every.times is None:
        fail(f"{every.name} has no column of times, and the model reads histories in their order.")
    place = {name: number for number, name in enumerate(catalogue.items, start=NO_ITEM + 1)}
    numbers = np.array([place.get(name, NO_ITEM) for name in every.items.tolist()], np.int64)
    # Rows of one split keep their order, which is that of times.
    rows = np.lexsort((split, every.user))
    rows = rows[numbers[every.item[rows]] != NO_ITEM]
    user, item, part = every.user[rows], numbers[every.item[rows]], split[rows]
    # An item that only a checkpoint has seen counts once, since its share has a logarithm.
    seen = np.maximum(1, np.bincount(item[part == 0], minlength=len(place) + 1))
    pairs = catalogue.edges.encoded(every.of_pairs, len(every))[rows]
    users = catalogue.users.encoded(every.of_users, len(every.users))
    return Dataset(
        every.name,
        every.sha256,
        catalogue,
        every.users,
        user,
        item,
        _padded(pairs, model.edge_features),
        _ends(user, part, len(every.users)),
        _padded(users, model.node_features),
        _padded(_item_rows(every, catalogue, numbers), model.node_features),
        seen / seen[NO_ITEM + 1 :].sum(),
    )


def _ends(user: Integers, part: Integers, users: int) -> Integers:
    """Return where a user's rows begin, and where those of each split end: (users, 4).

    Args:
        user: The user of each row, (M,), ascending.
        part: The split of each row, (M,), ascending within a user.
        users: How many there are.
    """
    counts = np.stack([np.bincount(user[part == p], minlength=users) for p in range(len(SPLITS))])
    ends = np.cumsum(counts, 0) + (np.cumsum(counts.sum(0)) - counts.sum(0))
    return np.concatenate([ends[:1] - counts[:1], ends]).T


def _item_rows(every: Interactions, catalogue: Catalogue, numbers: Integers) -> NDArray[np.float32]:
    """Return what describes each item of a catalogue, by its number: (items + 1, columns)."""
    known = numbers != NO_ITEM
    columns = {name: column[known] for name, column in every.of_items.items()}
    rows = np.zeros((len(catalogue.items) + 1, catalogue.of_items.width), np.float32)
    rows[numbers[known]] = catalogue.of_items.encoded(columns, int(known.sum()))
    return rows


def _padded(rows: NDArray[np.float32], width: int) -> Tensor:
    """Return rows with zeros behind them, up to a width."""
    wide = torch.zeros(len(rows), width)
    wide[:, : rows.shape[1]] = torch.from_numpy(rows)
    return wide


def fitted(model: ModelConfig, catalogue: Catalogue, size: str) -> ModelConfig:
    """Return the model for some data, or stop if the full model has no room for it.

    The proxy takes any data, because its job is to test the code; the full model's size was
    computed for a fixed number of items.
    """
    items, edges = len(catalogue.items), catalogue.edges.width
    nodes = max(catalogue.users.width, catalogue.of_items.width)
    if size == "proxy":
        return replace(
            model,
            num_items=items,
            node_features=nodes,
            edge_features=edges,
            ordered=catalogue.ordered,
        )
    for name, need, key in (
        ("num_items", items, "architecture.dims.num_items"),
        ("node_features", nodes, "task.node_features"),
        ("edge_features", edges, "task.edge_features"),
    ):
        if need > getattr(model, name):
            fail(
                f"the data needs {name} of {need:,}, words counted one by one, and the model has "
                f"room for {getattr(model, name):,}: set {key} in the spec."
            )
    if model.ordered and not catalogue.ordered:
        fail(
            "the data has no column of times, and the model reads histories in their order: add "
            "one, or set architecture.dims.ordered to false in the spec."
        )
    return model


@dataclass(frozen=True)
class Histories:
    """Which rows are the histories of some users.

    Attributes:
        users: The users, (B,).
        begin: The first row of each history, (B,).
        end: The row after its last, (B,).
        without: A row of each that is left out, (B,); -1 for none.
    """

    users: Integers
    begin: Integers
    end: Integers
    without: Integers

    def tensors(self, data: Dataset, longest: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return items (B, T), features of the interactions (B, T, F) and of the users (B, F).

        The latest `longest` rows are read; what fills a shorter history comes after it.
        """
        left_out = (self.without >= 0).astype(np.int64)
        last = self.end - left_out
        first = np.maximum(self.begin, last - longest)
        length = max(1, int((last - first).max(initial=0)))
        rows = first[:, None] + np.arange(length)
        present = rows < last[:, None]
        # A row that is left out moves those after it forward by one.
        rows = rows + left_out[:, None] * (rows >= self.without[:, None])
        rows = np.where(present, rows, 0)
        items = torch.from_numpy(np.where(present, data.item[rows], NO_ITEM))
        edges = data.edges[torch.from_numpy(rows)] * torch.from_numpy(present)[:, :, None]
        return items, edges, data.user_features[torch.from_numpy(self.users)]


def before(data: Dataset, rows: Integers, split: str, ordered: bool) -> Histories:
    """Return the histories that lead to some rows of a split.

    In the order of times, that of a training row is what its user did before it; of a set, all
    other training rows. That of a val or test row is all that the splits before it have.
    """
    users, at = data.owner[rows], SPLITS.index(split)
    none = np.full(len(rows), -1)
    if split != "train":
        return Histories(users, data.ends[users, 0], data.ends[users, at], none)
    if ordered:
        return Histories(users, data.ends[users, 0], rows, none)
    return Histories(users, data.ends[users, 0], data.ends[users, 1], rows)


def samples(data: Dataset, rows: Integers, split: str, model: ModelConfig) -> tuple[Tensor, ...]:
    """Return rows as pairs of a user with its history and an item, for the model and the loss.

    History (B, T), features of its interactions (B, T, F) and of the users (B, F), items (B,) and
    their features (B, F), and the logarithm of each item's share of the training rows (B,).
    """
    history = before(data, rows, split, model.ordered).tensors(data, model.history_length)
    items = torch.from_numpy(data.item[rows])
    shares = torch.from_numpy(np.log(data.shares[data.item[rows]])).float()
    return *history, items, data.item_features[items], shares


def batch_at(
    data: Dataset, train: Integers, model: ModelConfig, position: int, count: int, seed: int
) -> tuple[Tensor, ...]:
    """Return the samples at some positions of the order of the training rows."""
    # The position alone decides the rows, so a resumed run repeats them, and several processes
    # share the work without overlap.
    chosen = [index for _, index in samples_at(position, count, len(train), seed)]
    return samples(data, train[chosen], "train", model)


def main() -> None:
    """Show the interactions."""
    args = data_options(__doc__, data="interactions (default: bundled imports)").parse_args()
    config, model = (
        load_config(Config, "data", args.size),
        load_config(ModelConfig, "model", args.size),
    )
    data, _ = load_interactions(config, args.data, model, args.size)
    print(f"{data.name}, sha256 {data.sha256}")
    print(*described(data), sep="\n")


def described(data: Dataset) -> Iterator[str]:
    """Yield what data.py prints."""
    catalogue, most = data.catalogue, 1 + np.argsort(-data.shares[1:], kind="stable")[:MOST_SHOWN]
    order = "in the order of times" if catalogue.ordered else "as sets, without times"
    yield f"{len(data.users):,} users, {len(catalogue.items):,} items, histories {order}"
    for split in SPLITS:
        rows = data.rows(split)
        users = len(np.unique(data.owner[rows]))
        yield f"{split:>5}: {len(rows):,} interactions of {users:,} users"
    shown = (f"{printable(catalogue.items[n - 1])} {data.shares[n]:.1%}" for n in most)
    yield f"most frequent: {', '.join(shown)}"
    for what, features in (
        ("users", catalogue.users),
        ("items", catalogue.of_items),
        ("interactions", catalogue.edges),
    ):
        yield f"features of {what}: {'; '.join(features.lines()) or 'none'}"


if __name__ == "__main__":
    run(main)
