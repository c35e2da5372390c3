"""The main functions of eval.py and of infer.py.

Both use a checkpoint of train.py. This module reads options, settings, device and checkpoint in the
same way for every task; a script adds only how it scores, or what it prints.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from runtime.checkpoint import find_checkpoint
from runtime.device import choose_device
from runtime.distributed import processes, rank
from runtime.errors import fail
from runtime.journal import to_text
from runtime.limits import check_options
from runtime.options import Group, Taken, positive, shared_options, sized
from runtime.report import Report, brief, contents
from runtime.scored import check_scores, keep_score
from runtime.settings import load_config
from runtime.weights import Signature, load_model, signature

ConfigT = TypeVar("ConfigT")
DataT = TypeVar("DataT")
ModelT = TypeVar("ModelT")
NetworkT = TypeVar("NetworkT", bound=nn.Module)
Kinds = tuple[type[ConfigT], type[DataT], type[ModelT]]


@dataclass(frozen=True)
class Trained(Generic[ConfigT, DataT, ModelT]):
    """A checkpoint with the user's settings.

    Attributes:
        args: The options of the command line.
        config: The Config of this script, at the chosen size, with the options applied.
        data: The Config of data.py.
        model: The Config of model.py.
        device: Where the network computes.
    """

    args: argparse.Namespace
    config: ConfigT
    data: DataT
    model: ModelT
    device: torch.device

    @property
    def folder(self) -> Path:
        """The checkpoint's folder; the script stops if there is none."""
        return self.opened[0]

    @cached_property
    def opened(self) -> tuple[Path, Signature]:
        """The checkpoint's folder, and what its files were when it was opened."""
        # The folder is searched on first use, so that a wrong option is reported first.
        folder = find_checkpoint(self.args.checkpoint or self.args.out / "checkpoint")
        return folder, signature(folder)

    def check_data(self, kept: object, found: object, name: str, what: str) -> None:
        """Stop if the data is not that of training.

        Args:
            kept: What the checkpoint keeps of its training's data, such as its classes.
            found: The same of the data that it would be scored on.
            name: Name of this data.
            what: What is compared.
        """
        if kept != found:
            fail(
                f"{self.folder} was trained on other {what} than those of {name}: give the --data "
                "of its training."
            )

    def load(self, build: Callable[[], NetworkT], dtype: torch.dtype = torch.float32) -> NetworkT:
        """Return the trained network on the device, in evaluation mode.

        Args:
            build: Makes the network, for example `lambda: Model(trained.model)`.
            dtype: Format of the weights; training leaves float32.
        """
        network: NetworkT = load_model(build, self.folder)
        return network.to(self.device, dtype)


@dataclass(frozen=True)
class Setting:
    """An option that replaces the Config field of its name.

    Attributes:
        text: Help of the option; the defaults at both sizes are appended.
        kind: Converts the option's text.
        choices: The allowed values; None for any.
    """

    text: str
    kind: Callable[[str], Any] = positive
    choices: tuple[Any, ...] | None = None


def scoring(
    doc: str | None,
    kinds: Kinds[ConfigT, DataT, ModelT],
    report: Callable[[Trained[ConfigT, DataT, ModelT]], Report],
    *,
    data: str | Taken,
    settings: Mapping[str, Setting],
) -> Callable[[], None]:
    """Return the main function of an eval.py, which prints a report as JSON.

    The report is also kept in OUT/scores.json, with the digest of the weights that were scored.

    Args:
        doc: The script's docstring, printed by --help.
        kinds: The Configs of eval.py, data.py and model.py.
        report: Scores a checkpoint on the test split.
        data: Help of --data.
        settings: Options that replace fields of the script's Config.
    """

    def main() -> None:
        trained = _trained(doc, "eval", kinds, data, settings, _of_scoring)
        check_scores(trained.args.out)
        with processes(trained.device):
            made = report(trained)
        if rank() == 0:
            content = contents(made, trained.folder)
            print(to_text(content if trained.args.resamples else brief(content)))
            keep_score(trained.args, trained.device, trained.opened, brief(content))

    return main


def _of_scoring(group: Group) -> None:
    group.add_argument(
        "--resamples",
        action="store_true",
        help="print the score of each resample too: those of two checkpoints are paired",
    )


def serving(
    doc: str | None,
    kinds: Kinds[ConfigT, DataT, ModelT],
    serve: Callable[[Trained[ConfigT, DataT, ModelT]], None],
    *,
    options: Callable[[Group], None],
    settings: Mapping[str, Setting],
    data: str | Taken = "not used here",
) -> Callable[[], None]:
    """Return the main function of an infer.py.

    Args:
        doc: The script's docstring, printed by --help.
        kinds: The Configs of infer.py, data.py and model.py.
        serve: Applies a checkpoint to the user's input, and prints or writes the results.
        options: Adds the options that are no fields of Config, such as --input.
        settings: Options that replace fields of the script's Config.
        data: Help of --data.
    """

    def main() -> None:
        trained = _trained(doc, "infer", kinds, data, settings, options)
        with processes(trained.device):
            serve(trained)

    return main


def _trained(
    doc: str | None,
    section: str,
    kinds: Kinds[ConfigT, DataT, ModelT],
    data: str | Taken,
    settings: Mapping[str, Setting],
    options: Callable[[Group], None],
) -> Trained[ConfigT, DataT, ModelT]:
    """Return the checkpoint and settings that the command line selects."""
    own, of_data, of_model = kinds
    args = _parser(doc, section, own, data, settings, options).parse_args()
    device = choose_device(args.device, args.threads)
    config: Any = load_config(own, section, args.size)
    given = {name: value for name in settings if (value := getattr(args, name)) is not None}
    check_options(own, section, given)
    return Trained(
        args,
        replace(config, **given),
        load_config(of_data, "data", args.size),
        load_config(of_model, "model", args.size),
        device,
    )


def _parser(
    doc: str | None,
    section: str,
    kind: type[Any],
    data: str | Taken,
    settings: Mapping[str, Setting],
    options: Callable[[Group], None],
) -> argparse.ArgumentParser:
    proxy, full = load_config(kind, section, "proxy"), kind()
    notes = {name: f"{each.text} {sized(proxy, full, name)}" for name, each in settings.items()}
    # All scripts have these two among the shared options, even if a script ignores them.
    shared = {name: notes.pop(name) for name in ("batch_size", "seed") if name in notes}
    parser = shared_options(doc, data=data, **shared)
    group = parser.add_argument_group(f"options of {section}.py")
    options(group)
    for name, note in notes.items():
        each = settings[name]
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=each.kind,
            choices=each.choices,
            metavar=None if each.choices else "X" if each.kind is float else "N",
            help=note,
        )
    return parser
