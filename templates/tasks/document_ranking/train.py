"""Train the ranker on your judged queries, or on sentences of Python's documentation.

    python train.py                                       the proxy, on the bundled sentences
    python train.py --data judged.csv --steps 2000        the proxy, on your queries
    python train.py --size full --data judged.csv         the full model
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
from data import batch_at, batches, load_dataset
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the ranker is trained."""

    batch_size: int = 32
    """Queries in an update, each with a group of passages."""
    group_size: int = 8
    """Passages that are ranked for a query; one of them answers it."""


def ranking_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the listwise softmax loss in nats, and the number of queries.

    -(1 / B) * sum over queries i of log(exp(s_i1) / sum over j of exp(s_ij)), where passage 1 of a
    query's group answers it (Cao et al., 2007, ListNet's top one).
    """
    tokens, segments = batch  # (B, G, T) each
    # The model reads each query with each passage of its group, so B * G rows at once.
    scores = module(tokens.flatten(0, 1), segments.flatten(0, 1)).float()
    scores = scores.unflatten(0, tokens.shape[:2])  # (B, G)
    # The answer stands first, which the model cannot know: it sees one passage at a time.
    return F.cross_entropy(scores, torch.zeros_like(tokens[:, 0, 0])), len(tokens)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    tokens = torch.ones(samples, Config().group_size, data.max_len, dtype=torch.int64)
    return ranking_loss(model, (tokens, torch.zeros_like(tokens)))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    texts = load_dataset(data, args.data, model, args.begin)
    group, length = config.group_size, data.max_len
    return Job(
        config=config,
        data=data,
        name=texts.name,
        sha256=texts.sha256,
        splits={split: len(queries) for split, queries in texts.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(texts, start, count, group, data, config.seed),
        # Validation draws the same groups each time, so its losses can be compared.
        held_out=lambda size: batches(texts, "val", group, length, size),
        loss=ranking_loss,
        example=example_loss,
        unit="queries",
        counts={"passages": {split: len(pool) for split, pool in texts.pools.items()}},
        texts=texts.tokenizer.files(data.max_len),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="judged queries: .csv, .jsonl, .parquet, or a folder (default: bundled)",
)

if __name__ == "__main__":
    run(main)
