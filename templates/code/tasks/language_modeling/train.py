"""Train the language model on your text, or on a small corpus that comes with Python.

    python train.py                                       the proxy, on the bundled corpus
    python train.py --data my_texts --steps 2000          the proxy, on your text
    python train.py --size full --data tokens             the full model, on prepared tokens
    python train.py --resume                              go on from the last checkpoint

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForCausalLM.from_pretrained("out/checkpoint")`.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Corpus, Tokens, batch_at, load_corpus, tokenizer_files, windows
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import (
    check_free,
    check_same,
    find_checkpoint,
    load_optimizer,
    load_weights,
    optimizer_tensors,
    read_tensors,
    save_checkpoint,
    to_json,
)
from runtime.device import autocast, be_deterministic, choose_device, memory_table
from runtime.errors import fail, run
from runtime.loop import fit
from runtime.optimization import adamw, learning_rate_at, update
from runtime.options import positive, shared_options, sized
from runtime.settings import load_config, read_json


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 10000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 64
    """Samples in an update."""
    grad_accum: int = 1
    """Parts in which an update's samples pass through the model."""
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
    group = parser.add_argument_group("options of train.py")
    group.add_argument(
        "--schedule-steps",
        type=positive,
        metavar="N",
        help="updates over which the learning rate warms up and decays "
        "(default: the size's steps, or --steps if that is more)",
    )
    for name, kind, help_text in (
        ("learning_rate", float, "peak learning rate"),
        ("warmup_steps", int, "updates in which the rate rises"),
        ("grad_accum", positive, "parts of an update"),
        ("eval_every", positive, "updates between two validations"),
        ("save_every", positive, "updates between two checkpoints"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=kind, metavar="X", help=f"{help_text} {note}")
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        help=f"auto: bfloat16 on a GPU that has it {sized(proxy, full, 'dtype')}",
    )
    return parser.parse_args()


def settings(args: argparse.Namespace) -> tuple[Config, int]:
    """Return the size's Config with the options that were given, and the step to stop at."""
    config = load_config(Config, "train", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    stop = given.pop("steps", config.steps)
    config = replace(config, **given, steps=args.schedule_steps or max(config.steps, stop))
    if config.batch_size % config.grad_accum:
        fail(f"{config.batch_size} samples cannot be cut in {config.grad_accum} equal parts.")
    return config, stop


def micro_losses(
    model: Model, tokens: Tokens, step: int, seq_len: int, config: Config, device: torch.device
) -> Iterator[tuple[Tensor, int]]:
    """Yield the mean loss and the number of targets of each part of an update."""
    size = config.batch_size // config.grad_accum
    for part in range(config.grad_accum):
        position = step * config.batch_size + part * size
        inputs, targets = batch_at(tokens, position, size, seq_len, config.seed)
        with autocast(device, config.dtype):
            loss = model(inputs.to(device), targets.to(device))
        yield loss, targets.numel()


@torch.no_grad()
def validation_loss(
    model: Model, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> float:
    """Return the mean loss in nats per token on the first batches of the validation split."""
    total, count = 0.0, 0
    batches = windows(tokens, seq_len, seq_len, config.batch_size // config.grad_accum)
    for inputs, targets in itertools.islice(batches, config.eval_batches):
        scored = int((targets >= 0).sum())
        with autocast(device, config.dtype):
            total += model(inputs.to(device), targets.to(device)).item() * scored
        count += scored
    return total / count


def identity(
    config: Config, data: DataConfig, model: ModelConfig, corpus: Corpus
) -> dict[str, Any]:
    """Return everything that a resumed run must have in common with its first part."""
    free = ("grad_accum", "eval_every", "eval_batches", "save_every", "dtype")
    sections = {"train": asdict(config), "data": asdict(data), "model": asdict(model)}
    values = {f"{s}.{k}": v for s, section in sections.items() for k, v in section.items()}
    return {"sha256": corpus.sha256} | {
        key: value for key, value in values.items() if key.partition(".")[2] not in free
    }


def main() -> None:
    """Train, from the start or from a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config, stop = settings(args)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = args.checkpoint or args.out / "checkpoint"
    check_free(folder)
    corpus = load_corpus(data_config, args.data, model_config.vocab_size)

    # On `meta` a model has shapes and no memory: refuse what cannot fit before it is allocated.
    with torch.device("meta"):
        parameters = Model(model_config).num_params()
    print(memory_table(parameters, device), file=sys.stderr)
    be_deterministic(config.seed)
    model = Model(model_config).to(device)
    optimizer = adamw(model, config.weight_decay, (config.beta1, config.beta2))

    start = 0
    if args.resume:
        state = read_json(find_checkpoint(folder) / "state.json")
        if args.schedule_steps is None:
            config = replace(config, steps=state["train.steps"])
        check_same(folder, state, identity(config, data_config, model_config, corpus))
        load_weights(model, folder / "model.safetensors", model.checkpoint_name)
        load_optimizer(model, optimizer, read_tensors(folder / "optimizer.safetensors"))
        start = state["step"]
    if start >= stop:
        fail(f"{folder} is at step {start} already: ask for more with --steps.")

    def take_step(step: int) -> tuple[float, float]:
        rate = learning_rate_at(
            step, config.learning_rate, config.warmup_steps, config.steps, config.final_lr_share
        )
        tokens = corpus.splits["train"]
        losses = micro_losses(model, tokens, step, data_config.seq_len, config, device)
        return update(model, optimizer, losses, rate, config.grad_clip), rate

    def validate() -> float:
        return validation_loss(model, corpus.splits["val"], data_config.seq_len, config, device)

    def save(step: int) -> None:
        weights = {model.checkpoint_name(n): p for n, p in model.named_parameters()}
        tokens = {"bos_token_id": None, "eos_token_id": corpus.end_of_text}
        state = {"step": step} | identity(config, data_config, model_config, corpus)
        texts = {
            "config.json": to_json(asdict(model_config) | model.checkpoint_config() | tokens),
            "state.json": to_json(state),
        }
        texts |= tokenizer_files(corpus)
        save_checkpoint(folder, weights, optimizer_tensors(model, optimizer), texts)

    args.out.mkdir(parents=True, exist_ok=True)
    metrics = args.out / "metrics.jsonl"
    fit(
        range(start, stop), take_step, validate, save, metrics, config.eval_every, config.save_every
    )
    print(f"{stop} steps done: {folder}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
