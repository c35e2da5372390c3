"""The weights of a release: plan, shards, index, formats, links, and memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.trained_desk import desk_over
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from metagen import paths
from metagen.errors import TaskError
from metagen.release import tensors, weights, weights_worker
from metagen.trained.weights import INDEX
from metagen.work import Large

TENSORS = {
    "a.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "b.bias": torch.tensor(2.5),
    "steps": torch.tensor([3, 4], dtype=torch.int64),
    "c.weight": torch.randn(5, 2, generator=torch.Generator().manual_seed(0)),
}


def checkpoint(folder: Path, values: dict[str, torch.Tensor] = TENSORS) -> Path:
    place = folder / "run" / "checkpoint"
    (place / "optimizer").mkdir(parents=True)
    save_file(values, place / "model.safetensors", {"format": "pt", "step": "7"})
    (place / "state.json").write_text("{}")
    (place / "optimizer" / "state.safetensors").write_bytes(b"moments")
    return place


def released(made: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of what a work returned."""
    found: dict[str, torch.Tensor] = {}
    for path, file in made.items():
        if path.endswith(".safetensors"):
            assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
            found |= load_file(file.path)
    return found


def test_weights_as_trained_are_the_files_of_the_training(tmp_path: Path) -> None:
    place = checkpoint(tmp_path)
    made = weights.weights(desk_over(tmp_path))
    file = place / "model.safetensors"
    assert made == {
        "release/model.safetensors": Large(file, hashlib.sha256(file.read_bytes()).hexdigest())
    }


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run the worker in this process, which has torch already."""

    def run(arguments: Any, files: Any, outputs: Any, **_: object) -> dict[str, bytes]:
        monkeypatch.chdir(tmp_path)
        (tmp_path / arguments[-1]).write_bytes(files[arguments[-1]])
        weights_worker.main(arguments[-1])
        return {name: (tmp_path / name).read_bytes() for name in outputs}

    monkeypatch.setattr(weights.sandbox, "run", run)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_each_number_is_rounded_as_torch_rounds_it(tmp_path: Path, dtype: str) -> None:
    checkpoint(tmp_path)
    made = weights.weights(desk_over(tmp_path, f"release: {{dtype: {dtype}}}\n"))
    kind = getattr(torch, dtype)
    expected = {n: t.to(kind) if t.is_floating_point() else t for n, t in TENSORS.items()}
    found = released(made)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_worker, "BLOCK", 3)
    source, target = checkpoint(tmp_path) / "model.safetensors", tmp_path / "out.safetensors"
    plan = tensors.of_folder(source.parent, "bfloat16")
    file = weights._instructions(plan.shards[0], source.parent, tmp_path)
    digest = weights_worker._write(file | {"path": str(target)})
    assert torch.equal(load_file(target)["c.weight"], TENSORS["c.weight"].bfloat16())
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    with safe_open(target, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


@pytest.mark.usefixtures("here")
def test_no_shard_is_larger_than_allowed_and_the_index_counts_all(tmp_path: Path) -> None:
    values = {f"layer{n:02}": torch.randn(30, 10) for n in range(20)}
    place = checkpoint(tmp_path, values)
    plan = tensors.of_folder(place, "bfloat16", most=2000)
    folder, desk = tmp_path / "made", desk_over(tmp_path)
    made = weights._written(desk, list(plan.shards))
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert len(sizes) == len(plan.shards) > 5
    assert max(sizes) <= 2000
    index = plan.index(6000)
    assert index["metadata"] == {"total_parameters": 6000, "total_size": 12000}
    assert {f"release/{name}" for name in index["weight_map"].values()} == set(made)
    assert plan.names == (*sorted(set(index["weight_map"].values())), INDEX)
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(folder / file)[name], values[name].bfloat16())


def test_shards_as_trained_are_linked_and_counted(tmp_path: Path) -> None:
    place = checkpoint(tmp_path)
    (place / "model.safetensors").unlink()
    parts = {"one.safetensors": ["a.weight", "b.bias"], "two.safetensors": ["steps", "c.weight"]}
    for file, names in parts.items():
        save_file({name: TENSORS[name] for name in names}, place / file)
    table = {name: file for file, names in parts.items() for name in names}
    (place / INDEX).write_text(json.dumps({"weight_map": table}))
    desk = desk_over(tmp_path)
    # Of the 25 numbers, training does not set `steps`.
    desk.package["trained/model.json"] = b'{"checkpoint": {"parameters": 24}}'
    made = weights.weights(desk)
    links = [made[f"release/model-0000{n}-of-00002.safetensors"] for n in (1, 2)]
    assert [link.path.name for link in links if isinstance(link, Large)] == list(parts)
    written = made[f"release/{INDEX}"]
    assert isinstance(written, bytes)
    assert json.loads(written)["metadata"] == {"total_parameters": 24, "total_size": 108}


@pytest.mark.slow
@pytest.mark.ci
def test_a_weight_too_large_for_the_format_is_an_error(tmp_path: Path) -> None:
    checkpoint(tmp_path, {"w": torch.tensor([1.0, 70_000.0])})
    desk = desk_over(tmp_path, "release: {dtype: float16}\n")
    with pytest.raises(TaskError, match="w has a weight of size 70000, too large for float16"):
        weights.weights(desk)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8 + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (15).to_bytes(8, "little") + b'{"a": {"b": 1}}',
        (20).to_bytes(8, "little") + b"{}",
    ],
)
def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(TaskError, match="not a file of tensors"):
        tensors.of_folder(tmp_path, None)


def test_a_file_with_bytes_beside_its_tensors_is_refused(tmp_path: Path) -> None:
    place = checkpoint(tmp_path)
    with (place / "model.safetensors").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(TaskError, match="does not end with its last tensor"):
        tensors.of_folder(place, None)


def test_a_link_is_no_file_of_weights(tmp_path: Path) -> None:
    place = checkpoint(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").symlink_to(place / "model.safetensors")
    with pytest.raises(TaskError, match="nothing to release"):
        tensors.of_folder(other, None)


def test_an_index_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "../secret.safetensors"}}')
    with pytest.raises(TaskError, match="not beside it"):
        tensors.of_folder(tmp_path, None)


def test_a_checkpoint_of_sixteen_gigabytes_is_planned_from_its_header(tmp_path: Path) -> None:
    place, count = tmp_path / "checkpoint", 64
    place.mkdir()
    write_sparse(place / "model.safetensors", count, 2**26)
    plan = tensors.of_folder(place, "bfloat16")
    assert (place / "model.safetensors").stat().st_size > 16e9
    assert plan.numbers == count * 2**26
    assert len(plan.shards) == 2
    largest = max(sum(p.released.size for p in shard.pieces) for shard in plan.shards)
    assert largest < tensors.MOST


def write_sparse(path: Path, count: int, numbers: int) -> None:
    """Write a file of float32 zeros that takes no place on the disk."""
    entries = {
        f"t{n}": {"dtype": "F32", "shape": [numbers],
                  "data_offsets": [4 * numbers * n, 4 * numbers * (n + 1)]}
        for n in range(count)
    }  # fmt: skip
    text = json.dumps(entries).encode()
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + 4 * numbers * count)


@pytest.mark.slow
@pytest.mark.ci
def test_the_worker_holds_a_block_and_not_a_tensor(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    place.mkdir()
    write_sparse(place / "model.safetensors", 2, 2**27)  # two tensors of half a gigabyte
    plan = tensors.of_folder(place, "bfloat16")
    file = weights._instructions(plan.shards[0], place, tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps([file | {"path": "/dev/null"}]))
    # Memory beside what the libraries take: far below one tensor.
    code = (
        "import resource, sys, builtins, pathlib; import metagen.release.weights_worker as w\n"
        "w.torch.set_num_threads(1)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "opened = pathlib.Path.open\n"
        "pathlib.Path.open = lambda s, mode='r', **k: opened(s, mode.replace('x', 'w'), **k)\n"
        "w.os.fsync = lambda handle: None\n"
        "w.main('plan.json')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(paths.PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200_000  # kilobytes
