"""The options that the scripts of a package share, so that one command line fits them all."""

import argparse
from pathlib import Path

import torch


def shared_options(
    description: str | None,
    *,
    data: str = "not used here",
    steps: str = "not used here",
    batch_size: str = "not used here",
    seed: str = "not used here",
    resume: str = "not used here",
) -> argparse.ArgumentParser:
    """Return a parser of the shared options; the arguments say what this script does with some."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_argument_group("options shared by train.py, eval.py and infer.py")
    group.add_argument(
        "--size",
        choices=("proxy", "full"),
        default="proxy",
        help="proxy: the reduced model of config.json; full: the Config defaults (default: proxy)",
    )
    group.add_argument("--data", type=existing, metavar="PATH", help=data)
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
    group.add_argument("--steps", type=positive, metavar="N", help=steps)
    group.add_argument("--batch-size", type=positive, metavar="N", help=batch_size)
    group.add_argument("--seed", type=int, metavar="N", help=seed)
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: CUDA when there is a GPU (default: auto)",
    )
    group.add_argument("--resume", action="store_true", help=resume)
    group.add_argument(
        "--threads",
        type=positive,
        default=torch.get_num_threads(),
        metavar="N",
        help="CPU threads; results repeat to the bit at the same number (default: %(default)s)",
    )
    return parser


def training_options(parser: argparse.ArgumentParser, proxy: object, full: object) -> None:
    """Add the options of train.py, with the defaults of its two Configs in their help."""
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
        ("grad_accum", positive, "parts of an update in one process; several share them"),
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
    group.add_argument(
        "--parallel",
        choices=("ddp", "fsdp"),
        default="ddp",
        help="under torchrun: ddp keeps a whole model on each device, fsdp a share (default: ddp)",
    )
    group.add_argument(
        "--grad-checkpoint",
        action="store_true",
        help="compute activations again in the backward pass: less memory, the same result",
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the model: a slow first step, faster later"
    )
    group.add_argument(
        "--tensorboard", action="store_true", help="write events to OUT/tensorboard too"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="take one step and one validation, write nothing"
    )


def data_options(description: str | None, *, data: str) -> argparse.ArgumentParser:
    """Return a parser of a data.py, which shows what training will read.

    Args:
        description: What `--help` begins with.
        data: What `--data` names, and what is read without it.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=existing, metavar="PATH", help=data)
    parser.add_argument(
        "--size", choices=("proxy", "full"), default="proxy", help="(default: proxy)"
    )
    return parser


def existing(text: str) -> Path:
    """Read a path that must be there."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def positive(text: str) -> int:
    """Return a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def sized(proxy: object, full: object, name: str) -> str:
    """Return the note on a default that depends on the size."""
    return f"(default: {getattr(proxy, name)} for proxy, {getattr(full, name)} for full)"
