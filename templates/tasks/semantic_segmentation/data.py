"""Images with a class for each pixel: slices of an average brain, or your own images and masks.

    python data.py --data PATH      shows what training will read

PATH is a folder with two folders in it, `images` and `masks`. A mask is a PNG of the same name as
its image, whose pixels are the numbers of classes: 0 is the background, 255 does not count. All
images in one folder below `images`, such as the slices of a patient, go into one split.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, files_digest, split_of
from runtime.errors import fail, run
from runtime.images import image_files, read_image
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples

BUNDLED = "mni152_tissues"
BUNDLED_CLASSES = ("background", "grey matter", "white matter")
LEAST_TISSUE = 0.02  # least share of tissue in a slice; emptier ones teach little but background
VOID = 255  # value of mask pixels that neither train nor count in scores


@dataclass(frozen=True)
class Config:
    """How images become samples."""

    crop: int = 0
    """Side of the random square that a training sample is cut to, in pixels; 0 leaves it whole."""
    augmentation: str = "mirror"
    """none; mirror: left and right swapped at random; dihedral: up and down too, squares turned."""
    val_fraction: float = 0.1
    """Share of the images on which training is watched."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""
    gap: int = 6
    """Slices of the bundled volume left out between splits, because neighbours look alike."""


Pair = tuple[Tensor, Tensor]
Source = Pair | tuple[Path, Path]


@dataclass(frozen=True)
class Scenes:
    """Images and masks in three splits.

    Attributes:
        name: What they are called in reports.
        sha256: Digest of them all.
        splits: Images and masks by split, in memory or as files.
        model: Says at which size and with how many channels images are read.
    """

    name: str
    sha256: str
    splits: dict[str, list[Source]]
    model: ModelConfig

    def pair(self, split: str, index: int) -> Pair:
        """Return an image (C, H, W), values from -1 to 1, and its mask (H, W), -1 for void."""
        image, mask = self.splits[split][index]
        if isinstance(image, Path) or isinstance(mask, Path):
            image, mask = _read(Path(str(image)), Path(str(mask)), self.model)
        classes = mask.long()
        return image.float() / 127.5 - 1, torch.where(classes == VOID, -1, classes)

    def batch(self, split: str, indices: range) -> Pair:
        """Return some images (B, C, H, W) and masks (B, H, W)."""
        images, masks = zip(*(self.pair(split, i) for i in indices), strict=True)
        return torch.stack(images), torch.stack(masks)


def load_scenes(config: Config, path: Path | None, model: ModelConfig) -> Scenes:
    """Return the images of a folder, or the bundled ones, or stop where they do not fit."""
    scenes = bundled(config, model) if path is None else _folder(config, path, model)
    sizes = {split: len(scenes.splits[split]) for split in SPLITS}
    require_samples(scenes.name, "images, or folders of images,", sizes)
    return scenes


def bundled(config: Config, model: ModelConfig) -> Scenes:
    """Return axial slices of the MNI152 average brain, each pixel with its likeliest tissue.

    One averaged brain shows whether the code learns, not how well a model would do on patients. The
    template belongs to McGill University and has its own licence; nilearn ships it.
    """
    try:
        from nilearn import datasets  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled images come with a library: pip install nilearn.")
    if model.num_classes < len(BUNDLED_CLASSES):
        fail(f"{BUNDLED} has {len(BUNDLED_CLASSES)} classes, and the model {model.num_classes}.")
    images = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    arrays = [np.asarray(image.get_fdata(dtype=np.float32)) for image in images]
    # The digest is of values rounded to bytes: last bits may differ between versions of nilearn.
    sha256 = digest(*((array * 255).round().astype(np.uint8).tobytes() for array in arrays))
    # From (left to right, back to front, bottom to top) to slices seen from above, front first.
    volume = torch.from_numpy(np.stack(arrays, axis=-1)).permute(2, 3, 1, 0).flip(2)
    tissue = _tissues(volume).gt(0).float().mean((1, 2))
    size = (model.image_height, model.image_width)
    slices = F.interpolate(volume[tissue > LEAST_TISSUE], size=size, mode="area")
    scans = (slices[:, :1] * 255).round().to(torch.uint8).expand(-1, model.in_channels, -1, -1)
    pairs: list[Source] = list(zip(scans, _tissues(slices), strict=True))
    splits = {split: [pairs[i] for i in part] for split, part in _parts(len(pairs), config).items()}
    return Scenes(BUNDLED, sha256, splits, model)


