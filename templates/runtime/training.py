"""A training run of any task, from its start or a checkpoint to its last step."""

import argparse
import bisect
import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.checkpoint import (
    EXPERIENCE,
    OPTIMIZER,
    STATE,
    check_only,
    find_checkpoint,
    load_optimizers,
    load_tensors,
    optimizer_tensors,
    save_checkpoint,
    saved_state,
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
from runtime.digests import digest
from runtime.distributed import (
    blocks,
    parallelize,
    processes,
    rank,
    share_buffers,
    total,
    whole,
    world_size,
)
from runtime.errors import fail
from runtime.flops import sample_flops
from runtime.job import Batch, Job
from runtime.limits import check_settings
from runtime.lock import locked
from runtime.loggers import Run as Logged
from runtime.loggers import check_loggers, open_loggers
from runtime.loop import StepSize, fit, say
from runtime.metrics import Metrics
from runtime.notes import note
from runtime.optimization import (
    learning_rate_at,
    multiply_rates,
    optimizers,
    state_size,
    update,
)
from runtime.options import Group, Taken, training_config, training_options
from runtime.order import be_random_at
from runtime.origin import (
    HERE,
    code_digests,
    command,
    config_digest,
    devices,
    versions,
)
from runtime.record import Record
from runtime.settings import Training, load_config, read_json
from runtime.speedup import checkpoint_gradients, compile_modules
from runtime.usage import Usage
from runtime.weights import FILE, check_network, check_same, load_weights, outline, weights_digest

NAMED = ("id2label", "classes", "columns")
"""Entries of config.json that say what the inputs and outputs of a network stand for."""
FREE = ("grad_accum", "eval_every", "eval_batches", "save_every", "dtype")
"""Settings that a resumed run may change, since they do not change what is trained."""


def script(
    doc: str | None,
    kinds: tuple[type[Any], type[Any], type[Any]],
    job_of: Callable[[argparse.Namespace, Any, Any, Any], Job],
    *,
    data: str | Taken,
    options: Callable[[Group], None] = lambda group: None,
) -> Callable[[], None]:
    """Return the main function of a train.py.

    Args:
        doc: The docstring of the script, which --help shows.
        kinds: The Configs of train.py, data.py and model.py.
        job_of: Makes its job from the options and from these, at the chosen size.
        data: What --data takes.
        options: Adds the options that only this script has.
    """

    def main() -> None:
        own, of_data, of_model = kinds
        args = training_options(doc, own, data, options).parse_args()
        args.folder = args.checkpoint or args.out / "checkpoint"
        check_loggers(args.report_to)
        folders = () if args.dry_run else (args.folder, args.out / "checkpoint")
        with locked(folders):
            config = training_config(own, args)
            device = choose_device(args.device, args.threads)
            with processes(device):
                # All processes have met here, so none still writes the checkpoint of a run before.
                if args.resume:
                    find_checkpoint(args.folder)
                data_config = load_config(of_data, "data", args.size)
                model = load_config(of_model, "model", args.size)
                train(job_of(args, config, data_config, model), args, device)

    return main


def samples_at_once(config: Training, devices: int) -> int:
    """Return how many samples a device passes through the model at once."""
    return min(config.batch_size // devices, config.batch_size // config.grad_accum)


def train(job: Job, args: argparse.Namespace, device: torch.device) -> None:
    """Train, from the start or from a checkpoint."""
    run = Run(job, args, device)
    folder = None if args.dry_run else args.out
    loggers = open_loggers(args.report_to, run.told) if folder and rank() == 0 else {}
    run.record.entry["loggers"] = {name: logger.id for name, logger in loggers.items()}
    metrics = Metrics(folder, run.start, (run.record,), [*loggers.values()])
    with run.record, contextlib.closing(metrics):
        fit(run, range(run.start, run.start + 1 if args.dry_run else args.steps), metrics)
    written = f"{args.steps} steps done: {run.folder}"
    say("dry run done, nothing written." if args.dry_run else written)


class Run:
    """One process of a training run: the network, its optimizers, and what a step does to them."""

    def __init__(self, job: Job, args: argparse.Namespace, device: torch.device) -> None:
        """Get ready for the first step, or stop before anything large is allocated."""
        self.job, self.config = job, job.config
        self.args, self.device = args, device
        self.usage = Usage(device)
        self.folder = args.folder
        self.sharded = args.parallel == "fsdp" and world_size() > 1
        # A model on `meta` has shapes but no memory: enough to refuse what cannot fit, to compare
        # with a checkpoint, and to count FLOPs.
        self.outline = outline(job.build)
        shards = world_size() if self.sharded else 1
        state = state_size(self.outline, self.config.optimizer)
        sizes = (self.outline.num_params(), state, shards)
        say(memory_table(*sizes, device, job.average is not None))
        if not args.dry_run:
            check_only(self.folder, (STATE, "config.json", *(job.texts or {})))
        self.begun_with: str | None = None
        self.start = self._saved_step() if args.resume else 0
        if args.init_from:
            self._check_begin(args.init_from)
        if self.start >= args.steps:
            fail(f"{self.folder} is already at step {self.start}: set a larger --steps.")
        self._build()
        self.size = self._step_size()
        out = None if args.dry_run else args.out
        self.record = Record(out, self._about(), self.size.amount, self.usage)

    def _check_begin(self, folder: Path) -> None:
        """Stop if a folder has not the weights of this network; say what they do not know."""
        check_network(folder, self.outline)
        saved, entries = read_json(folder / "config.json"), dict(self.job.entries or {})
        for name in NAMED:
            if name in entries and saved.get(name, entries[name]) != entries[name]:
                note(
                    f"{folder} has another entry {name} in config.json than this run, so its "
                    "weights begin with other meanings of the numbers that they read or predict."
                )
        self.begun_with = weights_digest(folder)

    def _saved_step(self) -> int:
        """Return the step of the checkpoint, or stop if another run wrote it.

        The learning rate follows the schedule of that run, unless options set another one, which
        `check_same` then refuses.
        """
        state = saved_state(self.folder)
        own = {"steps": self.args.schedule_steps, "warmup_steps": self.args.warmup_steps}
        saved = {name: state.get(f"train.{name}") for name, given in own.items() if given is None}
        check_settings(type(self.config), "train", saved, f"{self.folder / STATE}: train")
        self.config = replace(self.config, **saved)
        check_same(self.folder, state, self._identity())
        self.begun_with = state.get("init_from")
        return int(state["step"])

    def _identity(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with the run that it continues."""
        # It must see the same samples, cut from the same data in the same way.
        same = {"sha256": self.job.sha256, **(self.job.identity or {})}
        for section, settings in self._settings().items():
            same |= {f"{section}.{k}": v for k, v in settings.items() if k not in FREE}
        return same

    def _settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings of data, training and model."""
        sections = {"data": self.job.data, "train": self.config, "model": self.outline.config}
        return {section: asdict(config) for section, config in sections.items()}

    def _about(self) -> dict[str, Any]:
        """Return what the record of this start says before its first step."""
        job = self.job
        data = {"name": job.name, "sha256": job.sha256, "unit": job.counted or job.unit}
        return {
            "command": command(),
            "size": self.args.size,
            "seed": self.config.seed,
            "code": code_digests(),
            "config": config_digest(),
            "data": data | {"splits": dict(job.splits), "counts": dict(job.counts)},
            "devices": devices(self.device),
            "versions": versions(),
            "precision": "bfloat16" if in_bfloat16(self.device, self.config.dtype) else "float32",
            "parallel": self.args.parallel if world_size() > 1 else "none",
            "init_from": self.begun_with,
            "settings": self._settings(),
            "unit": job.unit,
            "from": self.start,
        }

    def told(self, logger: str) -> Logged:
        """Return what a logger is told of this run."""
        pairs = {f"{s}.{k}": v for s, each in self._settings().items() for k, v in each.items()}
        name = f"{self.args.out.resolve().name} {self.record.entry['began']}"
        known = (self.record.earlier("loggers") or {}).get(logger)
        return Logged(self.args.out, HERE.parent.name, name, self.start, pairs, known)

    def _build(self) -> None:
        """Make the network and its optimizers, as the checkpoint has them if it is resumed."""
        job, args, config = self.job, self.args, self.config
        be_deterministic(config.seed)
        # With shards, only the first process holds the whole model, on the CPU, and distributes the
        # shards. A GPU never has to hold more than its share.
        empty = self.sharded and rank() != 0
        # The network is built on the CPU for every device, so that a seed draws the same weights.
        with torch.device("meta" if empty else "cpu"):
            self.model = job.build()
        # Weights are loaded before `parallelize`, while tensors are still whole.
        if args.begin and not empty:
            load_weights(self.model, args.begin)
        # Both change the forward passes of the blocks, which `parallelize` then wraps.
        if args.grad_checkpoint != "none":
            checkpoint_gradients(blocks(self.model), args.grad_checkpoint, args.compile)
        if args.compile:
            compile_modules(blocks(self.model) if self.sharded else [self.model])
        low = in_bfloat16(self.device, config.dtype)
        self.module = parallelize(
            self.model, blocks(self.model), args.parallel, self.device, low, bool(job.stages)
        )
        # The optimizers and the average hold the parameters as they lie now, on the device and in
        # shards, so they come after `parallelize`.
        self.optimizers = optimizers(self.model, config)
        multiply_rates(self.optimizers, self.model, job.rates)
        self.average = job.average(self.model) if job.average else None
        self.averaged = self.average.in_place if self.average else contextlib.nullcontext
        self.validated = self.average.validated if self.average else contextlib.nullcontext
        # A checkpoint with an average has it in model.safetensors, so the average has just started
        # from itself; the weights that were being updated come with the optimizers' state.
        if args.resume:
            load_optimizers(self.model, self.optimizers, self.folder / OPTIMIZER)
        if job.experience:
            job.experience.begin(self.module, self.device)
            if args.resume:
                tensors = load_tensors(self.folder / EXPERIENCE, self.start)
                job.experience.restore(tensors, saved_state(self.folder))

    def _step_size(self) -> StepSize:
        """Return what a step processes; its FLOPs only where the device's peak is known."""
        config, unit = self.config, self.job.unit
        amount = config.batch_size * self.job.amount
        peak = peak_flops(self.device) if in_bfloat16(self.device, config.dtype) else None
        if peak is None:
            return StepSize(unit, amount)
        with torch.device("meta"):
            flops = sample_flops(lambda count: self.job.example(self.outline, count, self.job.data))
        return StepSize(unit, amount, config.batch_size * flops / (peak * world_size()))

    def step(self, step: int, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Take a step, counted from 0, and return its metrics; None if it was broken off."""
        config, experience = self.config, self.job.experience
        be_random_at(config.seed, step, rank())
        self.module.train()
        with self.usage.timed():
            made = experience.collect(self.module, step) if experience else {}
        rate = self._enter(step)
        parts = self.parts(step)
        if self.args.dry_run and len(parts) > 1:
            say(f"the dry run passes 1 of the {len(parts)} parts of a step.")
            parts = parts[:1]
        with self.usage.timed():
            done = update(self.module, self.optimizers, parts, rate, config.grad_clip, stopped)
        if done is None:
            return None
        loss, norm = done
        if self.average:
            self.average.update(step)
        return {"train_loss": loss, "learning_rate": rate, "grad_norm": norm, **made}

    def _enter(self, step: int) -> float:
        """Take the loss of the stage that a step is in, and return the step's learning rate."""
        config, stages = self.config, self.job.stages
        begins = [0, *(round(stage.share * config.steps) for stage in stages), config.steps]
        place = bisect.bisect_right(begins, min(step, config.steps - 1)) - 1
        self.loss = (self.job.loss, *(stage.loss for stage in stages))[place]
        begin, steps = begins[place], begins[place + 1] - begins[place]
        warmup = round(config.warmup_steps * steps / config.steps)
        peak, final = config.learning_rate, config.final_lr_share
        return learning_rate_at(step - begin, peak, warmup, steps, final)

    def parts(self, step: int) -> list[Callable[[], tuple[Tensor, int]]]:
        """Return the parts of this process's share of an update, for `update`."""
        share = self.config.batch_size // world_size()
        start = step * self.config.batch_size + rank() * share
        size = samples_at_once(self.config, world_size())

        def part(position: int, count: int) -> tuple[Tensor, int]:
            return self._loss(self.job.batch(position, count))

        cuts = range(0, share, size)
        return [functools.partial(part, start + at, min(size, share - at)) for at in cuts]

    def _loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Return the mean loss of a batch and the number of its targets."""
        batch = tuple(tensor.to(self.device) for tensor in batch)
        with autocast(self.device, self.config.dtype):
            return self.loss(self.module, batch)

    @torch.no_grad()
    def validate(self, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Return the mean loss on the first batches of the validation split; None if broken off.

        What was seen on the way to these batches, as the return of episodes, stands beside it.

        FSDP needs every process in every forward pass, so a process that has run out of batches
        repeats the last one with weight 0.
        """
        config = self.config
        size = config.batch_size // config.grad_accum
        count = 1 if self.args.dry_run else config.eval_batches * config.grad_accum
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        with self.usage.timed(), self.validated():
            self.module.eval()
            share_buffers(self.module)
            batches = list(itertools.islice(self.job.held_out(size), count))
            for turn in range(math.ceil(len(batches) / world_size())):
                if turn and stopped():
                    return None
                index = turn * world_size() + rank()
                # Each validation draws the same random numbers, so that losses of different steps
                # are comparable. Positions below 0 are free, because no step has them.
                be_random_at(config.seed, -1 - index, 0)
                loss, scored = self._loss(batches[min(index, len(batches) - 1)])
                scored = scored if index < len(batches) else 0
                mean = loss.double()
                sums += torch.stack((mean * scored, torch.full_like(mean, scored)))
        loss_sum, targets = total(sums).tolist()
        seen = self.job.experience.seen if self.job.experience else {}
        return {"val_loss": float(loss_sum / targets), **seen}

    def save(self, done: int) -> None:
        """Save a checkpoint after this number of steps; a dry run writes nothing."""
        if self.args.dry_run:
            return
        model, job = self.model, self.job
        weights = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
        # A shard needs a dimension to be cut along, but other readers of the file expect none.
        weights |= {n: whole(weights[n]).reshape(()) for n in getattr(model, "scalars", ())}
        entries = asdict(model.config) | model.checkpoint_config() | dict(job.entries or {})
        experience = job.experience
        state = {"step": done, "init_from": self.begun_with} | self._identity()
        state |= experience.state() if experience else {}
        memory = experience.tensors() if experience else {}
        texts = {"config.json": to_json(entries), **(job.texts or {})}
        # Who takes the checkpoint in can tell that another tokenizer lies beside the weights.
        state["files"] = {name: digest(text.encode()) for name, text in texts.items()}
        texts[STATE] = to_json(state)
        # The file's weights are those of the average; the optimizer needs those that it updates.
        with self.averaged() as raw:
            optimizer = optimizer_tensors(model, self.optimizers) | (raw or {})
            files = {FILE: weights, OPTIMIZER: optimizer}
            if experience:
                files[EXPERIENCE] = memory
            save_checkpoint(self.folder, files, texts, done)
        self.record.saved(done, weights_digest(self.folder) if rank() == 0 else None)
