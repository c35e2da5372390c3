"""Label texts with a trained checkpoint.

    python infer.py --prompt "Bitte geben Sie einen Wert ein."     the likeliest labels of one text
    python infer.py --input mails.txt                              a label for each line of a file

Prints label and probability; for a file, label, probability and text of each line, with tabs.
"""

from dataclasses import dataclass

import torch

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.labels import read_labels
from runtime.options import Group
from runtime.scripts import Setting, Trained, serving
from runtime.sequences import outputs, read_tokenizer, text_options, texts_of


@dataclass(frozen=True)
class Config:
    """How texts are labelled."""

    batch_size: int = 32
    """Texts labelled at once."""
    most_labels: int = 3
    """Labels to print for a single text, the likeliest first."""
    dtype: str = "bfloat16"
    """Format of the weights: float32 as trained, or bfloat16 in half the memory."""


def options(group: Group) -> None:
    text_options(group, "the text to label")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print labels."""
    args, config = trained.args, trained.config
    texts = texts_of(args)
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    # Names of labels are in the checkpoint, under the key that transformers reads too.
    names = read_labels(trained.folder)
    tokenizer, length = read_tokenizer(trained.folder), trained.data.max_len
    # Long texts lose their end, as in evaluation; training takes random parts instead.
    logits = outputs(model, texts, tokenizer, length, config.batch_size, trained.device)
    for text, shares in zip(texts, logits.softmax(1), strict=True):
        # Probabilities of a network are often too high: use them to rank, not as a guarantee.
        ranked = shares.sort(descending=True)
        best = list(zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True))
        # Each line of a file gives one line of output, so both can be pasted side by side.
        if args.input:
            print(f"{names[best[0][1]]}\t{best[0][0]:.4f}\t{text}")
            continue
        for share, number in best[: config.most_labels]:
            print(f"{names[number]}\t{share:.4f}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={"batch_size": Setting("texts labelled at once")},
)

if __name__ == "__main__":
    run(main)
