"""Train the model to predict a number from a text: on your texts, or on names of molecules.

    python train.py                                       the proxy, on the bundled texts
    python train.py --data wines.csv --target price       the proxy, on your texts
    python train.py --size full --data wines.csv          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForSequenceClassification.from_pretrained("out/checkpoint")`: its one logit is the number
less its mean, in standard deviations; both are under `target` in config.json.
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
from runtime.sequences import partly_hidden
from runtime.settings import Training
from runtime.targets import target_option
from runtime.text_batches import batch_at, batches
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the model is trained."""

    token_drop: float = 0.0
    """Share of a text's tokens that training hides from the model."""


def squared_error(module: nn.Module, batch: Batch, token_drop: float) -> tuple[Tensor, int]:
    """Return the mean squared error of a batch, and the number of texts.

    (1 / B) * sum over texts i of (prediction - target)^2, in variances of the train split's
    targets; in training, a text lacks the tokens that are hidden.
    """
    tokens, targets = batch  # (B, T), (B,)
    # Hidden tokens keep the model from relying on single words; validation reads whole texts.
    if module.training:
        tokens = partly_hidden(tokens, token_drop)
    return F.mse_loss(module(tokens).float(), targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    # Tokens are 1 because 0 is padding, which attention skips.
    tokens = torch.ones(samples, data.max_len, dtype=torch.int64)
    return squared_error(model, (tokens, torch.zeros(samples)), token_drop=0.0)[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    texts = load_dataset(data, args.data, args.target, model, args.begin)
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
        loss=lambda module, batch: squared_error(module, batch, config.token_drop),
        example=example_loss,
        identity={"target": texts.target.name},
        unit="texts",
        entries=texts.target.entries(),
        texts=texts.tokenizer.files(data.max_len),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="texts with numbers: .csv, .jsonl, .parquet, or a folder (default: bundled texts)",
    options=target_option,
)

if __name__ == "__main__":
    run(main)
