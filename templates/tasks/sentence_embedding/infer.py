"""Embed texts with a trained checkpoint, and search those nearest to a text.

    python infer.py --prompt "Enter a date."                          among the training texts
    python infer.py --prompt "Enter a date." --input candidates.txt   among the lines of a file
    python infer.py --input texts.txt --output vectors.npy            writes the vectors only

Prints cosine and text, the nearest first. Vectors have a length of 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import Config as DataConfig
from data import load_records
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.sequences import outputs, read_lines, read_tokenizer


@dataclass(frozen=True)
class Config:
    """How texts are embedded and searched."""

    batch_size: int = 32
    """Texts encoded at once."""
    nearest: int = 5
    """Texts to print."""
    dtype: str = "bfloat16"
    """Format of the weights: float32 as trained, or bfloat16 in half the memory."""


def options(group: Group) -> None:
    group.add_argument("--prompt", metavar="TEXT", help="find the texts nearest to this one")
    group.add_argument(
        "--input", type=existing, metavar="FILE", help="a file with one text per line"
    )
    group.add_argument("--output", type=Path, metavar="FILE", help="write vectors here, as .npy")


def candidates(trained: Trained[Config, DataConfig, ModelConfig]) -> list[str]:
    """Return the lines of --input, or the different texts of the train split."""
    if trained.args.input:
        return read_lines(trained.args.input)
    # Training texts are searched by default, because the test split is for eval.py alone.
    records = load_records(trained.data, trained.args.data)["train"]
    # A text that several pairs contain is searched once.
    return list(dict.fromkeys(record[name] for record in records for name in ("text_a", "text_b")))


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the nearest texts, or write vectors."""
    args, config = trained.args, trained.config
    if not (args.prompt and args.prompt.strip()) and not (args.input and args.output):
        fail("give a text with --prompt, or files with --input and --output.")
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    # Texts are encoded in each call; --output stores their vectors for a search of your own.
    texts = candidates(trained)
    # Query and texts are encoded in one call, by the same tokenizer.
    queries = [args.prompt] if args.prompt else []
    tokenizer, length = read_tokenizer(trained.folder), trained.data.max_len
    made = outputs(model, queries + texts, tokenizer, length, config.batch_size, trained.device)
    # The product of two vectors of length 1 is the cosine of their angle.
    query, vectors = F.normalize(made, dim=-1).tensor_split([len(queries)])
    if args.output:
        # np.save would append .npy to a path, so it gets an open file.
        with args.output.open("wb") as file:
            np.save(file, vectors.numpy())
    # The comparison is exact; beyond some million texts, use an index of approximate neighbours.
    for cosines in query @ vectors.T:
        # topk fails if there are fewer texts than config.nearest.
        best = cosines.topk(min(config.nearest, len(texts)))
        for cosine, row in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            print(f"{cosine:.4f}\t{texts[row]}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("texts encoded at once"),
        "nearest": Setting("texts to print"),
    },
    data="the data whose training texts are searched (default: bundled pairs)",
)

if __name__ == "__main__":
    run(main)
