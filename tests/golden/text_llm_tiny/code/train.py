"""Train the language model on your text, or on a small corpus that comes with Python.

    python train.py                                       the proxy, on the bundled corpus
    python train.py --data my_texts --steps 2000          the proxy, on your text
    python train.py --size full --data tokens             the full model, on prepared tokens
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
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
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.tokenizer import tokenizer_files
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the language model is trained."""

    steps: int = 381
    """Updates of the weights; the learning rate's schedule spans them."""
    batch_size: int = 1024
    """Samples in an update."""
    grad_accum: int = 32
    """Parts of an update that pass through the model one after the other; more take less memory."""
    optimizer: str = "adamw"
    """adamw, adam, sgd, rmsprop, adafactor, or muon with AdamW for all but matrices of blocks."""
    learning_rate: float = 0.0006
    """Peak learning rate."""
    warmup_steps: int = 38
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.1
    """Decay of matrices and kernels; biases and gains are not decayed."""
    beta1: float = 0.9
    """Share of the mean gradient that an update keeps; the momentum of SGD and RMSprop."""
    beta2: float = 0.95
    """Share of the mean squared gradient that an update keeps, of Adam, AdamW and RMSprop."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient; a longer one is scaled down to it."""
    eval_every: int = 63
    """Updates between two validations."""
    eval_batches: int = 16
    """Batches of the validation split that a validation takes, at most."""
    save_every: int = 381
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights, the order of samples and all else that is random."""
    table_rate: float = 1.0
    """Multiple of the learning rate for the token table and the output layer."""
    table_scale: float = 1.0
    """Factor on the first weights of the token table."""
    write_scale: float = 1.0
    """Factor on those of the layers that write to the residual stream, and of the output layer."""


WRITES = ("o_proj.weight", "down_proj.weight", "lm_head.weight")
TABLES = ("embed_tokens.weight", "lm_head.weight")


@torch.no_grad()
def scaled(model: Model, config: Config) -> Model:
    """Scale the first weights as the settings say, and return the model."""
    # With a factor of 0, blocks add nothing at first and all tokens are equally likely, so a high
    # rate is stable from the first step.
    for name, weight in model.named_parameters():
        if name.endswith(WRITES):
            weight.mul_(config.write_scale)
        elif name in TABLES:
            weight.mul_(config.table_scale)
    return model


def next_token_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the next token in nats, and the number of targets.

    -(1 / T) * sum over t of log p(x_t | x_1 ... x_{t-1}), without targets of -1.
    """
    tokens, targets = batch  # (B, T) each
    # Padding and context that an earlier window has scored are -1, so the count is not B * T.
    return module(tokens, targets), int((targets >= 0).sum())


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    tokens = torch.zeros(samples, data.seq_len, dtype=torch.int64)
    loss: Tensor = model(tokens, tokens)
    return loss


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    corpus = load_corpus(data, args.data, model.vocab_size, args.begin)
    train_split, val_split = corpus.splits["train"], corpus.splits["val"]
    length = data.seq_len
    return Job(
        config=config,
        data=data,
        name=corpus.name,
        sha256=corpus.sha256,
        splits={split: len(tokens) for split, tokens in corpus.splits.items()},
        build=lambda: scaled(Model(model), config),
        batch=lambda start, count: batch_at(train_split, start, count, length, config.seed),
        # Windows lie side by side: this is a quick look, and eval.py gives each token its context.
        held_out=lambda size: windows(val_split, length, length, size),
        loss=next_token_loss,
        example=example_loss,
        unit="tokens",
        counts={"documents": corpus.num_documents, "bytes": corpus.num_bytes},
        rates=dict.fromkeys(TABLES, config.table_rate),
        amount=length,
        # transformers stops generating at the token that ends a text; no token begins one.
        entries={
            "bos_token_id": None,
            "eos_token_id": corpus.tokenizer.end_of_text,
            "pad_token_id": corpus.tokenizer.padding,
        },
        texts=tokenizer_files(corpus.tokenizer.json, model.max_seq_len),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="text, a folder of texts, or what `data.py prepare` made (default: bundled corpus)",
)

if __name__ == "__main__":
    run(main)
