"""Options that the scripts of a package share, so that one command line works for all."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from runtime.checkpoint import check_free
from runtime.distributed import world_size
from runtime.errors import fail
from runtime.limits import check_options
from runtime.loggers import LOGGERS, NONE
from runtime.settings import load_config
from runtime.weights import weight_files

Group = argparse._ArgumentGroup


def existing(text: str) -> Path:
    """Read the path of a file or folder that exists."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


@dataclass(frozen=True)
class Taken:
    """What --data takes; a text alone is the help of a path.

    Attributes:
        text: Help of the option.
        kind: Converts the option's text.
        name: What stands for the value in the help.
    """

    text: str
    kind: Callable[[str], Any] = existing
    name: str = "PATH"


def shared_options(
    description: str | None,
    *,
    data: str | Taken = "not used here",
    steps: str = "not used here",
    batch_size: str = "not used here",
    seed: str = "not used here",
    resume: str = "not used here",
) -> argparse.ArgumentParser:
    """Return a parser of the shared options; the arguments are the help of those that differ."""
    parser = _parser(description)
    group = parser.add_argument_group("options shared by all scripts")
    group.add_argument(
        "--size",
        choices=("proxy", "full"),
        default="proxy",
        help="proxy: the reduced model of config.json; full: the Config defaults (default: proxy)",
    )
    _add_data(group, data)
    _add_places(group)
    group.add_argument("--steps", type=positive, metavar="N", help=steps)
    group.add_argument("--batch-size", type=positive, metavar="N", help=batch_size)
    group.add_argument("--seed", type=int, metavar="N", help=seed)
    _add_device(group)
    group.add_argument("--resume", action="store_true", help=resume)
    group.add_argument(
        "--threads",
        type=positive,
        default=torch.get_num_threads(),
        metavar="N",
        help="CPU threads; runs with the same number agree bit for bit (default: %(default)s)",
    )
    return parser


def _parser(description: str | None) -> argparse.ArgumentParser:
    # Docstrings hold examples of command lines, whose line breaks must stay.
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=raw)


def _add_data(parser: argparse.ArgumentParser | Group, data: str | Taken) -> None:
    taken = data if isinstance(data, Taken) else Taken(data)
    parser.add_argument("--data", type=taken.kind, metavar=taken.name, help=taken.text)


def _add_places(group: Group) -> None:
    group.add_argument(
        "--out",
        type=Path,
        default=Path("out"),
        metavar="DIR",
        help="folder of the run (default: out)",
    )
    group.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="checkpoint folder (default: OUT/checkpoint)"
    )


def _add_device(group: Group) -> None:
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: CUDA if there is a GPU (default: auto)",
    )


def training_options(
    doc: str | None, kind: type[Any], data: str | Taken, options: Callable[[Group], None]
) -> argparse.ArgumentParser:
    """Return a parser of the options of a train.py.

    Args:
        doc: The docstring of the script.
        kind: Its Config; the help shows its values at both sizes as defaults.
        data: What --data takes.
        options: Adds the script's own options.
    """
    proxy, full = load_config(kind, "train", "proxy"), kind()
    parser = shared_options(
        doc,
        data=data,
        steps=f"stop at this number of updates {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"draws the first weights and the order of samples {sized(proxy, full, 'seed')}",
        resume="continue from the checkpoint",
    )
    group = parser.add_argument_group("options of train.py")
    group.add_argument(
        "--init-from",
        type=existing,
        metavar="DIR",
        help="start from the weights of a checkpoint of train.py or transformers, with a new "
        "optimizer at step 0; --resume continues a run instead",
    )
    _add_schedule(group, proxy, full)
    _add_execution(group, sized(proxy, full, "dtype"))
    options(group)
    return parser


