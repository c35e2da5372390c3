"""Train the two towers on your interactions, or on the imports of sympy's modules.

    python train.py                                       the proxy, on the bundled imports
    python train.py --data ratings.csv --steps 2000       the proxy, on your interactions
    python train.py --size full --data ratings.parquet    the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, whose config.json names the items.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import Dataset, batch_at, load_interactions, samples
from model import Config as ModelConfig
from model import Model
from runtime.device import in_float32
from runtime.errors import run
from runtime.gather import gather, own_places
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script

NEVER = -1e9  # the logit of what is no negative


@dataclass(frozen=True)
class Config(Training):
    """How the two towers are trained."""

    grad_accum: int = 1
    """Parts of an update; more take less memory, and contrast a pair with fewer others."""


def retrieval_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of each user's item among those of all pairs, and the pairs.

    The logit of an item is its score less the logarithm of its share of the training rows: a
    frequent item is a negative more often, which this corrects (Yi et al., 2019, equation 5). "All"
    are the pairs that all processes have in this part of the update; the same item in another pair
    is no negative.
    """
    *inputs, shares = batch
    user, item = (vectors.float() for vectors in module(*inputs))  # (B, D) each
    items = inputs[3]
    vectors, numbers, corrections = gather(item), gather(items), gather(shares)  # those of N pairs
    right = own_places(user, vectors)
    # Logits differ by less than bfloat16 can express.
    with in_float32(user.device):
        logits = user @ vectors.T - corrections  # (B, N)
    same = items[:, None] == numbers
    same[torch.arange(len(user), device=user.device), right] = False
    return F.cross_entropy(logits.masked_fill(same, NEVER), right), len(user)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of dummy pairs with full histories, to count FLOPs and memory."""
    c = model.config
    items = torch.arange(samples) % c.num_items + 1
    batch = (
        torch.ones(samples, c.history_length, dtype=torch.int64),
        torch.zeros(samples, c.history_length, c.edge_features),
        torch.zeros(samples, c.node_features),
        items,
        torch.zeros(samples, c.node_features),
        torch.zeros(samples),
    )
    return retrieval_loss(model, batch)[0]


def held_out(data: Dataset, model: ModelConfig, size: int) -> Iterator[Batch]:
    """Yield the full batches of the validation split.

    A smaller batch has fewer wrong items, and so a smaller loss that cannot be compared.
    """
    rows = data.rows("val")
    # Rows of a user stand together, so a stride mixes users.
    batches = max(1, len(rows) // size)
    size = min(size, len(rows))
    for start in range(batches):
        yield samples(data, rows[start::batches][:size], "val", model)


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    every, model = load_interactions(data, args.data, model, args.size, args.begin)
    rows = {split: every.rows(split) for split in ("train", "val", "test")}
    train = rows["train"]
    return Job(
        config=config,
        data=data,
        name=every.name,
        sha256=every.sha256,
        splits={split: len(each) for split, each in rows.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(every, train, model, start, count, config.seed),
        held_out=lambda size: held_out(every, model, size),
        loss=retrieval_loss,
        example=example_loss,
        unit="pairs",
        entries=every.catalogue.entry(),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="interactions of users with items: a table or its parts (default: bundled imports)",
)

if __name__ == "__main__":
    run(main)
