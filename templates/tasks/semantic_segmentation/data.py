"""Read images with a class for each pixel: slices of an average brain, or your own images.

    python data.py --data PATH      shows what training will read

PATH holds two folders, `images` and `masks`. A mask is a PNG with the name of its image, and its
pixels are class numbers: 0 is the background, and 255 is ignored. All images of one folder in
`images`, such as the slices of a patient, go into one split. Folders in `images` and `masks` that
are named train, val and test are these splits.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, files_digest, split_of
from runtime.errors import fail, run
from runtime.images import list_images, read_image
from runtime.listing import list_files, shown
from runtime.masks import SUFFIXES, read_mask
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.pixels import Picture, printed, survey
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left, split_folders
from runtime.stored import digests_of, has_rows, list_pictures, stored_masks

BUNDLED = "mni152_tissues"
BUNDLED_CLASSES = ("background", "grey matter", "white matter")
LEAST_TISSUE = 0.02  # slices with a smaller share of tissue show almost only background
VOID = 255  # mask pixels with this value are ignored by the loss and by scores


@dataclass(frozen=True)
class Config:
    """How images become samples."""

    crop: int = 0
    """Side of the random square that is cut from a training image, in pixels; 0 keeps it whole."""
    augmentation: str = "mirror"
    """none; mirror: swap left and right; dihedral: also swap up and down, and turn squares."""
    val_fraction: float = 0.1
    """Share of the images for validation during training."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""
    gap: int = 6
    """Slices of the bundled volume to skip between splits, because neighbours look alike."""


Pair = tuple[Tensor, Tensor]


class Files(NamedTuple):
    """An image and its mask that are read on demand."""

    image: Picture
    mask: Picture


Source = Pair | Files


@dataclass(frozen=True)
class Scenes:
    """Images and masks in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all of them.
        splits: Images and masks by split, in memory or as files.
        model: Sets the size and the channels of images.
    """

    name: str
    sha256: str
    splits: dict[str, list[Source]]
    model: ModelConfig

    def pair(self, split: str, index: int) -> Pair:
        """Return an image (C, H, W), values from -1 to 1, and its mask (H, W), -1 for void."""
        source = self.splits[split][index]
        image, mask = _read(source, self.model) if isinstance(source, Files) else source
        classes = mask.long()
        return image.float() / 127.5 - 1, torch.where(classes == VOID, -1, classes)

    def batch(self, split: str, indices: range) -> Pair:
        """Return some images (B, C, H, W) and masks (B, H, W)."""
        images, masks = zip(*(self.pair(split, i) for i in indices), strict=True)
        return torch.stack(images), torch.stack(masks)


def load_scenes(config: Config, path: Path | None, model: ModelConfig) -> Scenes:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    if path is None:
        scenes = bundled(config, model)
    else:
        scenes = (_stored if has_rows(path) else _folder)(config, path, model)
    sizes = {split: len(scenes.splits[split]) for split in SPLITS}
    require_samples(scenes.name, "images, or folders of images,", sizes)
    if path is not None:
        _say_what_counts(scenes)
    return scenes


def _say_what_counts(scenes: Scenes) -> None:
    """Say if a split has no pixel of a class, from which nothing can be learned or scored."""
    for split in SPLITS:
        indices = range(len(scenes.splits[split]))
        # Most splits show a class in one of their first masks, so few masks are read twice.
        if not any(scenes.pair(split, index)[1].gt(0).any() for index in indices):
            values = sorted(
                {v for i in indices for v in scenes.pair(split, i)[1].flatten().tolist()}
            )
            read = ", ".join("255 (ignored)" if v < 0 else f"{v} (background)" for v in values)
            note(
                f"{scenes.name}: no pixel of any class but the background counts in {split}: its "
                f"masks hold {read}. A class is a number from 1; write 1 where masks show an "
                "object as 255."
            )


