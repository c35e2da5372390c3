"""Read shapes with captions, your own or simple solids, and cut them into train, val and test.

    python data.py --data PATH     shows what training will read

PATH is a folder of .obj and .ply files. Their captions are lines of PATH/captions.jsonl,
{"file_name": "chairs/1.obj", "text": "a chair with three legs"}, or texts beside them, chairs/1.txt
for chairs/1.obj. Folders named train, val and test hold these splits; a missing one is cut from
train. Each shape is moved and scaled into the cube from -1 to 1, so its size is not kept; it is not
turned. A .ply file without faces is a cloud of points.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from model import conditions
from runtime.digests import digest, file_digests, split_of
from runtime.errors import fail, run
from runtime.files import json_lines
from runtime.listing import Listing, list_files, say_unread, shown
from runtime.meshes import SUFFIXES, UNREAD, read_mesh
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.primitives import SHAPES, torus
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left, split_folders
from runtime.surfaces import Surface

CAPTIONS = "captions.jsonl"
MOST_TEXT = 2**16  # bytes of a caption's file
KEPT = 2048  # shapes that stay in memory, so that a small set is read once

BUNDLED = "solids"
SIZES = {"small": 0.5, "large": 1.0}
HEIGHTS = {"short": 0.6, "regular": 1.0, "tall": 1.6}
JITTER = (0.9, 1.1)  # factor along each axis
TUBES = (0.2, 0.45)  # radius of a torus's tube
UNSEEN = 10  # captions of the test split, of which training sees no shape
COPIES = {"train": 32, "val": 2, "test": 6}  # solids of each caption


@dataclass(frozen=True)
class Config:
    """How shapes are cut into splits."""

    val_fraction: float = 0.01
    """Share of the shapes for validation during training."""
    test_fraction: float = 0.01
    """Share of the shapes that only eval.py reads."""


@dataclass(frozen=True)
class Split:
    """Some of the shapes.

    Attributes:
        captions: The caption of each shape.
        read: Returns a surface, by its place.
    """

    captions: list[str]
    read: Callable[[int], Surface]

    def __len__(self) -> int:
        return len(self.captions)

    def cloud(self, place: int, count: int, *seeds: int) -> Tensor:
        """Return points of a shape, (count, 3); the seeds decide which."""
        generator = np.random.default_rng((*seeds, place))
        return torch.from_numpy(self.read(place).drawn(count, generator)).float()


@dataclass(frozen=True)
class Dataset:
    """Shapes with captions in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all shapes and captions.
        splits: The shapes by split.
    """

    name: str
    sha256: str
    splits: dict[str, Split]


def load_shapes(config: Config, path: Path | None) -> Dataset:
    """Return the shapes of a folder, or simple solids, or stop.

    Args:
        config: Sizes of the splits of a folder.
        path: The folder; None for the solids.
    """
    data = solids() if path is None else _folder(config, path)
    require_samples(data.name, "shapes", {split: len(each) for split, each in data.splits.items()})
    return data


def batch_at(
    split: Split, start: int, count: int, model: ModelConfig, seed: int
) -> tuple[Tensor, Tensor]:
    """Return clouds (B, N, 3) at some places of the training order, and their captions (B, T)."""
    # Seed, epoch and place decide the points, so a resumed run continues with the same ones, and
    # each epoch sees others.
    places = samples_at(start, count, len(split), seed)
    clouds = [split.cloud(place, model.n_points, seed, epoch) for epoch, place in places]
    return torch.stack(clouds), conditions(model, [split.captions[place] for _, place in places])


def batches(split: Split, size: int, model: ModelConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the shapes of a split once, in batches, with their captions."""
    # Val shapes keep their order and their points, so losses of different steps are comparable.
    for start in range(0, len(split), size):
        places = range(start, min(start + size, len(split)))
        clouds = torch.stack([split.cloud(place, model.n_points) for place in places])
        yield clouds, conditions(model, split.captions[start : start + size])


def solids() -> Dataset:
    """Return simple solids, whose captions name their size, height and shape.

    Ten of the 48 captions are in the test split alone, so a score says how well known words are
    combined anew.
    """
    draw = np.random.default_rng(0)
    names = itertools.product(SIZES, HEIGHTS, (*SHAPES, "torus"))
    captions = [" ".join(words) for words in names]
    unseen = {captions[i] for i in draw.permutation(len(captions))[:UNSEEN]}
    found: dict[str, list[tuple[str, Surface]]] = {split: [] for split in SPLITS}
    for caption in captions:
        for split in ("test",) if caption in unseen else ("train", "val"):
            found[split] += [(caption, _solid(caption, draw)) for _ in range(COPIES[split])]
    every = [each for split in SPLITS for each in found[split]]
    total = digest(*(c.encode() + s.vertices.round(9).tobytes() for c, s in every))
    return Dataset(BUNDLED, total, {split: _held(rows) for split, rows in found.items()})


def _solid(caption: str, draw: np.random.Generator) -> Surface:
    size, height, name = caption.split()
    shape = torus(draw.uniform(*TUBES)) if name == "torus" else SHAPES[name]()
    scale = SIZES[size] * np.array([1.0, 1.0, HEIGHTS[height]]) * draw.uniform(*JITTER, 3)
    return Surface(shape.vertices * scale, shape.faces)


def _held(rows: list[tuple[str, Surface]]) -> Split:
    return Split([caption for caption, _ in rows], lambda place: rows[place][1])


