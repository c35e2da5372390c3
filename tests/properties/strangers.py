"""Folders and files of data that strangers made: read as what they are, or refused in a sentence.

Hypothesis draws members of two kinds. Folders of images: names x formats x depths, with junk and
links between them. Records: encodings x formats x packings, as a file or as the folders that the
Hugging Face Hub knows; and such files with damaged bytes.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.readers import Readers, readers

from .lab import Lab
from .tally import Tally

FULL = 2000
COLUMNS = ("text", "label")

CLASSES = ("cat", "Dog", "été", "a b", "n01440764", "Wölfe", "日本", "v1.2")
SPLITS = {
    "train": ("train", "Train", "TRAINING", "training_set", "train2017", "Train Images"),
    "val": ("val", "Valid", "validation", "DEV", "val_set"),
    "test": ("test", "Test", "TESTING", "test-images", "eval"),
}
IMAGES = {
    "PNG": (".png", ".PNG"), "JPEG": (".jpg", ".JPG", ".jpeg", ".jfif", ".jpe"),
    "BMP": (".bmp", ".Bmp"), "GIF": (".gif",), "TIFF": (".tif", ".TIFF"), "WEBP": (".webp",),
    "PPM": (".ppm", ".pnm"),
}  # fmt: skip
JUNK = (
    *("._1.png", ".hidden.jpg", "Thumbs.db", "desktop.ini", ".DS_Store", "Icon\r"),
    *("__MACOSX/x/1.png", ".ipynb_checkpoints/1.png", "@eaDir/1.jpg", ".cache/a/1.png"),
)
OTHERS = ("notes.txt", "labels.csv", "1.heic", "weights.bin", "README")
LINKS = ("none", "file inside", "loop", "file outside", "folder outside", "nowhere")

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
TEXT_FORMATS = ("csv", "csv;", "tsv", "jsonl", "ndjson", "json", "wrapped json")
FORMATS = (*TEXT_FORMATS, "parquet", "arrow")
LAYOUTS = ("file", "named", "folders", "hub")
# A character that no encoding has, or that stands for the end of text, is no member.
TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t\"',;|{}[]"),
    min_size=1, max_size=12,
).filter(str.strip)  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries({"text": TEXT, "label": st.sampled_from("abc")}), min_size=1, max_size=6
)


def measure(lab: Lab) -> Tally:
    """Read folders of images, records and damaged records that Hypothesis draws."""
    tally = Tally("strangers")
    tally.must_not("wrong", "links followed out", "tracebacks", "without a sentence")
    rules = settings(
        max_examples=lab.size(FULL), deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    with readers() as runtime:
        for kind, members in ((_folder, FOLDERS), (_records, RECORDS), (_damaged, DAMAGED)):
            _each(lab, tally, rules, runtime, kind, members)
    return tally


def _each(
    lab: Lab,
    tally: Tally,
    rules: settings,
    runtime: Readers,
    kind: Callable[..., None],
    members: st.SearchStrategy[dict[str, Any]],
) -> None:
    @seed(f"{lab.seed}:{kind.__name__}")
    @rules
    @given(members)
    def one(member: dict[str, Any]) -> None:
        with lab.folder() as folder:
            try:
                kind(folder, runtime, tally, **member)
            except Exception:
                tally.violated("tracebacks", f"{member}\n{traceback.format_exc()[-600:]}")

    one()


class Refused(Exception):
    """A reader stopped with a sentence."""


@contextlib.contextmanager
def _heard(runtime: Readers, tally: Tally, case: str) -> Iterator[io.StringIO]:
    """Collect what a reader says; raise Refused if it stopped with one sentence and status 2."""
    runtime.notes.note.cache_clear()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield said
    except SystemExit as ended:
        lines = [line for line in said.getvalue().splitlines() if ": note: " not in line]
        right = ended.code == 2 and len(lines) == 1 and lines[0].endswith(".")
        tally.check(right, "without a sentence", f"{case}: {ended.code} {lines}")
        raise Refused(said.getvalue()) from None


# Folders

_FILE = st.fixed_dictionaries(
    {
        "stem": st.sampled_from(("1", "x y", "é", "IMG_2", "a.b")),
        "format": st.sampled_from(sorted(IMAGES)),
        "suffix": st.integers(0, 9),
        "below": st.lists(st.sampled_from(("a", "b.c", "deep down")), max_size=3),
    }
)
FOLDERS = st.fixed_dictionaries(
    {
        "classes": st.dictionaries(
            st.sampled_from(CLASSES), st.lists(_FILE, min_size=1, max_size=3), min_size=2,
            max_size=4,
        ),
        "splits": st.lists(st.sampled_from(("val", "test")), unique=True, max_size=2),
        "by_split": st.booleans(),
        "spelling": st.integers(0, 9),
        "junk": st.lists(st.tuples(st.integers(0, 9), st.sampled_from(JUNK)), max_size=4),
        "others": st.lists(st.tuples(st.integers(0, 9), st.sampled_from(OTHERS)), max_size=2),
        "link": st.sampled_from(LINKS),
    }
)  # fmt: skip


def _folder(
    folder: Path,
    runtime: Readers,
    tally: Tally,
    *,
    classes: dict[str, list[dict[str, Any]]],
    splits: list[str],
    by_split: bool,
    spelling: int,
    junk: list[tuple[int, str]],
    others: list[tuple[int, str]],
    link: str,
) -> None:
    root = folder / "data"
    tops = {"": None}
    if by_split:
        tops = {_pick(SPLITS[split], spelling): split for split in ("train", *splits)}
    expected = {}
    for top, split in tops.items():
        for label, chosen in classes.items():
            for each in chosen:
                suffix = _pick(IMAGES[each["format"]], each["suffix"])
                name = Path(top, label, *each["below"], f"{each['stem']}{suffix}")
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (3, 2)).save(root / name, each["format"])
                expected[name.as_posix()] = (split, label)
    places = sorted({path.parent for path in root.rglob("*")})
    for number, name in (*junk, *others):
        path = _pick(places, number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    first = next(iter(expected))
    leads_out = _linked(root, link, first, expected)
    case = f"{sorted(expected)} junk {junk} others {others} link {link}"
    tally.count("folders")
    try:
        with _heard(runtime, tally, case):
            found = runtime.images.list_images(root)
            parts = [path.relative_to(root).parts for path in found.files]
            names = runtime.splits.split_folders(root, {each[0] for each in parts})
            for path in found.files:
                runtime.images.read_image(path, (4, 4), 3)
    except Refused:
        tally.check(leads_out, "wrong", f"refused: {case}")
        return
    read = {"/".join(each): (names.get(each[0]), each[1] if names else each[0]) for each in parts}
    tally.check(not leads_out, "links followed out", case)
    tally.check(read == expected, "wrong", f"{case}: read {read}")
    tally.check(not junk or bool(found.hidden), "wrong", f"junk is not reported: {case}")


def _linked(root: Path, link: str, first: str, expected: dict[str, Any]) -> bool:
    """Add a link of a kind; return whether it leads out of the folder or nowhere."""
    path = (root / first).with_name("zz.png")
    if link == "file inside":
        path.symlink_to(root / first)
        expected[path.relative_to(root).as_posix()] = expected[first]
    elif link == "loop":
        path.with_name("loop").symlink_to(root)
    elif link == "file outside":
        path.symlink_to(_made(root.parent / "secret.png"))
    elif link == "folder outside":
        path.with_name("owl").symlink_to(_made(root.parent / "other" / "1.png").parent)
    elif link == "nowhere":
        path.symlink_to(root / "none.png")
    return link in ("file outside", "folder outside", "nowhere")


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (2, 2)).save(path)
    return path


def _pick(items: Any, number: int) -> Any:
    return items[number % len(items)]


# Records

_MEMBER = {
    "encoding": st.sampled_from(ENCODINGS),
    "kind": st.sampled_from(FORMATS),
    "packed": st.booleans(),
    "upper": st.booleans(),
    "renamed": st.booleans(),
}
RECORDS = st.fixed_dictionaries(
    _MEMBER | {
        "rows": ROWS, "layout": st.sampled_from(LAYOUTS), "shards": st.integers(1, 3),
        "spelling": st.integers(0, 9),
    }
)  # fmt: skip
DAMAGED = st.fixed_dictionaries(
    _MEMBER
    | {"rows": ROWS, "at": st.floats(0, 1), "put": st.binary(max_size=4), "cut": st.booleans()}
)


def _records(
    folder: Path,
    runtime: Readers,
    tally: Tally,
    *,
    rows: list[dict[str, str]],
    layout: str,
    shards: int,
    spelling: int,
    renamed: bool,
    **form: Any,
) -> None:
    names = {"text": "Review text", "label": "y"} if renamed else {}
    parts = {"train": rows, "val": rows[:1], "test": rows[-1:]}
    case = f"{form} {layout} {shards} {names} {rows}"
    for split in parts if layout != "file" else ():
        count = shards if layout == "hub" and split == "train" else 1
        for shard in range(count):
            stem = {
                "named": _pick(SPLITS[split], spelling),
                "folders": f"{_pick(SPLITS[split], spelling)}/rows",
                "hub": f"data/{split}-{shard:05}-of-{count:05}",
            }[layout]
            _write(folder / stem, parts[split][shard::count] or rows, names, **form)
    if layout == "file":
        _write(folder / "rows", rows, names, **form)
    tally.count("records")
    try:
        with _heard(runtime, tally, case):
            if layout == "file":
                (path,) = folder.iterdir()
                read = runtime.records.read_records(path, COLUMNS, names)
                wanted = rows
            else:
                found = runtime.records.read_splits(folder, COLUMNS, "text", 0.1, 0.1, names)
                read, wanted = found["test"], rows[-1:]
    except Refused as refused:
        # Cells that two separators may cut are refused: nothing tells which one is right.
        twofold = "may separate" in str(refused)
        tally.count("refused as twofold", int(twofold))
        tally.check(
            twofold and form["kind"].startswith(("csv", "tsv")), "wrong", f"{refused} {case}"
        )
        return
    expected = [{name: value.strip() for name, value in row.items()} for row in wanted]
    tally.check(read == expected, "wrong", f"{case}: read {read}")


def _damaged(
    folder: Path,
    runtime: Readers,
    tally: Tally,
    *,
    rows: list[dict[str, str]],
    at: float,
    put: bytes,
    cut: bool,
    renamed: bool,
    **form: Any,
) -> None:
    path = _write(folder / "rows", rows, {}, **form)
    data = path.read_bytes()
    place = int(at * len(data))
    path.write_bytes(data[:place] + put + (b"" if cut else data[place:]))
    tally.count("damaged records")
    case = f"{form} {rows} at {place} {put!r} {cut}"
    with contextlib.suppress(Refused), _heard(runtime, tally, case):
        runtime.records.read_records(path, COLUMNS)


def _write(
    stem: Path,
    rows: list[dict[str, str]],
    names: dict[str, str],
    *,
    encoding: str,
    kind: str,
    packed: bool,
    upper: bool,
) -> Path:
    """Write rows in a form, and return the file."""
    renamed = [{names.get(name, name): value for name, value in row.items()} for row in rows]
    suffix = f".{kind.removesuffix(';').rpartition(' ')[2]}"
    packed = packed and kind in TEXT_FORMATS
    ending = suffix + (".gz" if packed else "")
    path = stem.with_name(stem.name + (ending.upper() if upper else ending))
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in TEXT_FORMATS:
        data = _text(renamed, kind).encode(encoding)
        path.write_bytes(gzip.compress(data) if packed else data)
    else:
        _columnar(path, renamed, kind)
    return path


def _text(rows: list[dict[str, str]], kind: str) -> str:
    if kind == "json":
        return json.dumps(rows, ensure_ascii=False)
    if kind == "wrapped json":
        return json.dumps({"data": rows}, indent=1)
    if kind in ("jsonl", "ndjson"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    stream = io.StringIO(newline="")
    delimiter = {"csv": ",", "csv;": ";", "tsv": "\t"}[kind]
    writer = csv.DictWriter(stream, rows[0], delimiter=delimiter, quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _columnar(path: Path, rows: list[dict[str, str]], kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows)
    if kind == "parquet":
        pq.write_table(table, path)
        return
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