def bundled(config: Config, model: ModelConfig) -> Scenes:
    """Return axial slices of the MNI152 average brain, each pixel with its likeliest tissue.

    One averaged brain shows whether the code learns, but not how well a model works on patients.
    nilearn ships the template, which belongs to McGill University and has its own licence.
    """
    if model.num_classes < len(BUNDLED_CLASSES):
        fail(
            f"{BUNDLED} has {len(BUNDLED_CLASSES)} classes, but the model has {model.num_classes}: "
            "use --data."
        )
    arrays = _templates()
    # The digest covers values rounded to bytes, because last bits may differ between versions of
    # nilearn.
    sha256 = digest(*((array * 255).round().astype(np.uint8).tobytes() for array in arrays))
    # The axes change from (left to right, back to front, bottom to top) to slices from above, with
    # the front on top.
    volume = torch.from_numpy(np.stack(arrays, axis=-1)).permute(2, 3, 1, 0).flip(2)
    tissue = _tissues(volume).gt(0).float().mean((1, 2))
    size = (model.image_height, model.image_width)
    # Averages over areas keep thin grey matter; single pixels would lose parts of it.
    slices = F.interpolate(volume[tissue > LEAST_TISSUE], size=size, mode="area")
    scans = (slices[:, :1] * 255).round().to(torch.uint8).expand(-1, model.in_channels, -1, -1)
    pairs: list[Source] = list(zip(scans, _tissues(slices), strict=True))
    splits = {split: [pairs[i] for i in part] for split, part in _parts(len(pairs), config).items()}
    return Scenes(BUNDLED, sha256, splits, model)


def _templates() -> list[NDArray[np.float32]]:
    """Return a scan and the shares of grey and white matter of each voxel, from 0 to 1."""
    try:
        from nilearn import datasets  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled images come with a library: pip install nilearn; or use --data.")
    images = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    return [np.asarray(image.get_fdata(dtype=np.float32)) for image in images]


def _tissues(volume: Tensor) -> Tensor:
    """Return the likeliest class (N, H, W) where channels 1 and 2 are grey and white matter."""
    grey, white = volume[:, 1], volume[:, 2]
    # What is neither grey nor white is background, so the three shares sum to 1.
    return torch.stack((1 - grey - white, grey, white), dim=1).argmax(1).to(torch.uint8)


def _parts(count: int, config: Config) -> dict[str, list[int]]:
    """Return the slices of each split: test and val in the middle, train on both sides."""
    # A random split would put neighbours of a test slice into training, and neighbours are almost
    # the same picture. The middle of the brain has the most tissue, so it is what is scored.
    test, val = round(count * config.test_fraction), round(count * config.val_fraction)
    middle, gap = count // 2, config.gap
    return {
        "train": [*range(middle - 2 * gap - val), *range(middle + test + gap, count)],
        "val": [*range(middle - gap - val, middle - gap)],
        "test": [*range(middle, middle + test)],
    }


def _folder(config: Config, path: Path, model: ModelConfig) -> Scenes:
    """Return the images of a folder; an image's own folder, or else its name, decides its split."""
    top = _subfolder(path, "images")
    found = list_images(top)
    images, masks = found.files, _masks(_subfolder(path, "masks"), found.files, top)
    survey(images).say(model.in_channels)
    names = [image.relative_to(top) for image in images]
    named = split_folders(top, {name.parts[0] for name in names if len(name.parts) > 1})
    # A split that no folder names is cut from train.
    left = shares_left(named.values(), config.val_fraction, config.test_fraction)
    splits: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for image, mask, name in zip(images, masks, names, strict=True):
        inside = name.relative_to(name.parts[0]) if named and len(name.parts) > 1 else name
        # Slices of one patient look alike: in two splits, training would almost show the test
        # slices.
        group = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        split = named.get(name.parts[0], "train")
        cut = split_of(group, *left) if split == "train" else split
        splits[cut].append(Files(image, mask))
    files = [*images, *masks]
    sha256 = files_digest(files, [str(file.relative_to(path)) for file in files])
    return Scenes(path.name, sha256, splits, model)


def _stored(config: Config, path: Path, model: ModelConfig) -> Scenes:
    """Return the images that rows hold; the name of a file decides the split of its rows."""
    rows = list(stored_masks(path))
    images = [image for _, image, _ in rows]
    survey(images).say(model.in_channels)
    left = shares_left({split for split, *_ in rows}, config.val_fraction, config.test_fraction)
    if any(left):
        note(
            f"{path}: each row of train is put into a split by itself. If several rows show one "
            "object, such as slices of a patient, name files train, val and test instead."
        )
    splits: dict[str, list[Source]] = {split: [] for split in SPLITS}
    keys = zip(digests_of(images), digests_of([mask for *_, mask in rows]), strict=True)
    names = []
    for (split, image, mask), (key, of_mask) in zip(rows, keys, strict=True):
        cut = split_of(key, *left) if split == "train" else split
        splits[cut].append(Files(image, mask))
        names.append(f"{split}\0{key}\0{of_mask}\0")
    return Scenes(path.name, digest(*(name.encode() for name in names)), splits, model)


def _subfolder(path: Path, name: str) -> Path:
    """Return the folder of a name in any case, or stop."""
    folders = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    found = [each for each in folders if each.name.lower() == name]
    if len(found) != 1:
        here = shown(path, folders) if folders else "none"
        fail(f"{path / name} is not a folder with {name}; the folders of {path} are: {here}.")
    return found[0]


