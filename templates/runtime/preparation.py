"""The main function of a data.py that shows its data, or prepares it once in a folder."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from runtime.options import data_options
from runtime.settings import load_config

DataT = TypeVar("DataT")
ModelT = TypeVar("ModelT")
Step = Callable[[argparse.Namespace, DataT, ModelT], None]
"""What a command does with the options, the Config of data.py, and that of model.py."""


def preparing(
    doc: str | None,
    kinds: tuple[type[DataT], type[ModelT]],
    show: Step[DataT, ModelT],
    prepare: Step[DataT, ModelT],
    *,
    data: str,
    out: str,
    columns: Sequence[str] = (),
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> Callable[[], None]:
    """Return the main function of a data.py with the commands show and prepare.

    Args:
        doc: The script's docstring, printed by --help.
        kinds: The Configs of data.py and of model.py.
        show: Prints what training will read.
        prepare: Writes the folder `args.out`, which train.py then reads.
        data: Help of --data.
        out: Default of --out.
        columns: The columns of records, each with an option for another name in the data; these
            names are in `args.names`.
        options: Adds the task's own.
    """

    def main() -> None:
        parser = _parser(doc, data, out, columns)
        options(parser)
        args = parser.parse_args()
        args.names = _names_of_columns(args, columns)
        args.size = args.size or ("full" if args.command == "prepare" else "proxy")
        of_data, of_model = kinds
        settings = (
            load_config(of_data, "data", args.size),
            load_config(of_model, "model", args.size),
        )
        if args.command == "show":
            show(args, *settings)
            return
        prepare(args, *settings)
        size = args.size
        print(f"wrote {args.out}: train with `python train.py --size {size} --data {args.out}`")

    return main


def _parser(
    doc: str | None, data: str, out: str, columns: Sequence[str]
) -> argparse.ArgumentParser:
    parser = data_options(doc, data=data)
    # The size depends on the command, so it is chosen after both are read.
    parser.set_defaults(size=None)
    parser.add_argument(
        "command",
        nargs="?",
        choices=("show", "prepare"),
        default="show",
        help="prepare writes the folder OUT, by default for --size full (default: show)",
    )
    parser.add_argument("--out", type=Path, default=Path(out), help=f"(default: {out})")
    for column in columns:
        parser.add_argument(
            column_option(column), metavar="NAME", help=f"the column to read as {column}"
        )
    return parser


def column_option(column: str) -> str:
    """Return the option that names a column of records which the data has under another name."""
    return f"--{column.replace('_', '-')}-column"


def _names_of_columns(args: argparse.Namespace, columns: Sequence[str]) -> dict[str, str]:
    given = {column: getattr(args, f"{column}_column") for column in columns}
    return {column: name for column, name in given.items() if name is not None}
