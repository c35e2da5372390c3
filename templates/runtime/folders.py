"""Folders that `data.py prepare` makes, each replaced as a whole."""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import fail
from runtime.options import existing


def prepare_options(description: str | None, *, data: str, out: str) -> argparse.Namespace:
    """Return the options of a data.py that shows its data or prepares it.

    Args:
        description: What `--help` begins with.
        data: What `--data` names.
        out: The folder that is made where nobody names one.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("show", "prepare"), default="show")
    parser.add_argument("--data", type=existing, metavar="PATH", help=data)
    parser.add_argument("--out", type=Path, default=Path(out), help=f"(default: {out})")
    parser.add_argument("--size", choices=("proxy", "full"), help="(default: full to prepare)")
    args = parser.parse_args()
    args.size = args.size or ("full" if args.command == "prepare" else "proxy")
    return args


@contextlib.contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Give a folder beside this one to fill, and put it in its place when that has gone well.

    Args:
        folder: Where the result will stand; what it holds is replaced only if `mark` is there.
        mark: A file by which a folder made by this script is known.
    """
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file: name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        fail(f"{folder} holds other files, which would be replaced: name a new folder.")
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
