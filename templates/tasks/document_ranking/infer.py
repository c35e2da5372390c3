"""Order passages for a query with a trained checkpoint.

    python infer.py --prompt "How are names resolved?"                        validation passages
    python infer.py --prompt "How are names resolved?" --input passages.txt   the lines of a file

Prints score and passage, the best first; only the order of the scores has a meaning.
"""

import argparse
from dataclasses import dataclass

import torch

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
    """How passages are ordered."""

    batch_size: int = 32
    """Passages read at once."""
    best: int = 5
    """Passages shown."""
    dtype: str = "bfloat16"
    """Of the weights: float32 as trained, or bfloat16 in half the memory."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="its validation passages are ordered (default: bundled sentences)",
        batch_size=f"passages read at once {sized(proxy, full, 'batch_size')}",
    )
    group = parser.add_argument_group("options of infer.py")
    group.add_argument("--prompt", required=True, metavar="TEXT", help="the query")
    group.add_argument(
        "--input", type=existing, metavar="FILE", help="a file with a passage a line"
    )
    note = sized(proxy, full, "best")
    group.add_argument("--best", type=positive, metavar="N", help=f"passages shown {note}")
    return parser.parse_args()


def main() -> None:
    """Print the best passages."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    if not args.prompt.strip():
        fail("--prompt holds no text.")
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, getattr(torch, config.dtype))
    if args.input:
        passages = read_lines(args.input)
    else:
        records = load_records(data_config, args.data)["val"]
        passages = list(dict.fromkeys(record["passage"] for record in records))
    pairs = [(args.prompt, passage) for passage in passages]
    size = args.batch_size or config.batch_size
    found = outputs(model, pairs, read_tokenizer(folder), data_config.max_len, size, device)
    best = found.topk(min(args.best or config.best, len(passages)))
    for score, row in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        print(f"{score:.4f}\t{passages[row]}")


if __name__ == "__main__":
    run(main)
