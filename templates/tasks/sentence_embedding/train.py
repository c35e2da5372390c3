"""Train the embedder on your pairs of texts, or on translations that come with Django.

    python train.py                                       the proxy, on the bundled pairs
    python train.py --data pairs.csv --steps 2000         the proxy, on your pairs
    python train.py --size full --data pairs.csv          the full model
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModel.from_pretrained("out/checkpoint")`; the mean of its vectors is the embedding.

The other pairs of a batch are what a pair is told from: those of all processes together. With
--grad-accum, a pair is told from those of its own part only.
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
from runtime.distributed import processes, rank, world_size
from runtime.errors import fail, run
from runtime.gather import gather
from runtime.options import shared_options, sized, training_options
from runtime.sequences import partly_hidden
from runtime.settings import load_config
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 10000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 32
    """Samples in an update."""
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
    token_drop: float = 0.0
    """Share of a text's tokens that training hides from the model."""
    temperature: float = 0.05
    """Divides the cosines of pairs."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="pairs of texts: .csv, .jsonl, .parquet, or a folder (default: bundled)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def contrastive_loss(module: nn.Module, batch: Batch, config: Config) -> tuple[Tensor, int]:
    """Return InfoNCE with in-batch negatives, in nats, and how many pairs this process has.

    -(1 / B) * sum over pairs i of log(exp(c_ii / t) / sum over j of exp(c_ij / t)), with c_ij the
    cosine of a_i and b_j, and the same from b to a; their mean (van den Oord et al., 2018,
    arXiv:1807.03748). j runs over the pairs of all processes, and leaves out texts of the same
    meaning as i, and those of another part of the update.

    Args:
        module: Embeds texts.
        batch: Tokens (B, 2, T), and marks (B, 3): the part, and the meanings of both texts.
        config: Has t, its `temperature`.
    """
    tokens, marks = batch
    if module.training:
        tokens = partly_hidden(tokens, config.token_drop)
    own = F.normalize(module(tokens.flatten(0, 1)).float(), dim=-1).view(len(tokens), 2, -1)
    every, every_mark = gather(own), gather(marks)  # (N, 2, d_model), (N, 3)
    start = rank() * len(own) if len(every) > len(own) else 0
    partner = torch.arange(start, start + len(own), device=marks.device)
    part, first, second = (marks[:, i, None] == every_mark[:, i] for i in range(3))  # (B, N)
    apart = part & ~first & ~second
    apart[torch.arange(len(own)), partner] = True
    with torch.autocast(own.device.type, enabled=False):
        directions = (own[:, 0] @ every[:, 1].T, own[:, 1] @ every[:, 0].T)
    scores = [c.div(config.temperature).masked_fill(~apart, -torch.inf) for c in directions]
    loss = F.cross_entropy(scores[0], partner) + F.cross_entropy(scores[1], partner)
    return loss / 2, len(own)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    tokens = torch.ones(samples, 2, data.max_len, dtype=torch.int64)
    marks = torch.arange(samples).unsqueeze(1).expand(-1, 3)
    return contrastive_loss(model, (tokens, marks), Config())[0]


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the pairs and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    texts = load_dataset(data, args.data, model)
    part = part_size(config, world_size())
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(texts, start, count, part, data.max_len, config.seed),
        held_out=lambda size: batches(texts, "val", data.max_len, size),
        loss=lambda module, batch: contrastive_loss(module, batch, config),
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": texts.sha256, "part": part, **named(data=data)},
        unit="pairs",
        texts=texts.tokenizer.files(),
    )


def part_size(config: Config, processes: int) -> int:
    """Return how many pairs have each other's texts as negatives, or stop.

    That is a batch, or each of the parts that --grad-accum cuts it into, however many processes
    share the work; so a part must be one process's at a time, or that of some of them together.
    """
    part, share = config.batch_size // config.grad_accum, config.batch_size // processes
    if part % share and share % part:
        fail(
            f"{share} pairs of a process and {part} of a part of the update do not divide each "
            "other: change --batch-size or --grad-accum."
        )
    return part


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config = settings(Config, args)
    device = choose_device(args.device, args.threads)
    with processes(device):
        train(task(args, config), args, device)


if __name__ == "__main__":
    run(main)
