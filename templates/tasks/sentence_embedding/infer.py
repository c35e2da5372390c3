"""Embed texts with a trained checkpoint, and find those nearest to a text.

    python infer.py --prompt "Enter a date."                          among the training texts
    python infer.py --prompt "Enter a date." --input candidates.txt   among the lines of a file
    python infer.py --input texts.txt --output vectors.npy            only writes the vectors

Prints cosine and text, the nearest first. Vectors have length 1.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import Config as DataConfig
from data import load_records
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import existing, positive, shared_options, sized
from runtime.sequences import outputs, read_lines, read_tokenizer
from runtime.settings import load_config


@dataclass(frozen=True)
class Config:
    """How texts are embedded and found."""

    batch_size: int = 32
    """Texts read at once."""
    nearest: int = 5
    """Texts shown."""
    dtype: str = "bfloat16"
    """Of the weights: float32 as trained, or bfloat16 in half the memory."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="its training texts are searched (default: bundled pairs)",
        batch_size=f"texts read at once {sized(proxy, full, 'batch_size')}",
    )
    group = parser.add_argument_group("options of infer.py")
    group.add_argument("--prompt", metavar="TEXT", help="find the texts nearest to this one")
    group.add_argument("--input", type=existing, metavar="FILE", help="a file with a text a line")
    group.add_argument("--output", type=Path, metavar="FILE", help="write vectors here, as .npy")
    note = sized(proxy, full, "nearest")
    group.add_argument("--nearest", type=positive, metavar="N", help=f"texts shown {note}")
    return parser.parse_args()


def candidates(args: argparse.Namespace, config: DataConfig) -> list[str]:
    """Return the lines of --input, or the texts of the train split."""
    if args.input:
        return read_lines(args.input)
    records = load_records(config, args.data)["train"]
    return list(dict.fromkeys(record[name] for record in records for name in ("text_a", "text_b")))


def main() -> None:
    """Print the nearest texts, or write vectors."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    if not (args.prompt and args.prompt.strip()) and not (args.input and args.output):
        fail("give a text by --prompt, or --input and --output.")
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, getattr(torch, config.dtype))
    texts = candidates(args, data_config)
    queries = [args.prompt] if args.prompt else []
    tokenizer, size = read_tokenizer(folder), args.batch_size or config.batch_size
    found = outputs(model, queries + texts, tokenizer, data_config.max_len, size, device)
    vectors = F.normalize(found, dim=-1)
    query, found = vectors.tensor_split([len(queries)])
    if args.output:
        with args.output.open("wb") as file:
            np.save(file, found.numpy())
    for cosines in query @ found.T:
        best = cosines.topk(min(args.nearest or config.nearest, len(texts)))
        for cosine, row in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            print(f"{cosine:.4f}\t{texts[row]}")


if __name__ == "__main__":
    run(main)
