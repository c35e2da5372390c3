"""Read clouds of points with a class each, bundled or your own, and cut them into splits.

    python data.py --data clouds.jsonl    shows what training will read

A row of a .jsonl, .json, .parquet or .arrow file is a cloud: `points` has an [x, y, z] for each
point, and `label` the class. A .npz file holds `points` (clouds, points, 3) and `y`. Or PATH is a
folder with a folder of .obj or .ply files for each class, below train, val and test or not; points
are drawn from a mesh. Without --data, the script makes solids of eight kinds.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, divided, files_digest
from runtime.errors import fail, run
from runtime.formats import list_rows
from runtime.labels import labels_of, require_outputs
from runtime.listing import list_files, printable
from runtime.meshes import SUFFIXES as MESHES
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.point_files import TABLES, Cloud, read_clouds
from runtime.records import split_files
from runtime.settings import load_config
from runtime.splits import SPLITS, copies, require_samples, shares_left, split_folders
from runtime.turned_solids import KINDS, rotation, solids

BUNDLED = "cut_solids"
MOST_SHOWN = 20  # classes that data.py counts by name
Parts = dict[str, list[Cloud]]


@dataclass(frozen=True)
class Config:
    """How clouds become samples."""

    val_fraction: float = 0.1
    """Share of the clouds for validation during training."""
    test_fraction: float = 0.1
    """Share of the clouds that only eval.py reads."""
    turned: bool = False
    """Whether training turns a cloud any way, for things that have no upright pose."""
    jitter: float = 0.02
    """Standard deviation by which training moves points, of clouds with a mean square of 1."""


@dataclass(frozen=True)
class Split:
    """The clouds of a split, float32 (N, points, 3), and their classes (N,)."""

    clouds: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Dataset:
    """Clouds in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all clouds, their labels and splits.
        labels: The names of the classes; a name's place is its number.
        splits: The samples by split.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    splits: dict[str, Split]


