"""A small package and a training folder that belongs to it, made without a build or a training."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from metagen import files, paths
from metagen.engine.binding import Binding
from metagen.engine.training import Training
from metagen.families.decoder import FAMILY as decoder
from metagen.package.code import SCRIPTS, runtime_files
from metagen.spec import Spec, load
from metagen.trained import header, model

from .plain_desk import PlainDesk

SEED, STEPS, AMOUNT = 42, 6, 64
MODEL = {"d_model": 4, "vocab_size": 8, "rope_theta": 10000.0, "tie_embeddings": True}
DATA = {"seq_len": 8, "tokenizer": "bpe", "val_fraction": 0.01, "test_fraction": 0.01}
TRAIN = {"steps": STEPS, "batch_size": 8, "learning_rate": 0.001, "seed": SEED, "dtype": "auto"}
TENSORS = {
    "model.embed.weight": "F32 8x4",
    "model.layers.0.weight": "F32 4x4",
    "model.scale": "F32",
}
OTHERS = {"model.steps": "I64"}
TOTAL = 32 + 16 + 1
SPEC = paths.specs() / "text" / "text_llm_tiny.yaml"
CORPUS = "ab" * 32
BESIDE = ("config.json", "tokenizer.json")  # files whose digests state.json has


class BoundDesk(PlainDesk):
    """A desk that reads the training folder as the engine does, which follows no link."""

    files: Training

    def trained(self, path: str) -> bytes:
        self.trained_digest(path)
        return self.files.load(path)

    def trained_names(self, folder: str) -> tuple[str, ...]:
        return self.files.names(folder)

    def trained_digest(self, path: str) -> str:
        digest = self.files.digest(path)
        if not digest:
            raise LookupError(path)
        return digest

    def trained_place(self, path: str) -> Path:
        self.trained_digest(path)
        return self.files.place(path)

    def trained_glance(self, path: str) -> Path:
        return self.files.plain(path)


@cache
def _spec(overrides: tuple[str, ...]) -> Spec:
    return load(SPEC, overrides)


def package() -> dict[str, bytes]:
    """Return the files of a package that its trained model is compared with."""
    architecture = {"family": "decoder", "model": MODEL, "data": DATA, "train": TRAIN}
    code = {path: f"# {path}\n".encode() for path in (*SCRIPTS, *runtime_files(decoder))}
    tensors = {"parameters": TENSORS, "others": OTHERS, "spare": ["pooler."]}
    return code | {
        "blueprint/architecture.yaml": yaml.safe_dump(architecture).encode(),
        "blueprint/graph.json": files.json_bytes({"config": MODEL}),
        "blueprint/params.json": files.json_bytes({"total": TOTAL}),
        "blueprint/tensors.json": files.json_bytes(tensors),
    }


def desk(
    folder: Path | None,
    results: Mapping[str, bytes] | None = None,
    keys: Mapping[str, Any] | None = None,
) -> BoundDesk:
    """Return a desk over the package, with a training folder and results bound to it."""
    overrides = tuple(f"{name}={value}" for name, value in (keys or {}).items())
    made = BoundDesk.of_spec(_spec(overrides))
    assert isinstance(made, BoundDesk)
    made.files = Training(Binding.of(folder, ()), {}, lambda known: None)
    made.package, made.run, made.given = package(), folder, results or {}
    return made


def of_code(
    folder: Path, code: Path, family: str, sections: Mapping[str, Any], network: Any
) -> BoundDesk:
    """Return a desk over a folder that the scripts of a proxy wrote, as if it were of a full model.

    Args:
        folder: What train.py and eval.py wrote; its records then name the size `full`.
        code: The folder of the scripts.
        family: The name of the family.
        sections: The settings of the proxy.
        network: The proxy.
    """
    from metagen.measure import probe_worker  # imports torch

    for name in ("run.json", "scores.json"):
        if (folder / name).is_file():
            text = (folder / name).read_text().replace('"size": "proxy"', '"size": "full"')
            (folder / name).write_text(text)
    made = desk(folder)
    scripts = {f"code/{p.relative_to(code)}": p.read_bytes() for p in code.rglob("*.py")}
    planned = {"family": family, "data": sections["data"], "train": sections["train"]}
    made.package = scripts | {
        "blueprint/architecture.yaml": yaml.safe_dump(planned).encode(),
        "blueprint/graph.json": files.json_bytes({"config": asdict(network.config)}),
        "blueprint/params.json": files.json_bytes({"total": network.num_params()}),
        "blueprint/tensors.json": files.json_bytes(probe_worker._tensors(network)),
    }
    return made


def safetensors(
    tensors: Mapping[str, str], salt: bytes = b"\0", metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a .safetensors file; each byte of its tensors is the salt."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name, text in tensors.items():
        tensor = header.Tensor.of(text)
        size = tensor.size
        place = {"dtype": tensor.dtype, "shape": list(tensor.shape)}
        entries[name] = {**place, "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(entries).encode()
    return len(head).to_bytes(8, "little") + head + salt * end


def state(step: int = STEPS) -> dict[str, Any]:
    """Return the content of a checkpoint's state.json."""
    sections = {"model": MODEL, "data": DATA, "train": TRAIN}
    named = {f"{s}.{name}": value for s, each in sections.items() for name, value in each.items()}
    return {"step": step, "init_from": None, "sha256": CORPUS} | named


