"""Images with their texts: glyphs and their Unicode names, or your own images and captions.

    python data.py --data PATH      shows what training will read

PATH is a folder with a metadata.jsonl, metadata.csv or metadata.parquet in it, whose rows have a
`file_name`, an image below the folder, and a `text`. An image may have several rows.
"""

import argparse
import random
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import END_OF_TEXT
from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.images import files_digest, read_image, split_of
from runtime.options import existing
from runtime.order import samples_at
from runtime.records import SUFFIXES, read_records
from runtime.report import digest
from runtime.settings import load_config
from runtime.tokenizer import END_OF_TEXT as END_OF_TEXT_NAME
from runtime.tokenizer import train_bpe

SPLITS = ("train", "val", "test")
BUNDLED = "dejavu_glyphs"
FONT = "fonts/ttf/DejaVuSans.ttf"  # below matplotlib's data
FONT_SHARE = 0.75  # of the image's side


@dataclass(frozen=True)
class Config:
    """How images and texts become samples."""

    shift: int = 16
    """Pixels, at most, by which a training image is moved each way at random."""
    val_fraction: float = 0.05
    """Share of the images on which training is watched."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


@dataclass(frozen=True)
class Pair:
    """An image with a text.

    Attributes:
        image: Its pixels (C, H, W), uint8, or its file.
        name: What the image is called; pairs of one image have the same.
        text: The text.
    """

    image: Tensor | Path
    name: str
    text: str


class Captions:
    """Texts to rows of tokens: byte-level BPE of lower-cased text, with an END_OF_TEXT."""

    def __init__(self, json: str, place: str) -> None:
        """Take the text of a tokenizer.json; the place is what an error names."""
        from tokenizers import Tokenizer

        self.json = json
        try:
            self._library: Any = Tokenizer.from_str(json)
        except Exception as error:  # the library raises no narrower class
            fail(f"{place} is no tokenizer: {error}.")
        if self._library.token_to_id(END_OF_TEXT_NAME) != END_OF_TEXT:
            fail(f"{place} does not begin with {END_OF_TEXT_NAME}: make it with train.py.")
        self._library.encode_special_tokens = True  # text that says <|endoftext|> ends nothing
        self.vocab_size = int(self._library.get_vocab_size())

    def rows(self, texts: Sequence[str], longest: int) -> Tensor:
        """Return token ids (B, T); what exceeds `longest` is cut, T is that of the longest text."""
        self._library.enable_truncation(longest)
        self._library.enable_padding(pad_id=END_OF_TEXT, pad_token=END_OF_TEXT_NAME)
        return torch.tensor([row.ids for row in self._library.encode_batch(list(texts))])


def train_captions(texts: Iterable[str], vocab_size: int) -> Captions:
    """Return the tokenizer of some texts."""
    from tokenizers import normalizers, processors

    steps = [normalizers.NFC(), normalizers.Lowercase(), normalizers.Prepend(" ")]
    normalizer = normalizers.Sequence(steps)
    library = train_bpe(map(normalizer.normalize_str, texts), vocab_size)
    library.normalizer = normalizer
    library.post_processor = processors.TemplateProcessing(
        single=f"$A {END_OF_TEXT_NAME}", special_tokens=[(END_OF_TEXT_NAME, END_OF_TEXT)]
    )
    return Captions(library.to_str(), "the tokenizer")


@dataclass(frozen=True)
class Pairs:
    """Images and texts in three splits.

    Attributes:
        name: What they are called in reports.
        sha256: Digest of them all.
        splits: The pairs of each split.
        tokenizer: Makes rows of tokens of texts.
        model: Says to which size and channels images are brought.
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
            read_image(p.image, size, channels) if isinstance(p.image, Path) else p.image
            for p in pairs
        ]
        return torch.stack(pixels).float() / 127.5 - 1

    def tokens(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the texts of some pairs as tokens (B, T)."""
        return self.tokenizer.rows([pair.text for pair in pairs], self.model.max_seq_len)


def load_pairs(
    config: Config, path: Path | None, model: ModelConfig, checkpoint: Path | None = None
) -> Pairs:
    """Return the pairs of a folder, or the bundled ones, or stop where they do not fit.

    Args:
        config: How they are cut.
        path: The folder; None is the bundled set.
        model: Says how large an image and how long a text is.
        checkpoint: Where the tokenizer lies that a model was trained with; otherwise it is made of
            the training texts.
    """
    pairs, sha256 = glyphs(model) if path is None else _folder(path)
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for pair in pairs:
        splits[split_of(pair.name, config.val_fraction, config.test_fraction)].append(pair)
    name = BUNDLED if path is None else path.name
    for split, each in splits.items():
        if len(each) < 2:
            fail(f"{name} has too few images: {len(each)} pairs are in the {split} split.")
    if checkpoint is None:
        tokenizer = train_captions((pair.text for pair in splits["train"]), model.vocab_size)
    else:
        file = checkpoint / "tokenizer.json"
        tokenizer = Captions(file.read_text(encoding="utf-8"), str(file))
    if tokenizer.vocab_size > model.vocab_size:
        fail(
            f"the tokenizer of {checkpoint or name} has {tokenizer.vocab_size:,} entries, and the "
            f"model {model.vocab_size:,}: it belongs to another model."
        )
    return Pairs(name, sha256, splits, tokenizer, model)


def glyphs(model: ModelConfig) -> tuple[list[Pair], str]:
    """Return each visible character of DejaVu Sans with its Unicode name, and their digest.

    The font is under the licence of Bitstream Vera, the names under that of Unicode.

    Some characters look exactly alike, such as the Latin, the Greek and the Cyrillic capital A:
    they are one image with several texts, so they go to one split and each of the names is right.
    """
    try:
        from matplotlib import get_data_path
        from matplotlib.ft2font import FT2Font
    except ImportError:
        fail("the bundled glyphs come with a library: pip install matplotlib.")
    from PIL import Image, ImageDraw, ImageFont

    path, side = str(Path(get_data_path()) / FONT), model.image_size
    font = ImageFont.truetype(path, round(FONT_SHARE * side), layout_engine=ImageFont.Layout.BASIC)
    first: dict[bytes, str] = {}
    pairs = []
    for code in sorted(FT2Font(path).get_charmap()):
        text = unicodedata.name(chr(code), "")
        image = Image.new("L", (side, side))
        ImageDraw.Draw(image).text((side / 2, side / 2), chr(code), 255, font, anchor="mm")
        pixels = np.array(image)
        if text and pixels.any():
            name = first.setdefault(pixels.tobytes(), f"U+{code:04X} {chr(code)}")
            array = torch.from_numpy(pixels).expand(model.in_channels, side, side)
            pairs.append(Pair(array, name, text))
    texts = "\n".join(pair.text for pair in pairs)
    return pairs, digest(*first, texts.encode())


def _folder(path: Path) -> tuple[list[Pair], str]:
    """Return the pairs of a folder and their digest, or stop."""
    files = [path / f"metadata{suffix}" for suffix in SUFFIXES]
    found = [file for file in files if file.is_file()]
    if len(found) != 1:
        fail(f"{path} must hold one of metadata{', metadata'.join(SUFFIXES)}.")
    rows = read_records(found[0], ("file_name", "text"))
    for row in rows:
        inside = (path / row["file_name"]).resolve().is_relative_to(path.resolve())
        if not inside or not (path / row["file_name"]).is_file():
            fail(f"{found[0]} names {row['file_name']}, which is no file below {path}.")
    names = sorted({row["file_name"] for row in rows})
    sha256 = files_digest([found[0], *(path / name for name in names)], [found[0].name, *names])
    return [Pair(path / row["file_name"], row["file_name"], row["text"]) for row in rows], sha256


def batch_at(
    pairs: Pairs, config: Config, position: int, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the training pairs at some positions of the order: images and tokens.

    How an image is moved is a function of its position, so any number of processes, and a resumed
    run, move it alike.
    """
    train = pairs.splits["train"]
    chosen = [train[index] for _, index in samples_at(position, count, len(train), seed)]
    places = range(position, position + count)
    return _shifted(pairs.images(chosen), config.shift, places, seed), pairs.tokens(chosen)


def _shifted(images: Tensor, most: int, places: Sequence[int], seed: int) -> Tensor:
    """Return images (B, C, H, W) moved at random; what comes in repeats the edge."""
    if not most:
        return images
    size, padded = images.size(2), F.pad(images, (most,) * 4, mode="replicate")
    moves = (random.Random(f"{seed} {place}").choices(range(2 * most + 1), k=2) for place in places)
    moved = (p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, moves, strict=True))
    return torch.stack(list(moved))


def main() -> None:
    """Show what training will read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=existing, metavar="PATH", help="(default: bundled glyphs)")
    parser.add_argument(
        "--size", choices=("proxy", "full"), default="proxy", help="(default: proxy)"
    )
    args = parser.parse_args()
    model = load_config(ModelConfig, "model", args.size)
    pairs = load_pairs(load_config(Config, "data", args.size), args.data, model)
    print(f"{pairs.name}, sha256 {pairs.sha256}")
    print(f"tokenizer: {pairs.tokenizer.vocab_size:,} entries, of the training texts")
    for split, each in pairs.splits.items():
        images = len({pair.name for pair in each})
        print(f"{split:>5}: {len(each):,} pairs of {images:,} images, such as {each[0].text!r}")


if __name__ == "__main__":
    run(main)
