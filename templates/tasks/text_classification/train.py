"""Train the classifier on your texts, or on translations that come with Django.

    python train.py                                       the proxy, on the bundled texts
    python train.py --data reviews.csv --steps 2000       the proxy, on your texts
    python train.py --size full --data reviews.csv        the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForSequenceClassification.from_pretrained("out/checkpoint")`.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.labels import class_names
from runtime.sequences import partly_hidden
from runtime.settings import Training
from runtime.text_batches import batch_at, batches
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the classifier is trained."""

    token_drop: float = 0.0
    """Share of a text's tokens that training hides from the model."""


def label_loss(module: nn.Module, batch: Batch, token_drop: float) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the label in nats, and the number of texts.

    -(1 / B) * sum over texts i of log p(y_i | x_i), where x_i lacks the tokens that are hidden.
    """
    tokens, labels = batch  # (B, T), (B)
    # Hidden tokens keep the model from relying on single words; validation reads whole texts.
    if module.training:
        tokens = partly_hidden(tokens, token_drop)
    return F.cross_entropy(module(tokens).float(), labels), len(labels)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    # Tokens are 1 because 0 is padding, which attention skips.
    tokens = torch.ones(samples, data.max_len, dtype=torch.int64)
    return label_loss(model, (tokens, tokens[:, 0]), token_drop=0.0)[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    texts = load_dataset(data, args.data, model, args.begin)
    train, val = (texts.splits[split] for split in ("train", "val"))
    return Job(
        config=config,
        data=data,
        name=texts.name,
        sha256=texts.sha256,
        splits={split: len(each) for split, each in texts.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(
            train, texts.tokenizer, start, count, data, config.seed
        ),
        held_out=lambda size: batches(val, texts.tokenizer, data.max_len, size),
        loss=lambda module, batch: label_loss(module, batch, config.token_drop),
        example=example_loss,
        unit="texts",
        entries=class_names(texts.labels, model.num_classes),
        texts=texts.tokenizer.files(data.max_len),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="texts with labels: .csv, .jsonl, .parquet, or a folder (default: bundled texts)",
)

if __name__ == "__main__":
    run(main)
