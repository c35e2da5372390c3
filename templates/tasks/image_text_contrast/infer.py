"""Find the texts that belong to an image, or the images that belong to a text.

    python infer.py --input photo.png                          the nearest of the training texts
    python infer.py --input photo.png --texts labels.txt       the nearest line of a file
    python infer.py --prompt "GREEK SMALL LETTER OMEGA"        the nearest of the training images

Prints the cosine of each answer's vector with the question's, the largest first.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Pair, load_pairs
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import existing, positive, shared_options, sized
from runtime.settings import load_config

BATCH = 64  # images or texts that pass through the model at once


@dataclass(frozen=True)
class Config:
    """How answers are shown, and from what numbers."""

    top: int = 5
    """Answers to show."""
    weight_bits: int = 16
    """Bits of a weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def vectors(encode: Callable[[Sequence[Pair]], Tensor], pairs: Sequence[Pair]) -> Tensor:
    """Return the vectors (N, E) of the images or of the texts of some pairs."""
    parts = [encode(pairs[start : start + BATCH]) for start in range(0, len(pairs), BATCH)]
    return torch.cat(parts).float().cpu()


def lines(path: Path) -> list[str]:
    """Return the lines of a file that hold text, or stop."""
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as UTF-8 text: {error}.")
    return [line for line in found if line] or fail(f"{path} holds no text.")


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(__doc__, data="what train.py was given: where answers come from")
    group = parser.add_argument_group("options of infer.py")
    question = group.add_mutually_exclusive_group(required=True)
    question.add_argument("--input", type=existing, metavar="FILE", help="an image")
    question.add_argument("--prompt", metavar="TEXT", help="a text")
    group.add_argument(
        "--texts", type=existing, metavar="FILE", help="answers to --input, one a line"
    )
    group.add_argument(
        "--top", type=positive, metavar="N", help=f"answers to show {sized(proxy, full, 'top')}"
    )
    group.add_argument(
        "--weight-bits",
        type=int,
        choices=(32, 16),
        help=f"bits of a weight {sized(proxy, full, 'weight_bits')}",
    )
    return parser.parse_args()


def main() -> None:
    """Print the nearest answers."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    if args.texts and not args.input:
        fail("--texts are answers to an image: give --input.")
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    data_config = load_config(DataConfig, "data", args.size)
    pairs = load_pairs(data_config, args.data, model_config, folder)
    model: Model = load_model(lambda: Model(model_config), folder).to(device)
    dtype = torch.bfloat16 if config.weight_bits == 16 else torch.float32
    model = model.to(dtype)

    def images(some: Sequence[Pair]) -> Tensor:
        return model.encode_images(pairs.images(some).to(device, dtype))

    def texts(some: Sequence[Pair]) -> Tensor:
        return model.encode_texts(pairs.tokens(some).to(device))

    known = pairs.splits["train"] + pairs.splits["val"]
    if args.input:
        given_texts = lines(args.texts) if args.texts else [pair.text for pair in known]
        answers = list(dict.fromkeys(given_texts))
        asked = vectors(images, [Pair(args.input, "", "")])
        found = vectors(texts, [Pair(args.input, "", answer) for answer in answers])
    else:
        by_name = {pair.name: pair for pair in known}
        answers = list(by_name)
        asked = vectors(texts, [Pair(Path(), "", args.prompt)])
        found = vectors(images, list(by_name.values()))
    cosines = (found @ asked[0]).sort(descending=True)
    for cosine, place in zip(*(part[: config.top].tolist() for part in cosines), strict=True):
        print(f"{cosine:6.3f}  {answers[place]}")


if __name__ == "__main__":
    run(main)
