"""Image files: listed from folders, read at one size, and cached while memory allows."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.distributed import world_size
from runtime.errors import fail

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
KEPT_BYTES = 2**31  # cache for decoded images; with more, later epochs read fewer files again
THREADS = min(16, os.cpu_count() or 1)  # decoding releases Python's lock


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted by path, or stop."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        fail(f"{folder} is not a folder with images ({', '.join(SUFFIXES)}).")
    return files


def read_image(path: Path, size: tuple[int, int], channels: int, *, exact: bool = False) -> Tensor:
    """Return an image as (channels, height, width), uint8, or stop.

    A photograph is first turned upright by its EXIF data. Then the image is scaled until it covers
    the size, and its middle is cut out.

    Args:
        path: The file.
        size: Height and width.
        channels: 1 for grey, 3 for colours.
        exact: Whether pixels are class numbers, which scaling must repeat and not mix.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if not exact:
                # Of 16 bits per pixel, the upper 8 hold the brightness that a screen shows.
                if image.mode.startswith("I"):
                    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
                image = image.convert("L" if channels == 1 else "RGB")
            method = Image.Resampling.NEAREST if exact else Image.Resampling.BILINEAR
            pixels = np.array(_cropped(image, size, method), dtype=np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        fail(f"{path} cannot be read as an image: {error}.")
    array = torch.from_numpy(pixels)
    return array.unsqueeze(0) if array.dim() == 2 else array.permute(2, 0, 1).contiguous()


def _cropped(image: Any, size: tuple[int, int], method: Any) -> Any:
    """Return the middle of a PIL image, scaled until it covers the size."""
    height, width = size
    # The side that is too short for this shape gets its exact length, and the other one is cropped.
    covering = (max(width, image.width * height // image.height),
                max(height, image.height * width // image.width))  # fmt: skip
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    return image.resize(covering, method).crop((left, top, left + width, top + height))


class ImageFiles:
    """Images that several threads read on demand, cached while there is room.

    The others are read again in each epoch, so a data set may be larger than the memory.
    """

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], channels: int) -> None:
        self._paths, self._size, self._channels = paths, size, channels
        self._pool = ThreadPoolExecutor(THREADS)
        self._room = KEPT_BYTES // (channels * size[0] * size[1])  # images
        self._kept: dict[int, Tensor] = {}
        self._coming: dict[int, Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def expect(self, indices: Iterable[int]) -> None:
        """Start reading the images that are needed next, and cancel those of an earlier call."""
        needed = {i for i in indices if i not in self._kept}
        for index in self._coming.keys() - needed:
            self._coming.pop(index).cancel()
        for index in needed - self._coming.keys():
            self._coming[index] = self._pool.submit(
                read_image, self._paths[index], self._size, self._channels
            )

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        """Return images (B, channels, height, width), uint8, or stop if one cannot be read."""
        self.expect(indices)
        images = {
            i: self._kept[i] if i in self._kept else self._coming[i].result() for i in indices
        }
        for index in list(images)[: max(0, self._room - len(self._kept))]:
            self._kept[index] = images[index]
        return torch.stack([images[i] for i in indices])


def position_after(position: int, count: int, batch_size: int) -> int:
    """Return the position that this process reads next, in this update or the next one.

    Processes share the samples of an update, so each one skips the shares of the others.
    """
    share, done = batch_size // world_size(), position + count
    return done if done % share else done + batch_size - share


def write_image(path: Path, pixels: Tensor) -> None:
    """Write (channels, height, width), values from 0 to 1, as a PNG file."""
    from PIL import Image

    array = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(path)
