"""Find the texts that belong to an image, or the images that belong to a text.

    python infer.py --input photo.png                          the nearest of the training texts
    python infer.py --input photo.png --texts labels.txt       the nearest line of a file
    python infer.py --prompt "GREEK SMALL LETTER OMEGA"        the nearest of the training images

Prints answers with the cosine of their vector and the question's, the largest first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Pair, load_pairs
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving

BATCH = 64  # images or texts in a pass; more take more memory and change no answer


@dataclass(frozen=True)
class Config:
    """How answers are computed and shown."""

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
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as UTF-8 text: {error}.")
    return [text for text in texts if text] or fail(f"{path} holds no text.")


def options(group: Group) -> None:
    question = group.add_mutually_exclusive_group(required=True)
    question.add_argument("--input", type=existing, metavar="FILE", help="an image")
    question.add_argument("--prompt", metavar="TEXT", help="a text")
    group.add_argument(
        "--texts", type=existing, metavar="FILE", help="answers to --input, one a line"
    )


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the nearest answers."""
    args, device = trained.args, trained.device
    if args.texts and not args.input:
        fail("--texts are answers to an image: give --input.")
    pairs = load_pairs(trained.data, args.data, trained.model, trained.folder)
    # bfloat16 takes half the memory and holds two to three digits of a cosine.
    dtype = torch.bfloat16 if trained.config.weight_bits == 16 else torch.float32
    model = trained.load(lambda: Model(trained.model), dtype)

    def images(some: Sequence[Pair]) -> Tensor:
        return model.encode_images(pairs.images(some).to(device, dtype))

    def texts(some: Sequence[Pair]) -> Tensor:
        return model.encode_texts(pairs.tokens(some).to(device))

    # Answers come from what training may see: the test split is for eval.py alone.
    known = pairs.splits["train"] + pairs.splits["val"]
    if args.input:
        candidates = lines(args.texts) if args.texts else [pair.text for pair in known]
        # Several images may share a text, which is one answer.
        answers = list(dict.fromkeys(candidates))
        question = vectors(images, [Pair(args.input, "", "")])
        compared = vectors(texts, [Pair(args.input, "", answer) for answer in answers])
    else:
        # An image stands in as many pairs as it has texts, and is one answer.
        by_name = {pair.name: pair for pair in known}
        answers = list(by_name)
        question = vectors(texts, [Pair(Path(), "", args.prompt)])
        compared = vectors(images, list(by_name.values()))
    cosines = (compared @ question[0]).sort(descending=True)
    best = (part[: trained.config.top].tolist() for part in cosines)
    for cosine, place in zip(*best, strict=True):
        print(f"{cosine:6.3f}  {answers[place]}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "top": Setting("answers to show"),
        "weight_bits": Setting("bits of a weight", int, (32, 16)),
    },
    data="what train.py was given: where answers come from",
)

if __name__ == "__main__":
    run(main)
