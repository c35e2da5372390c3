"""Images from files, cut into splits that do not move when files are added."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from runtime.errors import fail

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def image_files(folder: Path) -> list[Path]:
    """Return the image files below a folder in the order of their paths, or stop."""
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not found:
        fail(f"{folder} is no folder with images ({', '.join(SUFFIXES)}).")
    return found


def read_image(path: Path, size: tuple[int, int], channels: int, *, exact: bool = False) -> Tensor:
    """Return an image as (channels, height, width), uint8, or stop.

    Args:
        path: The file.
        size: Height and width: the middle of the image, scaled to cover them.
        channels: 1 for grey, 3 for colours.
        exact: Whether pixels are numbers of classes, which must not be mixed when scaling.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image = file if exact else file.convert("L" if channels == 1 else "RGB")
            method = Image.Resampling.NEAREST if exact else Image.Resampling.BILINEAR
            image = ImageOps.fit(image, (size[1], size[0]), method)
            pixels = np.array(image, dtype=np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        fail(f"{path} cannot be read as an image: {error}.")
    array = torch.from_numpy(pixels)
    return array.unsqueeze(0) if array.dim() == 2 else array.permute(2, 0, 1).contiguous()


def write_image(path: Path, pixels: Tensor) -> None:
    """Write (channels, height, width), values from 0 to 1, as a PNG file."""
    from PIL import Image

    array = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(path)


def split_of(name: str, val_fraction: float, test_fraction: float) -> str:
    """Return the split of a sample by a digest of its name, which keeps it there for good."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if place < test_fraction:
        return "test"
    return "val" if place < test_fraction + val_fraction else "train"


def files_digest(paths: Iterable[Path], names: Sequence[str]) -> str:
    """Return the sha256 of the names and the bytes of some files."""
    total = hashlib.sha256()
    for path, name in zip(paths, names, strict=True):
        total.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
