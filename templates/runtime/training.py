"""A training run, from its start or a checkpoint to its last step, whatever the task."""

import argparse
import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

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
from runtime.device import autocast, be_deterministic, in_bfloat16, memory_table, peak_flops
from runtime.distributed import (
    blocks,
    parallelize,
    rank,
    share_buffers,
    total,
    whole,
    world_size,
)
from runtime.errors import fail
from runtime.flops import training_flops
from runtime.loop import Work, fit, say
from runtime.metrics import Metrics
from runtime.optimization import adamw, learning_rate_at, update
from runtime.order import be_random_at
from runtime.settings import load_config, read_json
from runtime.speedup import checkpoint_gradients, compile_modules

Batch = tuple[Tensor, ...]
FREE = ("grad_accum", "eval_every", "eval_batches", "save_every", "dtype")
"""Settings that a resumed run may change, since they do not change the weights."""


class Settings(Protocol):
    """What the Config of every train.py holds; there its fields are explained."""

    steps: int
    batch_size: int
    grad_accum: int
    learning_rate: float
    warmup_steps: int
    final_lr_share: float
    weight_decay: float
    beta1: float
    beta2: float
    grad_clip: float
    eval_every: int
    eval_batches: int
    save_every: int
    dtype: str
    seed: int


ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Task:
    """What a train.py brings of its own.

    Attributes:
        config: Its Config, with the options that were given.
        build: Makes the network; it has `config`, `num_params`, `checkpoint_name` and
            `checkpoint_config`.
        batch: Returns samples of the training split from a position and a count.
        held_out: Returns the batches of the validation split from a batch's size.
        loss: Passes a batch through the module; returns the mean loss and over how many targets.
        example: Returns the loss of one sample without a meaning, to count its operations.
        identity: What a resumed run must have in common with its first part, beside `config` and
            the network's: the data's digest and settings.
        unit: What is counted to tell the speed, such as `tokens`.
        amount: How many of them a sample has.
        entries: What config.json says beside the network's own.
        texts: The checkpoint's other files.
        average: Starts a `runtime.ema.Average` of the network's weights, where there is to be one;
            validation and the checkpoint's model.safetensors then take it in their place.
    """

    config: Any
    build: Callable[[], Any]
    batch: Callable[[int, int], Batch]
    held_out: Callable[[int], Iterable[Batch]]
    loss: Callable[[nn.Module, Batch], tuple[Tensor, int]]
    example: Callable[[Any], Tensor]
    identity: Mapping[str, Any]
    unit: str
    amount: int = 1
    entries: Mapping[str, Any] | None = None
    texts: Mapping[str, str] | None = None
    average: Callable[[nn.Module], Any] | None = None


