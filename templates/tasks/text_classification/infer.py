"""Label texts with a trained checkpoint.

    python infer.py --prompt "Bitte geben Sie einen Wert ein."     the likeliest labels of one text
    python infer.py --input mails.txt                              a label for each line of a file

Prints label and probability; for a file, each line's label, probability and text, with tabs.
"""

import argparse
from dataclasses import dataclass

import torch

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import existing, shared_options, sized
from runtime.sequences import outputs, read_lines, read_tokenizer
from runtime.settings import load_config, read_json


@dataclass(frozen=True)
class Config:
    """How texts are labelled."""

    batch_size: int = 32
    """Texts read at once."""
    most_labels: int = 3
    """Labels shown of a single text, the likeliest first."""
    dtype: str = "bfloat16"
    """Of the weights: float32 as trained, or bfloat16 in half the memory."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(
        __doc__, batch_size=f"texts read at once {sized(proxy, full, 'batch_size')}"
    )
    group = parser.add_argument_group("options of infer.py")
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", metavar="TEXT", help="the text to label")
    source.add_argument("--input", type=existing, metavar="FILE", help="a file with a text a line")
    return parser.parse_args()


def main() -> None:
    """Print labels."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    texts = read_lines(args.input) if args.input else [args.prompt]
    if not all(text.strip() for text in texts):
        fail("there is no text to label.")
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, getattr(torch, config.dtype))
    names = read_json(folder / "config.json")["id2label"]
    tokenizer, size = read_tokenizer(folder), args.batch_size or config.batch_size
    found = outputs(model, texts, tokenizer, data_config.max_len, size, device).softmax(1)
    for text, shares in zip(texts, found, strict=True):
        ranked = shares.sort(descending=True)
        best = list(zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True))
        if args.input:
            print(f"{names[str(best[0][1])]}\t{best[0][0]:.4f}\t{text}")
            continue
        for share, number in best[: config.most_labels]:
            print(f"{names[str(number)]}\t{share:.4f}")


if __name__ == "__main__":
    run(main)
