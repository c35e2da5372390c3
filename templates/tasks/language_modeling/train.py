"""Train the language model on your text, or on a small corpus that comes with Python.

    python train.py                                       the proxy, on the bundled corpus
    python train.py --data my_texts --steps 2000          the proxy, on your text
    python train.py --size full --data tokens             the full model, on prepared tokens
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForCausalLM.from_pretrained("out/checkpoint")`.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, load_corpus, windows
from model import Config as ModelConfig
from model import Model
from runtime.device import choose_device
from runtime.distributed import processes
from runtime.errors import run
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.tokenizer import tokenizer_files
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 10000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 64
    """Samples in an update."""
    grad_accum: int = 1
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 0.0003
    """Peak learning rate."""
    warmup_steps: int = 500
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.1
    """Decay of matrices; gains are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.95
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
    """Draws the first weights and the order of samples."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="text, a folder of texts, or what `data.py prepare` made (default: bundled corpus)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def next_token_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the next token in nats, and how many were to be predicted.

    -(1 / T) * sum over t of log p(x_t | x_1 ... x_{t-1}), with targets of -1 left out.
    """
    tokens, targets = batch  # (B, T) each
    return module(tokens, targets), int((targets >= 0).sum())


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    tokens = torch.zeros(samples, data.seq_len, dtype=torch.int64)
    loss: Tensor = model(tokens, tokens)
    return loss


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the corpus and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    corpus = load_corpus(data, args.data, model.vocab_size)
    train_split, val_split = corpus.splits["train"], corpus.splits["val"]
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(train_split, start, count, data.seq_len, config.seed),
        held_out=lambda size: windows(val_split, data.seq_len, data.seq_len, size),
        loss=next_token_loss,
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": corpus.sha256, **named(data=data)},
        unit="tokens",
        amount=data.seq_len,
        entries={"bos_token_id": None, "eos_token_id": corpus.end_of_text},
        texts=tokenizer_files(corpus.tokenizer_json),
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
