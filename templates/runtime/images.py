"""Image files: listed from folders, read at one size, and cached while memory allows."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from runtime.distributed import world_size
from runtime.errors import fail
from runtime.listing import Listing, list_files, say_unread
from runtime.pixels import THREADS, Picture, covered, eight_bits, opened, survey

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".apng"),
    *(".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Pictures in formats that Pillow alone does not read, or not as pixels of 8 bits.
UNREAD = (
    *(".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".svg", ".eps", ".psd", ".ico", ".tga"),
    *(
        ".dng",
        ".cr2",
        ".nef",
        ".arw",
        ".raw",
        ".exr",
        ".hdr",
        ".dcm",
        ".nii",
        ".npy",
        ".npz",
        ".mat",
    ),
)
KEPT_BYTES = 2**31  # cache for decoded images; with more, later epochs read fewer files again


def list_images(folder: Path) -> Listing:
    """Return the image files in a folder and its subfolders, and what is left out; or stop."""
    if not folder.is_dir():
        fail(f"{folder} is not a folder with images ({', '.join(SUFFIXES)}).")
    found = list_files(folder, SUFFIXES)
    if not found.files:
        left_out = "; ".join(found.left_out())
        fail(
            f"{folder} is not a folder with images ({', '.join(SUFFIXES)})"
            f"{'; ' if left_out else ''}{left_out}."
        )
    say_unread(found, UNREAD, "Convert them to PNG or JPEG.")
    return found


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted by path, or stop."""
    return list_images(folder).files


def read_image(path: Picture, size: tuple[int, int], channels: int) -> Tensor:
    """Return an image as (channels, height, width), uint8, or stop.

    A photograph is first turned upright by its EXIF data. Then the image is scaled until it covers
    the size, and its middle is cut out.

    Args:
        path: The file.
        size: Height and width.
        channels: 1 for grey, 3 for colours.
    """
    from PIL import Image

    with opened(path) as file:
        image = covered(eight_bits(file, channels), size, Image.Resampling.BILINEAR)
        array = torch.from_numpy(np.array(image, dtype=np.uint8))
    return array.unsqueeze(0) if array.dim() == 2 else array.permute(2, 0, 1).contiguous()


def read_images(path: Path, size: tuple[int, int], channels: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the pixels of an image file, or of each image of a folder."""
    paths = image_files(path) if path.is_dir() else [path]
    # A grey model reads colours as grey, which what it prints would not show.
    survey(paths).say(channels)
    # Files are read one by one, so the first line appears at once.
    for file in paths:
        yield str(file), read_image(file, size, channels)


class ImageFiles:
    """Images that several threads read on demand, cached while there is room.

    The others are read again in each epoch, so a data set may be larger than the memory.
    """

    def __init__(self, paths: Sequence[Picture], size: tuple[int, int], channels: int) -> None:
        self.paths, self._size, self._channels = paths, size, channels
        self._pool = ThreadPoolExecutor(THREADS)
        self._room = KEPT_BYTES // (channels * size[0] * size[1])  # images
        self._kept: dict[int, Tensor] = {}
        self._coming: dict[int, Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def expect(self, indices: Iterable[int]) -> None:
        """Start reading the images that are needed next, and cancel those of an earlier call."""
        needed = {i for i in indices if i not in self._kept}
        for index in self._coming.keys() - needed:
            self._coming.pop(index).cancel()
        for index in needed - self._coming.keys():
            self._coming[index] = self._pool.submit(
                read_image, self.paths[index], self._size, self._channels
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
