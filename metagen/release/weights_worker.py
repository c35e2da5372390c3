"""Write the weights of a release, a few megabytes at a time, in a process of its own.

`python -m metagen.release.weights_worker PLAN` reads a plan in JSON, writes its files of tensors,
and leaves their digests in `written.json`. It holds one block of numbers, however large a tensor
or a file is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import torch

BLOCK = 2**22  # numbers that are converted at once
WRITTEN = "written.json"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def main(plan: str) -> None:
    """Write each file of a plan."""
    files = json.loads(Path(plan).read_text())
    done, total = 0, sum(piece["size"] for file in files for piece in file["pieces"])
    written = {}
    for file in files:
        written[file["path"]] = _write(file)
        done += sum(piece["size"] for piece in file["pieces"])
        print(f"{done} {total}", file=sys.stderr, flush=True)
    Path(WRITTEN).write_text(json.dumps(written))


def _write(file: dict[str, Any]) -> str:
    """Write one file and return its sha256."""
    digest, head = hashlib.sha256(), _header(file["pieces"])
    with Path(file["path"]).open("xb") as stream:
        _put(stream, digest, len(head).to_bytes(8, "little") + head)
        for piece in file["pieces"]:
            with Path(piece["source"]).open("rb") as source:
                _copy(piece, source, stream, digest)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _header(pieces: list[dict[str, Any]]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for piece in pieces:
        start, end = end, end + piece["size"]
        entries[piece["name"]] = {
            "dtype": piece["dtype"],
            "shape": piece["shape"],
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    # The format aligns tensors to 8 bytes, so that they can be mapped into memory.
    return text + b" " * (-len(text) % 8)


def _copy(piece: dict[str, Any], source: BinaryIO, stream: BinaryIO, digest: Any) -> None:
    """Append a tensor in its released format."""
    source.seek(piece["start"])
    left = piece["trained_size"]
    same = piece["dtype"] == piece["trained_dtype"]
    width = 1 if same else _DTYPES[piece["trained_dtype"]].itemsize
    while left:
        block = source.read(min(left, BLOCK * width))
        if not block:
            sys.exit(f"{piece['source']} ends inside of {piece['name']}.")
        left -= len(block)
        _put(stream, digest, block if same else _converted(block, piece))


def _converted(block: bytes, piece: dict[str, Any]) -> bytes:
    trained, released = _DTYPES[piece["trained_dtype"]], _DTYPES[piece["dtype"]]
    numbers = torch.frombuffer(bytearray(block), dtype=trained)
    result = numbers.to(released)
    lost = numbers.isfinite() & ~result.isfinite()
    if lost.any():
        worst = numbers[lost].abs().max().item()
        name = str(released).removeprefix("torch.")
        sys.exit(f"{piece['name']} has a weight of size {worst:g}, too large for {name}.")
    return result.view(torch.uint8).numpy().tobytes()


def _put(stream: BinaryIO, digest: Any, data: bytes) -> None:
    stream.write(data)
    digest.update(data)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
