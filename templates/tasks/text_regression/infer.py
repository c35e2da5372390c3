"""Predict a number from texts with a trained checkpoint.

    python infer.py --prompt "2-methylpentane"     the number of one text
    python infer.py --input names.txt              a number for each line of a file

Prints the number in the unit of the training data; for a file, number and text of each line, with
a tab.
"""

from dataclasses import dataclass

import torch

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.options import Group
from runtime.scripts import Setting, Trained, serving
from runtime.sequences import outputs, read_tokenizer, text_options, texts_of
from runtime.targets import read_target


@dataclass(frozen=True)
class Config:
    """How numbers are predicted and printed."""

    batch_size: int = 32
    """Texts predicted at once."""
    digits: int = 6
    """Significant digits of a printed number."""
    dtype: str = "bfloat16"
    """Format of the weights: float32 as trained, or bfloat16 in half the memory."""


def options(group: Group) -> None:
    text_options(group, "the text to predict the number of")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print numbers."""
    args, config = trained.args, trained.config
    texts = texts_of(args)
    # Mean and deviation of the train split are in the checkpoint.
    target = read_target(trained.folder)
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    tokenizer, length = read_tokenizer(trained.folder), trained.data.max_len
    # Long texts lose their end, as in evaluation; training takes random parts instead.
    made = outputs(model, texts, tokenizer, length, config.batch_size, trained.device)
    for text, number in zip(texts, target.restored(made), strict=True):
        # Each line of a file gives one line of output, so both can be pasted side by side.
        print(f"{number:.{config.digits}g}" + (f"\t{text}" if args.input else ""))


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={"batch_size": Setting("texts predicted at once")},
)

if __name__ == "__main__":
    run(main)
