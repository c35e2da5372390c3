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
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

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
    save_checkpoint,
    to_json,
)
from runtime.device import (
    autocast,
    be_deterministic,
    choose_device,
    in_bfloat16,
    memory_table,
    peak_flops,
)
from runtime.distributed import parallelize, processes, rank, total, world_size
from runtime.errors import fail, run
from runtime.flops import training_flops
from runtime.loop import Work, fit, say
from runtime.metrics import Metrics
from runtime.optimization import adamw, learning_rate_at, update
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config, read_json
from runtime.speedup import checkpoint_gradients, compile_modules


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 380
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 1024
    """Samples in an update."""
    grad_accum: int = 32
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 0.0006
    """Peak learning rate."""
    warmup_steps: int = 38
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
    eval_every: int = 63
    """Updates between two looks at the validation split."""
    eval_batches: int = 16
    """Batches of the validation split in such a look, at most."""
    save_every: int = 380
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


def settings(args: argparse.Namespace) -> tuple[Config, int]:
    """Return the size's Config with the options that were given, and the step to stop at."""
    config = load_config(Config, "train", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    stop = given.pop("steps", config.steps)
    config = replace(config, **given, steps=args.schedule_steps or max(config.steps, stop))
    for parts in (config.grad_accum, world_size()):
        if config.batch_size % parts:
            fail(f"{config.batch_size} samples cannot be cut in {parts} equal parts.")
    return config, stop


def samples_at_once(config: Config, devices: int) -> int:
    """Return how many samples a device passes through the model at once."""
    return min(config.batch_size // devices, config.batch_size // config.grad_accum)


def update_parts(
    module: nn.Module, tokens: Tokens, step: int, seq_len: int, config: Config, device: torch.device
) -> list[Callable[[], tuple[Tensor, int]]]:
    """Return the parts of this process's share of an update, for `update`."""
    share = config.batch_size // world_size()
    start = step * config.batch_size + rank() * share
    size = samples_at_once(config, world_size())

    def part(position: int, count: int) -> tuple[Tensor, int]:
        inputs, targets = batch_at(tokens, position, count, seq_len, config.seed)
        with autocast(device, config.dtype):
            loss = module(inputs.to(device), targets.to(device))
        return loss, targets.numel()

    cuts = range(0, share, size)
    return [functools.partial(part, start + at, min(size, share - at)) for at in cuts]


@torch.no_grad()
def validation_loss(
    module: nn.Module, tokens: Tokens, seq_len: int, config: Config, device: torch.device
) -> float:
    """Return the mean loss in nats per token on the first batches of the validation split.

    Processes take turns. Each passes as many batches as any, since shards are gathered together;
    a batch too many does not count.
    """
    size, count = config.batch_size // config.grad_accum, config.eval_batches * config.grad_accum
    batches = list(itertools.islice(windows(tokens, seq_len, seq_len, size), count))
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for turn in range(math.ceil(len(batches) / world_size())):
        index = turn * world_size() + rank()
        inputs, targets = batches[min(index, len(batches) - 1)]
        scored = int((targets >= 0).sum()) if index < len(batches) else 0
        with autocast(device, config.dtype):
            loss = module(inputs.to(device), targets.to(device)).double()
        sums += torch.stack((loss * scored, torch.full_like(loss, scored)))
    nats, targets_scored = total(sums).tolist()
    return float(nats / targets_scored)


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


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    tokens = torch.zeros(samples, data.seq_len, dtype=torch.int64)
    loss: Tensor = model(tokens, tokens)
    return loss


def work(config: Config, data: DataConfig, model: ModelConfig, device: torch.device) -> Work:
    """Return what a step does; its operations only where the device's peak is known."""
    tokens = config.batch_size * data.seq_len
    peak = peak_flops(device) if in_bfloat16(device, config.dtype) else None
    if peak is None:
        return Work("tokens", tokens)
    with torch.device("meta"):
        module = Model(model)
        flops = training_flops(lambda: example_loss(module, 1, data))
    return Work("tokens", tokens, config.batch_size * flops / (peak * world_size()))


def train(args: argparse.Namespace, config: Config, stop: int, device: torch.device) -> None:
    """Train, from the start or from a checkpoint."""
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = args.checkpoint or args.out / "checkpoint"
    check_free(folder)
    corpus = load_corpus(data_config, args.data, model_config.vocab_size)
    sharded = args.parallel == "fsdp" and world_size() > 1

    # On `meta` a model has shapes and no memory: refuse what cannot fit before it is allocated.
    with torch.device("meta"):
        parameters = Model(model_config).num_params()
    say(memory_table(parameters, world_size() if sharded else 1, device))

    start = 0
    if args.resume:
        state = read_json(find_checkpoint(folder) / "state.json")
        if args.schedule_steps is None:
            config = replace(config, steps=state["train.steps"])
        check_same(folder, state, identity(config, data_config, model_config, corpus))
        start = state["step"]
    if start >= stop:
        fail(f"{folder} is at step {start} already: ask for more with --steps.")

    be_deterministic(config.seed)
    with torch.device("meta" if sharded and rank() != 0 else "cpu"):
        model = Model(model_config)
    if args.resume and not (sharded and rank() != 0):
        load_weights(model, folder / "model.safetensors", model.checkpoint_name)
    if args.grad_checkpoint:
        checkpoint_gradients(model.layers)
    if args.compile:
        compile_modules(model.layers if sharded else [model])
    low = in_bfloat16(device, config.dtype)
    module = parallelize(model, model.layers, args.parallel, device, low)
    optimizer = adamw(model, config.weight_decay, (config.beta1, config.beta2))
    if args.resume:
        load_optimizer(model, optimizer, folder / "optimizer.safetensors")

    def take_step(step: int) -> dict[str, float]:
        rate = learning_rate_at(
            step, config.learning_rate, config.warmup_steps, config.steps, config.final_lr_share
        )
        tokens = corpus.splits["train"]
        parts = update_parts(module, tokens, step, data_config.seq_len, config, device)
        loss, norm = update(module, optimizer, parts, rate, config.grad_clip)
        return {"train_loss": loss, "learning_rate": rate, "grad_norm": norm}

    def validate() -> float:
        return validation_loss(module, corpus.splits["val"], data_config.seq_len, config, device)

    def save(step: int) -> None:
        weights = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
        tokens = {"bos_token_id": None, "eos_token_id": corpus.end_of_text}
        state = {"step": step} | identity(config, data_config, model_config, corpus)
        texts = {
            "config.json": to_json(asdict(model_config) | model.checkpoint_config() | tokens),
            "state.json": to_json(state),
        }
        texts |= tokenizer_files(corpus)
        save_checkpoint(folder, weights, optimizer_tensors(model, optimizer), texts)

    steps = range(start, start + 1 if args.dry_run else stop)
    metrics = Metrics(None if args.dry_run else args.out, start, args.tensorboard)
    fit(
        steps,
        take_step,
        validate,
        (lambda step: None) if args.dry_run else save,
        metrics,
        work(config, data_config, model_config, device),
        device,
        config.eval_every,
        config.save_every,
    )
    metrics.close()
    say("dry run done, nothing written." if args.dry_run else f"{stop} steps done: {folder}")


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config, stop = settings(args)
    device = choose_device(args.device, args.threads)
    with processes(device):
        train(args, config, stop, device)


if __name__ == "__main__":
    run(main)