def _tissues(volume: Tensor) -> Tensor:
    """Return the likeliest class (N, H, W) where channels 1 and 2 are grey and white matter."""
    grey, white = volume[:, 1], volume[:, 2]
    return torch.stack((1 - grey - white, grey, white), dim=1).argmax(1).to(torch.uint8)


def _parts(count: int, config: Config) -> dict[str, list[int]]:
    """Return the slices of each split: test and val in the middle, train on both sides."""
    test, val = round(count * config.test_fraction), round(count * config.val_fraction)
    middle, gap = count // 2, config.gap
    return {
        "train": [*range(middle - 2 * gap - val), *range(middle + test + gap, count)],
        "val": [*range(middle - gap - val, middle - gap)],
        "test": [*range(middle, middle + test)],
    }


def _folder(config: Config, path: Path, model: ModelConfig) -> Scenes:
    """Return the images of a folder; an image's own folder, or else its name, decides its split."""
    images = image_files(path / "images")
    names = [image.relative_to(path / "images").with_suffix(".png") for image in images]
    masks = [path / "masks" / name for name in names]
    for image, mask in zip(images, masks, strict=True):
        if not mask.is_file():
            fail(f"{image} has no mask: {mask} does not exist.")
    splits: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for image, mask, name in zip(images, masks, names, strict=True):
        # Slices of one patient look alike: apart, test slices would be almost known from training.
        group = name.parts[0] if len(name.parts) > 1 else name.stem
        splits[split_of(group, config.val_fraction, config.test_fraction)].append((image, mask))
    files = [*images, *masks]
    sha256 = files_digest(files, [str(file.relative_to(path)) for file in files])
    return Scenes(path.name, sha256, splits, model)


def _read(image: Path, mask: Path, model: ModelConfig) -> Pair:
    """Return an image and its mask from their files, or stop where they do not fit."""
    size = (model.image_height, model.image_width)
    pixels, classes = (
        read_image(image, size, model.in_channels),
        read_image(mask, size, 1, exact=True),
    )
    if classes.size(0) != 1:
        fail(f"{mask} holds colours: a mask is a PNG with the number of a class in each pixel.")
    largest = int(torch.where(classes == VOID, 0, classes).max())
    if largest >= model.num_classes:
        fail(
            f"{mask} holds class {largest}, and the model has classes 0 to {model.num_classes - 1}."
        )
    return pixels, classes[0]


def batch_at(scenes: Scenes, config: Config, position: int, count: int, seed: int) -> Pair:
    """Return the training samples at some positions of the order: images and masks.

    The position alone decides how a sample is cut and turned, so a resumed run repeats it.
    """
    samples = samples_at(position, count, len(scenes.splits["train"]), seed)
    pairs = []
    for place, (_, index) in enumerate(samples, start=position):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + place) % 2**63)
        pairs.append(_augmented(*scenes.pair("train", index), config, generator))
    images, masks = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(masks)


def _augmented(
    image: Tensor, mask: Tensor, config: Config, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return an image (C, H, W) and its mask (H, W) cut and turned alike at random."""
    height, width = mask.shape
    side = config.crop or max(height, width)
    # Image and mask are one tensor here, so that no step can treat them differently.
    both = torch.cat((image, mask[None].float()))
    both = _cut(_cut(both, 1, side, generator), 2, side, generator)
    mirror, flip, turn = (torch.rand(3, generator=generator) < 0.5).tolist()
    if mirror and config.augmentation != "none":
        both = both.flip(2)
    if config.augmentation == "dihedral":
        both = both.flip(1) if flip else both
        # Only crops are square: a whole image, turned, would not fit the others of its batch.
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
    for split in SPLITS:
        _, masks = scenes.batch(split, range(len(scenes.splits[split])))
        counts = torch.bincount(masks[masks >= 0], minlength=model.num_classes)
        shares = ", ".join(f"{count / max(1, int(counts.sum())):.1%}" for count in counts.tolist())
        print(f"{split:>5}: {len(masks):,} images; pixels of each class {shares}")


if __name__ == "__main__":
    run(main)