def load_clouds(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the clouds of a path at the model's number of points, or the bundled ones, or stop."""
    if path is None:
        splits = {split: Split(*solids(split, model.n_points)) for split in SPLITS}
        arrays = (splits[split].clouds.numpy().tobytes() for split in SPLITS)
        return Dataset(BUNDLED, digest(*arrays), KINDS, splits)
    sha256, parts = _files(config, path)
    require_samples(path.name, "clouds", {split: len(parts[split]) for split in SPLITS})
    used = {split: [each.label or "" for each in part] for split, part in parts.items()}
    labels = labels_of(used, path.name, "cloud")
    splits = {split: _split(part, labels, model.n_points) for split, part in parts.items()}
    return Dataset(path.name, sha256, labels, splits)


def fitted(model: ModelConfig, labels: Sequence[str], size: str) -> ModelConfig:
    """Return the model for some data, or stop if the full model was made for other data.

    The proxy takes any classes, because its job is to test the code; the full model's size was
    computed for a fixed number.
    """
    if size == "proxy":
        return replace(model, num_classes=len(labels))
    require_outputs(labels, model.num_classes)
    return model


def drawn(clouds: Sequence[Cloud], points: int) -> Tensor:
    """Return points of each cloud, (N, points, 3), moved to their mean, with a mean square of 1."""
    parts = []
    for each in clouds:
        # A seed for all, so that adding clouds changes no other.
        own = each.surface.drawn(points, np.random.default_rng(0))
        own = own - own.mean(0)
        size = np.sqrt(np.square(own).sum(1).mean())
        parts.append((own / (size or 1.0)).astype(np.float32))
    return torch.from_numpy(np.stack(parts))


def _split(clouds: Sequence[Cloud], labels: Sequence[str], points: int) -> Split:
    numbers = {label: number for number, label in enumerate(labels)}
    targets = torch.tensor([numbers[each.label or ""] for each in clouds])
    return Split(drawn(clouds, points), targets)


def _files(config: Config, path: Path) -> tuple[str, Parts]:
    """Return the clouds of a file, or of a folder."""
    every = _meshes(path) if path.is_dir() and list_files(path, MESHES).files else _tables(path)
    names = [f"{split} {label} {p.relative_to(path) if path.is_dir() else p.name}"
             for split, label, p in every]  # fmt: skip
    total = files_digest([each for _, _, each in every], names)
    found: Parts = {}
    for split, label, each in every:
        found.setdefault(split, []).extend(read_clouds(each, labelled=label is None, label=label))
    train = found.pop("train")
    shares = shares_left(found, config.val_fraction, config.test_fraction)
    parts = {**divided(train, _key, *shares), **found}
    _say_copies(path, parts)
    return total, parts


def _tables(path: Path) -> list[tuple[str, None, Path]]:
    """Return each file of rows or arrays with its split."""
    files = split_files(list_rows(path, TABLES)) if path.is_dir() else {"train": [path]}
    if not files["train"]:
        fail(f"{path} has no file of clouds ({', '.join((*TABLES, *MESHES))}).")
    return [(split, None, each) for split, paths in files.items() for each in paths]


def _meshes(path: Path) -> list[tuple[str, str, Path]]:
    """Return each mesh of a folder with its split and its class, which is its folder's name."""
    files = list_files(path, MESHES).files
    first = {each.relative_to(path).parts[0] for each in files if each.parent != path}
    splits = split_folders(path, first)
    found = []
    for each in files:
        above = each.relative_to(path).parts[:-1]
        classes = above[1:] if splits else above
        if len(classes) != 1:
            fail(f"{each} is not in a folder of its class: move it to CLASS/{each.name}.")
        found.append((splits[above[0]] if splits else "train", classes[0], each))
    if splits and "train" not in {split for split, _, _ in found}:
        fail(f"{path} has no folder for train.")
    return found


def _key(cloud: Cloud) -> str:
    return digest(cloud.surface.vertices.tobytes(), cloud.surface.faces.tobytes())


def _say_copies(path: Path, parts: Parts) -> None:
    """Say how many training clouds val or test hold too, which makes a score too good."""
    twice = copies({split: list(map(_key, part)) for split, part in parts.items()})
    if twice:
        note(f"{path}: {twice:,} clouds of train are equal to one in val or test.")


def batch_at(
    split: Split, position: int, count: int, seed: int, config: Config
) -> tuple[Tensor, Tensor]:
    """Return clouds at some positions of the training order, changed at random, and classes."""
    # The position alone decides the clouds and their changes, so a resumed run repeats them, and
    # several processes share the work without overlap.
    places = samples_at(position, count, len(split.targets), seed)
    clouds = split.clouds[[index for _, index in places]]
    draws = [np.random.default_rng((seed, position + number)) for number in range(count)]
    if config.turned:
        turns = np.stack([rotation(draw) for draw in draws]).astype(np.float32)
        clouds = clouds @ torch.from_numpy(turns).transpose(1, 2)
    noise = np.stack([draw.standard_normal(clouds.shape[1:], np.float32) for draw in draws])
    clouds = clouds + config.jitter * torch.from_numpy(noise)
    return clouds, split.targets[[index for _, index in places]]


def batches(split: Split, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the clouds of a split in order, in batches."""
    yield from zip(torch.split(split.clouds, size), torch.split(split.targets, size), strict=True)


def main() -> None:
    """Show the clouds."""
    args = data_options(__doc__, data="clouds of points (default: solids)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_clouds(load_config(Config, "data", args.size), args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(f"{data.splits['train'].clouds.size(1):,} points of each, {len(data.labels)} classes")
    for split, part in data.splits.items():
        counts = Counter(part.targets.tolist()).most_common(MOST_SHOWN)
        shares = ", ".join(f"{printable(data.labels[label])} {count:,}" for label, count in counts)
        print(f"{split:>5}: {len(part.targets):,} clouds: {shares}")


if __name__ == "__main__":
    run(main)
