"""Folders that `data.py prepare` writes, each replaced as a whole."""

import argparse
import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from runtime.errors import fail
from runtime.options import data_options


def prepare_options(
    description: str | None,
    *,
    data: str,
    out: str,
    columns: Sequence[str] = (),
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> argparse.Namespace:
    """Return the options of a data.py that shows its data or prepares it.

    Args:
        description: First text of --help.
        data: Help of --data.
        out: Default of --out.
        columns: The columns of records, each with an option for another name in the data.
        options: Adds the task's own.
    """
    parser = data_options(description, data=data)
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
    options(parser)
    args = parser.parse_args()
    args.size = args.size or ("full" if args.command == "prepare" else "proxy")
    return args


def column_option(column: str) -> str:
    """Return the option that names a column of records which the data has under another name."""
    return f"--{column.replace('_', '-')}-column"


def names_of_columns(args: argparse.Namespace, columns: Sequence[str]) -> dict[str, str]:
    """Return the names that options give to columns of records."""
    given = {column: getattr(args, f"{column}_column") for column in columns}
    return {column: name for column, name in given.items() if name is not None}


@contextlib.contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder to fill, which replaces `folder` if the block succeeds.

    Args:
        folder: The final folder. Its content is replaced only if it has the file `mark`.
        mark: A file that only this script writes, which protects other folders of the user.
    """
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file: name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        fail(f"{folder} has other files, which would be replaced: name a new folder.")
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError as error:
        fail(f"{folder} cannot be written: {error}.")
    finally:
        shutil.rmtree(new, ignore_errors=True)
