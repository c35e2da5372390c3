"""Train the classifier on your texts, or on translations that come with Django.

    python train.py                                       the proxy, on the bundled texts
    python train.py --data reviews.csv --steps 2000       the proxy, on your texts
    python train.py --size full --data reviews.csv        the full model
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


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="texts with labels: .csv, .jsonl, .parquet, or a folder (default: bundled texts)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def label_loss(module: nn.Module, batch: Batch, token_drop: float) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the label in nats, and how many texts there were.

    -(1 / B) * sum over texts i of log p(y_i | x_i), where x_i lacks what training hides.
    """
    tokens, labels = batch  # (B, T), (B)
    if module.training:
        tokens = partly_hidden(tokens, token_drop)
    return F.cross_entropy(module(tokens).float(), labels), len(labels)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    tokens = torch.ones(samples, data.max_len, dtype=torch.int64)
    return label_loss(model, (tokens, tokens[:, 0]), token_drop=0.0)[0]


def label_entries(labels: tuple[str, ...], num_classes: int) -> dict[str, dict[str, str | int]]:
    """Return what config.json says of the classes; those that the data lacks have a number."""
    unused = (f"LABEL_{number}" for number in range(len(labels), num_classes))
    names = (*labels, *unused)
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the texts and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    texts = load_dataset(data, args.data, model)
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(texts, start, count, data, config.seed),
        held_out=lambda size: batches(texts, "val", data.max_len, size),
        loss=lambda module, batch: label_loss(module, batch, config.token_drop),
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": texts.sha256, **named(data=data)},
        unit="texts",
        entries=label_entries(texts.labels, model.num_classes),
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