def settings(kind: type[ConfigT], args: argparse.Namespace) -> ConfigT:
    """Return the size's Config with the options that were given, or stop.

    Its `steps` are those of the learning rate's schedule; `args.steps` becomes the step to stop at.
    """
    check_free(args.checkpoint or args.out / "checkpoint")
    config: Any = load_config(kind, "train", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    args.steps = given.pop("steps", config.steps)
    steps = args.schedule_steps or max(config.steps, args.steps)
    config = replace(config, **given, steps=steps)
    for parts in (config.grad_accum, world_size()):
        if config.batch_size % parts:
            fail(f"{config.batch_size} samples cannot be cut in {parts} equal parts.")
    found: ConfigT = config
    return found


def samples_at_once(config: Settings, devices: int) -> int:
    """Return how many samples a device passes through the model at once."""
    return min(config.batch_size // devices, config.batch_size // config.grad_accum)


def named(**sections: object) -> dict[str, Any]:
    """Return the fields of some Configs as `section.field`, without those that may change."""
    values = {f"{s}.{k}": v for s, each in sections.items() for k, v in asdict(each).items()}  # type: ignore[call-overload]
    return {key: value for key, value in values.items() if key.partition(".")[2] not in FREE}


def train(task: Task, args: argparse.Namespace, device: torch.device) -> None:
    """Train, from the start or from a checkpoint."""
    folder = args.checkpoint or args.out / "checkpoint"
    sharded = args.parallel == "fsdp" and world_size() > 1
    # On `meta` a model has shapes and no memory: refuse what cannot fit before it is allocated.
    with torch.device("meta"):
        parameters = task.build().num_params()
    averaged = task.average is not None
    say(memory_table(parameters, world_size() if sharded else 1, device, averaged))

    start = 0
    if args.resume:
        state = read_json(find_checkpoint(folder) / "state.json")
        if args.schedule_steps is None:
            task = replace(task, config=replace(task.config, steps=state["train.steps"]))
        check_same(folder, state, _identity(task))
        start = state["step"]
    config, stop = task.config, args.steps
    if start >= stop:
        fail(f"{folder} is at step {start} already: ask for more with --steps.")

    be_deterministic(config.seed)
    with torch.device("meta" if sharded and rank() != 0 else "cpu"):
        model = task.build()
    if args.resume and not (sharded and rank() != 0):
        load_weights(model, folder / "model.safetensors", model.checkpoint_name)
    if args.grad_checkpoint:
        checkpoint_gradients(blocks(model))
    if args.compile:
        compile_modules(blocks(model) if sharded else [model])
    low = in_bfloat16(device, config.dtype)
    module = parallelize(model, blocks(model), args.parallel, device, low)
    optimizer = adamw(model, config.weight_decay, (config.beta1, config.beta2))
    average = task.average(model) if task.average else None
    in_place = average.in_place if average else contextlib.nullcontext
    if args.resume:
        load_optimizer(model, optimizer, folder / "optimizer.safetensors")

    def take_step(step: int) -> dict[str, float]:
        be_random_at(config.seed, step, rank())
        module.train()
        rate = learning_rate_at(
            step, config.learning_rate, config.warmup_steps, config.steps, config.final_lr_share
        )
        parts = _update_parts(task, module, step, device)
        loss, norm = update(module, optimizer, parts, rate, config.grad_clip)
        if average:
            average.update(step)
        return {"train_loss": loss, "learning_rate": rate, "grad_norm": norm}

    def save(step: int) -> None:
        weights = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
        # Shards need a dimension, which the file's other readers do not expect.
        weights |= {n: whole(weights[n]).reshape(()) for n in getattr(model, "scalars", ())}
        entries = asdict(model.config) | model.checkpoint_config() | dict(task.entries or {})
        state = {"step": step} | _identity(task)
        texts = {"config.json": to_json(entries), "state.json": to_json(state)}
        texts |= task.texts or {}
        with in_place() as raw:
            state_of_training = optimizer_tensors(model, optimizer) | (raw or {})
            save_checkpoint(folder, weights, state_of_training, texts)

    def validate() -> float:
        with in_place():
            return _validation_loss(task, module, device)

    steps = range(start, start + 1 if args.dry_run else stop)
    metrics = Metrics(None if args.dry_run else args.out, start, args.tensorboard)
    fit(
        steps,
        take_step,
        validate,
        (lambda step: None) if args.dry_run else save,
        metrics,
        _work(task, device),
        device,
        config.eval_every,
        config.save_every,
    )
    metrics.close()
    say("dry run done, nothing written." if args.dry_run else f"{stop} steps done: {folder}")


def _identity(task: Task) -> dict[str, Any]:
    with torch.device("meta"):
        model = task.build()
    return {**task.identity, **named(train=task.config, model=model.config)}


def _on(batch: Batch, device: torch.device) -> Batch:
    return tuple(tensor.to(device) for tensor in batch)


def _update_parts(
    task: Task, module: nn.Module, step: int, device: torch.device
) -> list[Callable[[], tuple[Tensor, int]]]:
    """Return the parts of this process's share of an update, for `update`."""
    config = task.config
    share = config.batch_size // world_size()
    start = step * config.batch_size + rank() * share
    size = samples_at_once(config, world_size())

    def part(position: int, count: int) -> tuple[Tensor, int]:
        batch = _on(task.batch(position, count), device)
        with autocast(device, config.dtype):
            return task.loss(module, batch)

    cuts = range(0, share, size)
    return [functools.partial(part, start + at, min(size, share - at)) for at in cuts]


@torch.no_grad()
def _validation_loss(task: Task, module: nn.Module, device: torch.device) -> float:
    """Return the mean loss on the first batches of the validation split.

    Processes take turns. Each passes as many batches as any, since shards are gathered together;
    a batch too many does not count. What the loss draws is the same each time.
    """
    config = task.config
    size, count = config.batch_size // config.grad_accum, config.eval_batches * config.grad_accum
    batches = list(itertools.islice(task.held_out(size), count))
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    module.eval()
    share_buffers(module)
    for turn in range(math.ceil(len(batches) / world_size())):
        index = turn * world_size() + rank()
        be_random_at(config.seed, -1 - index, 0)
        with autocast(device, config.dtype):
            loss, scored = task.loss(module, _on(batches[min(index, len(batches) - 1)], device))
        scored = scored if index < len(batches) else 0
        sums += torch.stack((loss.double() * scored, torch.full_like(loss.double(), scored)))
    loss_sum, targets = total(sums).tolist()
    return float(loss_sum / targets)


def _work(task: Task, device: torch.device) -> Work:
    """Return what a step does; its operations only where the device's peak is known."""
    config = task.config
    amount = config.batch_size * task.amount
    peak = peak_flops(device) if in_bfloat16(device, config.dtype) else None
    if peak is None:
        return Work(task.unit, amount)
    with torch.device("meta"):
        model = task.build()
        flops = training_flops(lambda: task.example(model))
    return Work(task.unit, amount, config.batch_size * flops / (peak * world_size()))