def _folder(config: Config, folder: Path) -> Dataset:
    """Return the shapes below a folder; copies of a file are in the same split."""
    found = list_shapes(folder)
    texts = captions_of(found)
    names = sorted(texts)
    files = [folder / name for name in names]
    keys = file_digests(files)
    folders = split_folders(folder, {name.partition("/")[0] for name in names if "/" in name})
    named = [folders.get(name.partition("/")[0]) for name in names]
    rows = zip(names, keys, strict=True)
    total = digest(*(f"{name}\0{texts[name]}\0{key}\n".encode() for name, key in rows))

    @functools.lru_cache(maxsize=KEPT)
    def read(place: int) -> Surface:
        return read_mesh(files[place]).fitted()

    return Dataset(folder.resolve().name, total, _cut(config, keys, named, names, texts, read))


def _cut(
    config: Config,
    keys: Sequence[str],
    named: Sequence[str | None],
    names: Sequence[str],
    texts: dict[str, str],
    read: Callable[[int], Surface],
) -> dict[str, Split]:
    """Return the splits; a file's digest alone decides its split, so new files move no old ones."""
    left = shares_left(named, config.val_fraction, config.test_fraction)
    places: dict[str, list[int]] = {split: [] for split in SPLITS}
    for place, key in enumerate(keys):
        own = split_of(key, *left) if named[place] in (None, "train") else named[place]
        places[str(own)].append(place)

    def cut_out(chosen: list[int]) -> Split:
        return Split([texts[names[i]] for i in chosen], lambda index: read(chosen[index]))

    return {split: cut_out(chosen) for split, chosen in places.items()}


def list_shapes(folder: Path) -> Listing:
    """Return the shapes in a folder and its subfolders, and what is left out; or stop."""
    kinds = ", ".join(SUFFIXES)
    if not folder.is_dir():
        fail(f"{folder} is not a folder with shapes ({kinds}).")
    found = list_files(folder, SUFFIXES)
    if not found.files:
        fail(f"{folder} has no shapes ({kinds}); {'; '.join(found.left_out()) or 'it is empty'}.")
    say_unread(found, UNREAD, "Convert them to OBJ or PLY.")
    return found


def captions_of(found: Listing) -> dict[str, str]:
    """Return the caption of each shape by its path in the folder, or stop."""
    folder, names = found.folder, [p.relative_to(found.folder).as_posix() for p in found.files]
    listed = folder / CAPTIONS
    texts = _lines(listed, set(names)) if listed.is_file() else _beside(folder, names)
    missing = [folder / name for name in names if name not in texts]
    if missing and not texts:
        fail(f"{folder} has no captions: write {CAPTIONS}, or a .txt file beside each shape.")
    if missing:
        note(
            f"{folder}: {len(missing):,} shapes have no caption, and are left out: "
            f"{shown(folder, missing)}."
        )
    return texts


def _lines(file: Path, names: set[str]) -> dict[str, str]:
    """Return the captions that a file lists; each names a shape of its folder."""
    _check_inside(file)
    texts: dict[str, str] = {}
    for place, row in json_lines(file):
        name, text = row.get("file_name"), row.get("text")
        if not isinstance(name, str) or not isinstance(text, str):
            fail(f'{place} must have "file_name" and "text", both texts.')
        if name not in names:
            fail(f"{place} names {name!a}, which is no shape in {file.parent}.")
        if name in texts:
            fail(f"{place} names {name!a} a second time: keep one caption of each shape.")
        texts[name] = _caption(text, place)
    return texts


def _beside(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the captions in text files beside the shapes."""
    texts = {}
    for name in names:
        file = (folder / name).with_suffix(".txt")
        if not file.is_file():
            continue
        _check_inside(file)
        if file.stat().st_size > MOST_TEXT:
            fail(f"{file} is longer than {MOST_TEXT:,} bytes: is it a caption?")
        try:
            texts[name] = _caption(file.read_text(encoding="utf-8"), str(file))
        except UnicodeDecodeError:
            fail(f"{file} is not UTF-8 text: save it as such.")
    return texts


def _check_inside(file: Path) -> None:
    """Stop at a link, which may bring another file of this machine into the training."""
    if file.is_symlink():
        fail(f"{file} is a link: put the file itself there.")


def _caption(text: str, place: str) -> str:
    """Return a caption as one line, or stop if there is none."""
    line = " ".join(text.split())
    if not line or any("\ud800" <= c <= "\udfff" for c in line):
        fail(f"{place} has no caption in valid Unicode: write one, or leave the shape out.")
    return line


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of shapes (default: simple solids)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_shapes(load_config(Config, "data", args.size), args.data)
    print(f"{data.name}, sha256 {data.sha256}")
    print(f"clouds of {model.n_points:,} points")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split):,} shapes")
    if args.data:
        report(list_shapes(args.data), data)
    captions = sorted({caption for split in data.splits.values() for caption in split.captions})
    listed = ", ".join(repr(caption) for caption in captions[:10])
    print(f"{len(captions):,} captions: {listed}{', ...' if len(captions) > 10 else ''}")
    long = sum(len(caption.encode()) > model.text_length for caption in captions)
    if long:
        print(f"{long:,} captions are cut after {model.text_length:,} bytes")


def report(found: Listing, data: Dataset) -> None:
    """Read every shape, so that a broken one stops now, and say what they are like."""
    every = [split.read(place) for split in data.splits.values() for place in range(len(split))]
    clouds = sum(not len(each.faces) for each in every)
    faces = sorted(len(each.faces) for each in every if len(each.faces))
    if faces:
        print(f"{len(faces):,} meshes with {faces[0]:,} triangles at least, {faces[-1]:,} at most")
    if clouds:
        print(f"{clouds:,} clouds of points")
    captions = {file.with_suffix(".txt") for file in found.files} | {found.folder / CAPTIONS}
    others = [path for path in found.others if path not in captions]
    for line in replace(found, others=others).left_out():
        print(line)


if __name__ == "__main__":
    run(main)