def line(step: int) -> dict[str, Any]:
    """Return the content of a line of metrics.jsonl."""
    loss = 4 * math.exp(-step / 3)
    value = loss + 0.1 if step % 3 == 0 else None
    return {"step": step, "train_loss": loss, "learning_rate": 0.001, "val_loss": value}


def start(first: int, last: int, sha256: str, code: Mapping[str, bytes]) -> dict[str, Any]:
    """Return an entry of run.json."""
    rows = [line(step) for step in range(first + 1, last + 1)]
    val = [row["val_loss"] for row in rows if row["val_loss"] is not None]
    return {
        "command": "python train.py --size full --data tokens --out full_run",
        "began": f"2026-05-01T12:0{first}:00+00:00",
        "ended": f"2026-05-01T12:0{last}:00+00:00",
        "status": "done" if last == STEPS else "stopped",
        "size": "full", "seed": SEED,
        "code": {name.removeprefix("code/"): files.sha256(data) for name, data in code.items()},
        "config": "cd" * 32,
        "data": {"name": "tokens", "sha256": CORPUS, "unit": "tokens",
                 "splits": {"train": 1000, "val": 10, "test": 10}},
        "devices": {"type": "cpu", "names": ["Some CPU"], "count": 1},
        "memory_peak": 1000 * (1 + first), "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "precision": "float32", "parallel": "none", "steps": {"from": first, "to": last},
        "unit": "tokens", "units": (last - first) * AMOUNT,
        "seconds": {"wall": 10.0 * (last - first), "device": 9.0 * (last - first)},
        "throughput": 20.0, "mfu": None, "energy": {"joules": 5.0, "source": "RAPL"},
        "init_from": None,
        "losses": {"train": rows[-1]["train_loss"], "val": val[-1] if val else None},
        "checkpoint": {"step": last, "sha256": sha256},
        "settings": {"train": TRAIN, "data": DATA, "model": MODEL},
    }  # fmt: skip


def report(value: float = 2.5) -> dict[str, Any]:
    """Return what eval.py prints."""
    metric = {
        "metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte",
        "higher_is_better": False, "value": value, "baselines": {"unigram": 4.5, "bigram": 3.5},
        "interval": [value - 0.1, value + 0.1], "interval_method": "bootstrap", "interval_n": 90,
        "interval_unit": "documents", "standard_error": 0.05,
        "differences": {"unigram": [-2.2, -1.8], "bigram": [-1.2, -0.8]},
    }  # fmt: skip
    source = {
        "dataset": "tokens",
        "sha256": CORPUS,
        "split": "test",
        "n": 90,
        "n_unit": "documents",
    }
    return {**source, "checkpoint_step": STEPS, "metrics": [metric]}


def score(sha256: str, step: int = STEPS, value: float = 2.5) -> dict[str, Any]:
    """Return an entry of scores.json."""
    return {
        "command": "python eval.py --size full --data tokens --out full_run",
        "ran": "2026-05-02T12:00:00+00:00",
        "size": "full", "checkpoint": {"sha256": sha256, "step": step},
        "code": {"eval.py": files.sha256(b"# code/eval.py\n")}, "config": "cd" * 32,
        "device": "Some CPU", "report": report(value),
    }  # fmt: skip


def training(folder: Path, step: int = STEPS, salt: bytes = b"\0") -> str:
    """Write a training folder, resumed once; return the digest of its weights."""
    place = folder / "checkpoint"
    place.mkdir(parents=True)
    data = safetensors(TENSORS | OTHERS, salt, {"step": str(step)})
    sha256, code = files.sha256(data), {k: v for k, v in package().items() if k.startswith("code/")}
    (place / "model.safetensors").write_bytes(data)
    write(place / "config.json", {**MODEL, "model_type": "llama"})
    write(place / "tokenizer.json", {"model": {"vocab": {"a": 0, "b": 1}}})
    saved = {name: files.sha256((place / name).read_bytes()) for name in BESIDE}
    write(place / "state.json", {**state(step), "files": saved})
    lines = [json.dumps(line(each)) + "\n" for each in range(1, step + 1)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    starts = [start(0, 2, "ef" * 32, code), start(2, step, sha256, code)]
    write(folder / "run.json", {"version": 1, "starts": starts})
    write(folder / "scores.json", {"version": 1, "scores": [score(sha256, step)]})
    return sha256


def write(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2))


def change(path: Path, *way: Any, to: Any) -> None:
    """Give an entry of a JSON file another value."""
    content = json.loads(path.read_text())
    *above, last = way
    part = content
    for name in above:
        part = part[name]
    part[last] = to
    write(path, content)


@cache
def checked(trained: bool = True) -> dict[str, bytes]:
    """Return what the check of a training folder writes; results read no more of it."""
    with tempfile.TemporaryDirectory() as place:
        training(Path(place) / "run")
        return dict(model.model(desk(Path(place) / "run" if trained else None)))