def _masks(folder: Path, images: list[Path], top: Path) -> list[Path]:
    """Return the mask of each image, which has its name and a suffix of its own; or stop."""
    found = list_files(folder, SUFFIXES)
    masks = {file.relative_to(folder).with_suffix(""): file for file in found.files}
    names = [image.relative_to(top).with_suffix("") for image in images]
    for files, keys in ((found.files, masks), (images, set(names))):
        if len(keys) < len(files):
            fail(f"{files[0].parent} has files that differ only in their suffix: rename one.")
    for image, name in zip(images, names, strict=True):
        if name not in masks:
            near = "; ".join(found.left_out())
            add = folder / name.with_suffix(".png")
            fail(f"{image} has no mask: add {add}{f' ({near})' if near else ''}.")
    loose = sorted(masks[name] for name in masks.keys() - set(names))
    if loose:
        note(f"{folder}: {len(loose):,} masks have no image: {shown(folder, loose)}.")
    return [masks[name] for name in names]


def _read(files: Files, model: ModelConfig) -> Pair:
    """Return an image and its mask from their files, or stop if they do not fit."""
    size, (image, mask) = (model.image_height, model.image_width), files
    # Nearest-neighbour scaling keeps class numbers whole: a mean of two classes would be a third.
    pixels, classes = read_image(image, size, model.in_channels), read_mask(mask, size, image)
    largest, most = int(torch.where(classes == VOID, 0, classes).max()), model.num_classes - 1
    if largest > most:
        fail(f"{printed(mask)} holds class {largest}, and the model has classes 0 to {most}.")
    return pixels, classes


def batch_at(scenes: Scenes, config: Config, position: int, count: int, seed: int) -> Pair:
    """Return the training samples at some positions of the order: images and masks.

    The position alone decides how a sample is cut and turned, so a resumed run repeats it.
    """
    samples = samples_at(position, count, len(scenes.splits["train"]), seed)
    pairs = []
    for place, (_, index) in enumerate(samples, start=position):
        # A generator per sample makes its augmentation independent of the batch size and of
        # resuming.
        generator = torch.Generator().manual_seed((seed * 1_000_003 + place) % 2**63)
        pairs.append(_augmented(*scenes.pair("train", index), config, generator))
    images, masks = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(masks)  # (B, C, H, W), (B, H, W)


def _augmented(
    image: Tensor, mask: Tensor, config: Config, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return an image (C, H, W) and its mask (H, W) cut and turned alike at random."""
    height, width = mask.shape
    side = config.crop or max(height, width)
    # Image and mask are one tensor here, so that each step treats them alike.
    both = torch.cat((image, mask[None].float()))  # (C + 1, H, W)
    both = _cut(_cut(both, 1, side, generator), 2, side, generator)
    mirror, flip, turn = (torch.rand(3, generator=generator) < 0.5).tolist()
    # Three draws are made under all settings, so turning one on leaves the others unchanged.
    if mirror and config.augmentation != "none":
        both = both.flip(2)
    if config.augmentation == "dihedral":
        both = both.flip(1) if flip else both
        # Only crops are square: a whole image would no longer fit its batch after a turn.
        both = both.transpose(1, 2) if turn and config.crop else both
    return both[:-1], both[-1].long()


def _cut(pixels: Tensor, dim: int, side: int, generator: torch.Generator) -> Tensor:
    """Return a random window of one dimension."""
    room = max(0, pixels.size(dim) - side)
    start = int(torch.randint(room + 1, (), generator=generator))
    return pixels.narrow(dim, start, min(side, pixels.size(dim)))


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: bundled slices)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    scenes = load_scenes(load_config(Config, "data", args.size), args.data, model)
    print(f"{scenes.name}, sha256 {scenes.sha256}")
    if args.data and has_rows(args.data):
        print(*list_pictures(args.data).left_out(), sep="\n")
    elif args.data:
        found = list_images(_subfolder(args.data, "images"))
        print(*survey(found.files).lines(), *found.left_out(), sep="\n")
    for split in SPLITS:
        _, masks = scenes.batch(split, range(len(scenes.splits[split])))
        counts = torch.bincount(masks[masks >= 0], minlength=model.num_classes)
        # Shares of classes show a mask that was saved with colours or with other numbers.
        shares = ", ".join(f"{count / max(1, int(counts.sum())):.1%}" for count in counts.tolist())
        print(f"{split:>5}: {len(masks):,} images; pixels of each class {shares}")


if __name__ == "__main__":
    run(main)
