"""Read images with their texts: glyphs and their Unicode names, or your own images and captions.

    python data.py --data PATH      shows what training will read

PATH is a folder with a metadata.jsonl, metadata.csv or metadata.parquet. Each row has a
`file_name`, which is an image in the folder, and a `text`. An image may have several rows. Folders
named train, val and test hold these splits, each in this form; a missing one is cut from train. Or
PATH is a Parquet file with columns of images and `text`, or a folder of them, as on the Hub.
"""

import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model import END_OF_TEXT
from model import Config as ModelConfig
from runtime.captions import read_captions
from runtime.digests import digest, split_of
from runtime.errors import fail, run
from runtime.images import read_image
from runtime.lowercase import open_lowercase, train_lowercase
from runtime.options import data_options
from runtime.order import samples_at
from runtime.pixels import Picture, survey
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left
from runtime.stored import digests_of, list_pictures
from runtime.tokenizer import END_OF_TEXT as END_OF_TEXT_NAME

BUNDLED = "dejavu_glyphs"
FONT = "fonts/ttf/DejaVuSans.ttf"  # path in matplotlib's data folder
FONT_SHARE = 0.75  # font size relative to the image's side; a larger font cuts off wide glyphs


@dataclass(frozen=True)
class Config:
    """How images and texts become samples."""

    shift: int = 16
    """Largest random shift of a training image in each direction, in pixels; 0 for none."""
    val_fraction: float = 0.05
    """Share of the images for validation during training."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


@dataclass(frozen=True)
class Pair:
    """An image with a text.

    Attributes:
        image: Its pixels (C, H, W), uint8, or its file.
        name: The image's name; pairs of one image share it.
        text: The text.
        split: The split of its folder; None if no folder names one.
    """

    image: Tensor | Picture
    name: str
    text: str
    split: str | None = None


class Captions:
    """Tokenizer of lower-cased text by byte-level BPE; it appends END_OF_TEXT to each text."""

    def __init__(self, json: str, place: str) -> None:
        """Read the text of a tokenizer.json; errors name the place."""
        self.json = json
        self._library = open_lowercase(json, place, [END_OF_TEXT_NAME])
        self.vocab_size = int(self._library.get_vocab_size())

    def rows(self, texts: Sequence[str], longest: int) -> Tensor:
        """Return token ids (B, T): texts are cut to `longest` tokens, and padded."""
        self._library.enable_truncation(longest)
        # Rows are padded to the longest of the batch. The model takes the vector at the first
        # END_OF_TEXT, so padding after it changes nothing.
        self._library.enable_padding(pad_id=END_OF_TEXT, pad_token=END_OF_TEXT_NAME)
        return torch.tensor([row.ids for row in self._library.encode_batch(list(texts))])


def train_captions(texts: Iterable[str], vocab_size: int) -> Captions:
    """Return a tokenizer that is trained on some texts."""
    single = f"$A {END_OF_TEXT_NAME}"
    json = train_lowercase(texts, vocab_size, [END_OF_TEXT_NAME], single=single)
    return Captions(json, "the tokenizer")


@dataclass(frozen=True)
class Pairs:
    """Images and texts in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all of them.
        splits: The pairs of each split.
        tokenizer: Turns texts into rows of tokens.
        model: Sets the size and the channels of images.
    """

    name: str
    sha256: str
    splits: dict[str, list[Pair]]
    tokenizer: Captions
    model: ModelConfig

    def images(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the images of some pairs (B, C, H, W), values from -1 to 1."""
        size, channels = (self.model.image_size,) * 2, self.model.in_channels
        pixels = [
            p.image if isinstance(p.image, Tensor) else read_image(p.image, size, channels)
            for p in pairs
        ]
        # Files are decoded here, not when the data is loaded: a large folder does not fit in
        # memory.
        return torch.stack(pixels).float() / 127.5 - 1  # (B, C, H, W)

    def tokens(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the texts of some pairs as tokens (B, T)."""
        return self.tokenizer.rows([pair.text for pair in pairs], self.model.max_seq_len)


def load_pairs(
    config: Config, path: Path | None, model: ModelConfig, checkpoint: Path | None = None
) -> Pairs:
    """Return the pairs of a folder, or the bundled ones, or stop if they do not fit.

    Args:
        config: Sizes of the splits.
        path: The folder; None for the bundled set.
        model: Sets the size of images and the length of texts.
        checkpoint: The folder with the tokenizer of a trained model; None to train a tokenizer on
            the training texts.
    """
    pairs, sha256 = glyphs(model) if path is None else _folder(path, model.in_channels)
    # A split that no folder names is cut from train.
    named = {pair.split for pair in pairs}
    left = shares_left(named, config.val_fraction, config.test_fraction)
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    # The image's name decides the split, so that all texts of an image are in the same one.
    for pair in pairs:
        own = pair.split or "train"
        splits[split_of(pair.name, *left) if own == "train" else own].append(pair)
    name = BUNDLED if path is None else path.name
    # A contrast needs at least two pairs: one text is right, and the other is wrong.
    sizes = {split: len(each) for split, each in splits.items()}
    require_samples(name, "pairs of image and text", sizes, least=2)
    # Texts of val and test would give the tokenizer entries for words that training never saw.
    tokenizer = _tokenizer(checkpoint, (pair.text for pair in splits["train"]), model)
    return Pairs(name, sha256, splits, tokenizer, model)


def _tokenizer(checkpoint: Path | None, texts: Iterable[str], model: ModelConfig) -> Captions:
    """Return the tokenizer of a checkpoint, or a new one that is trained on texts; or stop."""
    if checkpoint is None:
        return train_captions(texts, model.vocab_size)
    # A trained model keeps its own tokenizer: other ids would select other embeddings.
    file = checkpoint / "tokenizer.json"
    tokenizer = Captions(file.read_text(encoding="utf-8"), str(file))
    if tokenizer.vocab_size > model.vocab_size:
        fail(
            f"the tokenizer of {checkpoint} has {tokenizer.vocab_size:,} entries, but the model "
            f"has {model.vocab_size:,}: choose the checkpoint of this model."
        )
    return tokenizer


def glyphs(model: ModelConfig) -> tuple[list[Pair], str]:
    """Return each visible character of DejaVu Sans with its Unicode name, and their digest.

    The font is under the licence of Bitstream Vera, the names under that of Unicode.

    Some characters look exactly alike, such as the Latin, the Greek and the Cyrillic capital A.
    They count as one image with several texts: they go to one split, and each name is right.
    """
    try:
        from matplotlib import get_data_path
        from matplotlib.ft2font import FT2Font
    except ImportError:
        fail("the bundled glyphs come with a library: pip install matplotlib.")
    # The font comes with matplotlib, so each machine draws the same glyphs without a download.
    path, side = str(Path(get_data_path()) / FONT), model.image_size
    first: dict[bytes, str] = {}
    pairs = []
    # Code points are sorted, so that the digest does not depend on the order in the font.
    for code, pixels in _drawn(path, sorted(FT2Font(path).get_charmap()), side):
        text = unicodedata.name(chr(code), "")
        # Blanks have a name but no pixels, so an image cannot match their text.
        if text and pixels.any():
            # The name of the first character with these pixels stands for all that look alike.
            name = first.setdefault(pixels.tobytes(), f"U+{code:04X} {chr(code)}")
            array = torch.from_numpy(pixels).expand(model.in_channels, side, side)  # (C, H, W)
            pairs.append(Pair(array, name, text))
    texts = "\n".join(pair.text for pair in pairs)
    return pairs, digest(*first, texts.encode())


def _drawn(font: str, codes: Iterable[int], side: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield characters of a font with their pixels (side, side), white on black."""
    from PIL import Image, ImageDraw, ImageFont

    # The basic layout does not depend on an optional library for complex scripts.
    layout = ImageFont.Layout.BASIC
    drawing_font = ImageFont.truetype(font, round(FONT_SHARE * side), layout_engine=layout)
    for code in codes:
        image = Image.new("L", (side, side))
        ImageDraw.Draw(image).text((side / 2, side / 2), chr(code), 255, drawing_font, anchor="mm")
        yield code, np.array(image)


def _folder(path: Path, channels: int) -> tuple[list[Pair], str]:
    """Return the pairs of a folder and their digest, or stop."""
    found = read_captions(path)
    # An image with several texts is hashed once.
    names = sorted(found.files)
    files = [found.files[name] for name in names]
    survey(files).say(channels)
    about = [file.relative_to(path).as_posix() for file in found.metadata]
    pairs = [
        Pair(found.files[name], name, text, found.splits.get(name)) for name, text in found.rows
    ]
    # Rows have no metadata file, so their texts are digested themselves.
    texts = "" if about else "\0".join(text for _, text in found.rows)
    keys = digests_of([*found.metadata, *files])
    parts = zip([*about, *names], keys, strict=True)
    sha256 = digest(
        *(f"{name}\0".encode() + bytes.fromhex(key) for name, key in parts), texts.encode()
    )
    return pairs, sha256


def batch_at(
    pairs: Pairs, config: Config, position: int, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the training pairs at some positions of the order: images and tokens.

    The position alone decides how an image is moved, so a resumed run and any number of processes
    move it alike.
    """
    # Two pairs of one image may be in one batch; the loss then counts one of its texts as wrong.
    train = pairs.splits["train"]
    chosen = [train[index] for _, index in samples_at(position, count, len(train), seed)]
    places = range(position, position + count)
    return _shifted(pairs.images(chosen), config.shift, places, seed), pairs.tokens(chosen)


def _shifted(images: Tensor, most: int, places: Sequence[int], seed: int) -> Tensor:
    """Return images (B, C, H, W) moved at random; the gap is filled with pixels of the edge."""
    # Images are shifted but not mirrored: a mirrored glyph, or "left" in a text, would be wrong.
    if not most:
        return images
    # A text stays true if its subject moves. Pixels of the edge fill the gap, because black borders
    # would show the model how far each image moved.
    size, padded = images.size(2), F.pad(images, (most,) * 4, mode="replicate")
    # A seed per position keeps the shifts the same for any number of processes.
    moves = (random.Random(f"{seed} {place}").choices(range(2 * most + 1), k=2) for place in places)
    moved = (p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, moves, strict=True))
    return torch.stack(list(moved))


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: bundled glyphs)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    pairs = load_pairs(load_config(Config, "data", args.size), args.data, model)
    print(f"{pairs.name}, sha256 {pairs.sha256}")
    print(f"tokenizer: {pairs.tokenizer.vocab_size:,} entries, of the training texts")
    if args.data:
        files = [*read_captions(args.data).files.values()]
        print(*survey(files).lines(), *list_pictures(args.data).left_out(), sep="\n")
    for split, each in pairs.splits.items():
        images = len({pair.name for pair in each})
        print(f"{split:>5}: {len(each):,} pairs of {images:,} images, such as {each[0].text!r}")


if __name__ == "__main__":
    run(main)
