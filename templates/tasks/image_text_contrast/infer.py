"""Search texts for an image, or images for a text, with a trained checkpoint.

    python infer.py --input photo.png                          the nearest of the training texts
    python infer.py --input photo.png --texts labels.txt       the nearest line of a file
    python infer.py --prompt "GREEK SMALL LETTER OMEGA"        the nearest of the training images

Prints each answer with the cosine between its vector and that of the question, the largest first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Pair, Pairs, load_pairs
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving

BATCH = 64  # images or texts encoded at once; more take more memory and change no answer


@dataclass(frozen=True)
class Config:
    """How answers are computed and printed."""

    top: int = 5
    """Answers to print."""
    weight_bits: int = 16
    """Bits per weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def vectors(encode: Callable[[Sequence[Pair]], Tensor], pairs: Sequence[Pair]) -> Tensor:
    """Return the vectors (N, E) of the images or of the texts of some pairs."""
    parts = [encode(pairs[start : start + BATCH]) for start in range(0, len(pairs), BATCH)]
    return torch.cat(parts).float().cpu()  # (N, E)


def lines(path: Path) -> list[str]:
    """Return the non-empty lines of a file, or stop."""
    try:
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as UTF-8 text: {error}.")
    return [text for text in texts if text] or fail(
        f"{path} has no text: write one answer per line."
    )


def options(group: Group) -> None:
    question = group.add_mutually_exclusive_group(required=True)
    question.add_argument("--input", type=existing, metavar="FILE", help="an image")
    question.add_argument("--prompt", metavar="TEXT", help="a text")
    group.add_argument(
        "--texts", type=existing, metavar="FILE", help="answers to --input, one per line"
    )


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the nearest answers."""
    args = trained.args
    if args.texts and not args.input:
        fail("--texts lists answers to an image: add --input.")
    # The checkpoint's own tokenizer reads the texts: a new one would give other ids.
    pairs = load_pairs(trained.data, args.data, trained.model, trained.folder)
    answers, question, compared = compare(trained, pairs)
    # Vectors have length 1, so their products are cosines.
    cosines = (compared @ question[0]).sort(descending=True)
    best = (part[: trained.config.top].tolist() for part in cosines)
    for cosine, place in zip(*best, strict=True):
        print(f"{cosine:6.3f}  {answers[place]}")


def compare(
    trained: Trained[Config, DataConfig, ModelConfig], pairs: Pairs
) -> tuple[list[str], Tensor, Tensor]:
    """Return the N possible answers, the vector (1, E) of the question, and theirs (N, E)."""
    args, device = trained.args, trained.device
    # bfloat16 takes half the memory, and keeps two to three digits of a cosine.
    dtype = torch.bfloat16 if trained.config.weight_bits == 16 else torch.float32
    model = trained.load(lambda: Model(trained.model), dtype)

    def images(some: Sequence[Pair]) -> Tensor:
        return model.encode_images(pairs.images(some).to(device, dtype))

    def texts(some: Sequence[Pair]) -> Tensor:
        return model.encode_texts(pairs.tokens(some).to(device))

    # Answers come from train and val: the test split is for eval.py alone.
    known = pairs.splits["train"] + pairs.splits["val"]
    if args.input:
        # A list of labels turns the model into a classifier without training (zero-shot).
        candidates = lines(args.texts) if args.texts else [pair.text for pair in known]
        # A text that several images share is one answer.
        answers = list(dict.fromkeys(candidates))
        # Only one side of these pairs is encoded, so the other one is empty.
        question = vectors(images, [Pair(args.input, "", "")])
        return answers, question, vectors(texts, [Pair(args.input, "", each) for each in answers])
    # An image with several texts is one answer.
    by_name = {pair.name: pair for pair in known}
    question = vectors(texts, [Pair(Path(), "", args.prompt)])
    return list(by_name), question, vectors(images, list(by_name.values()))


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "top": Setting("answers to print"),
        "weight_bits": Setting("bits per weight", int, (32, 16)),
    },
    data="the data that train.py read, whose pairs are searched (default: bundled glyphs)",
)

if __name__ == "__main__":
    run(main)
