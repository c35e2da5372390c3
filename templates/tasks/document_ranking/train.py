"""Train the ranker on your judged queries, or on sentences of Python's documentation.

    python train.py                                       the proxy, on the bundled sentences
    python train.py --data judged.csv --steps 2000        the proxy, on your queries
    python train.py --size full --data judged.csv         the full model
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
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
from runtime.device import choose_device
from runtime.distributed import processes
from runtime.errors import run
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 10000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 32
    """Samples in an update: queries, each with a group of passages."""
    grad_accum: int = 1
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 5e-05
    """Peak learning rate."""
    warmup_steps: int = 1000
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.01
    """Decay of matrices; gains and biases are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.999
    """AdamW's memory of its square."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient."""
    eval_every: int = 500
    """Updates between two looks at the validation split."""
    eval_batches: int = 16
    """Batches of the validation split in such a look, at most."""
    save_every: int = 500
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights, the order of samples and what is dropped."""
    group_size: int = 8
    """Passages of a query in a sample, of which one answers it."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="judged queries: .csv, .jsonl, .parquet, or a folder (default: bundled)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def ranking_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the listwise softmax loss in nats, and how many queries there were.

    -(1 / B) * sum over queries i of log(exp(s_i1) / sum over j of exp(s_ij)), where passage 1 of a
    query's group answers it (Cao et al., 2007, ListNet's top one).
    """
    tokens, segments = batch  # (B, G, T) each
    scores = module(tokens.flatten(0, 1), segments.flatten(0, 1)).float()
    scores = scores.unflatten(0, tokens.shape[:2])  # (B, G)
    return F.cross_entropy(scores, torch.zeros_like(tokens[:, 0, 0])), len(tokens)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    tokens = torch.ones(samples, Config().group_size, data.max_len, dtype=torch.int64)
    return ranking_loss(model, (tokens, torch.zeros_like(tokens)))[0]


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the judged queries and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    texts = load_dataset(data, args.data, model)
    group, length = config.group_size, data.max_len
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(texts, start, count, group, data, config.seed),
        held_out=lambda size: batches(texts, "val", group, length, size),
        loss=ranking_loss,
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": texts.sha256, **named(data=data)},
        unit="queries",
        texts=texts.tokenizer.files(),
    )


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config = settings(Config, args)
    device = choose_device(args.device, args.threads)
    with processes(device):
        train(task(args, config), args, device)


if __name__ == "__main__":
    run(main)