def _add_schedule(group: Group, proxy: object, full: object) -> None:
    """Add the options that set when and how fast the weights change."""
    group.add_argument(
        "--schedule-steps",
        type=positive,
        metavar="N",
        help="updates over which the learning rate warms up and decays; more than --steps for a "
        "run that --resume continues (default: --steps)",
    )
    for name, parse, help_text in (
        ("learning_rate", float, "peak learning rate"),
        ("warmup_steps", int, "updates in which the rate rises to its peak"),
        ("grad_accum", positive, "parts of an update; processes share them"),
        ("eval_every", positive, "updates between two validations"),
        ("save_every", positive, "updates between two checkpoints"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=parse, metavar="X", help=f"{help_text} {note}")


def _add_execution(group: Group, dtype_note: str) -> None:
    """Add the options that set how a step is computed, and what is written."""
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        help=f"auto: bfloat16 on a GPU that supports it {dtype_note}",
    )
    group.add_argument(
        "--parallel",
        choices=("ddp", "fsdp"),
        default="ddp",
        help="under torchrun: ddp puts a whole model on each device, fsdp a share (default: ddp)",
    )
    group.add_argument(
        "--grad-checkpoint",
        choices=("none", "selective", "full"),
        default="none",
        help="activations that the backward pass recomputes, for less memory and the same result: "
        "all in a block, or all but attention and every other matrix product (default: none)",
    )
    for option, text in (
        ("--compile", "compile the model: a slow first step, faster later"),
        ("--dry-run", "pass one part of a step and one batch of validation, write nothing"),
    ):
        group.add_argument(option, action="store_true", help=text)
    group.add_argument(
        "--report-to",
        nargs="+",
        choices=(*LOGGERS, NONE),
        default=(NONE,),
        metavar="LOGGER",
        help=f"also send metrics to any of {', '.join(LOGGERS)}; all of them write into OUT and "
        "upload nothing, unless their own variables of the environment say so (default: none)",
    )


def training_config(kind: type[Any], args: argparse.Namespace) -> Any:
    """Return the Config of a train.py with the options of the command line, or stop.

    Its `steps` are those of the learning rate's schedule; `args.steps` becomes the step to stop at,
    and `args.begin` the folder that has the first weights and the tokenizer, None without one.
    """
    _set_places(args)
    config = load_config(kind, "train", args.size)
    # An option without a default is None unless the command line has it.
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    check_options(kind, "train", given)
    args.steps = given.pop("steps", config.steps)
    steps = args.schedule_steps or args.steps
    # A shorter run warms up for as large a share of it. Otherwise it might end before its peak.
    warmup = round(config.warmup_steps * min(1.0, steps / config.steps))
    config = replace(config, **({"warmup_steps": warmup} | given), steps=steps)
    check_options(kind, "train", {"steps": steps, "warmup_steps": config.warmup_steps})
    for parts in (config.grad_accum, world_size()):
        if config.batch_size % parts:
            fail(f"{config.batch_size} samples cannot be divided into {parts} equal parts.")
    return config


def _set_places(args: argparse.Namespace) -> None:
    """Set `args.begin`, the folder with the first weights; stop if the folders cannot be used."""
    if args.resume:
        if args.init_from:
            fail("--resume continues a run and --init-from starts one: give one of them.")
        args.begin = args.folder
        return
    args.begin = args.init_from
    if args.begin:
        weight_files(args.begin)
    if args.begin and args.begin.resolve() == args.folder.resolve():
        fail(
            f"the new run would replace {args.begin}, which it starts from: name a new folder with "
            "--out."
        )
    check_free(args.folder)


def data_options(description: str | None, *, data: str | Taken) -> argparse.ArgumentParser:
    """Return a parser of a data.py, which shows what training will read.

    Args:
        description: First text of `--help`.
        data: Help of `--data`, with its default.
    """
    parser = _parser(description)
    _add_data(parser, data)
    parser.add_argument(
        "--size",
        choices=("proxy", "full"),
        default="proxy",
        help="(default: proxy)",
    )
    return parser


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def sized(proxy: object, full: object, name: str) -> str:
    """Return the note on a default that differs by size."""
    return f"(default: {getattr(proxy, name)} for proxy, {getattr(full, name)} for full)"
