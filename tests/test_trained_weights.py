"""Weights are known by the headers of their files; the first tensor that differs is the error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import bound

from metagen import files
from metagen.errors import TaskError
from metagen.trained import weights

PLANNED = {"parameters": bound.TENSORS, "others": bound.OTHERS, "spare": ["pooler."]}
ALL = bound.TENSORS | bound.OTHERS
Tensors = dict[str, str]


def read(folder: Path) -> weights.Weights:
    return weights.read(bound.desk(folder), PLANNED)


def saved(folder: Path, tensors: Tensors, name: str = weights.FILE, salt: bytes = b"\0") -> Path:
    path = folder / "checkpoint" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bound.safetensors(tensors, salt))
    return path


def sharded(folder: Path, table: dict[str, Any] | None = None) -> list[bytes]:
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    parts = [dict(list(ALL.items())[:2]), dict(list(ALL.items())[2:])]
    paths = [saved(folder, part, name) for part, name in zip(parts, names, strict=True)]
    own = {t: name for part, name in zip(parts, names, strict=True) for t in part}
    index = {"metadata": {"total_size": 1}, "weight_map": own | (table or {})}
    bound.write(folder / "checkpoint" / weights.INDEX, index)
    return [path.read_bytes() for path in paths]


def refused(folder: Path) -> str:
    with pytest.raises(TaskError) as caught:
        read(folder)
    (problem,) = caught.value.problems
    assert problem.place.startswith("checkpoint")
    assert problem.hint
    assert problem.sentence.endswith(".")
    return problem.sentence


def test_the_weights_of_one_file_have_its_digest(tmp_path: Path) -> None:
    data = saved(tmp_path, ALL).read_bytes()
    found = read(tmp_path)
    assert found.sha256 == files.sha256(data)
    assert (found.dtype, found.parameters, found.bytes) == ("F32", bound.TOTAL, len(data))


def test_weights_of_another_model_are_refused_before_they_are_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def digest(path: Path) -> str:
        hashed.append(path)
        return "0" * 64

    monkeypatch.setattr(files, "sha256_of", digest)
    saved(tmp_path, ALL | {"model.more": "F32 2"})
    assert "has no tensor" in refused(tmp_path)
    assert hashed == []
    saved(tmp_path, ALL)
    read(tmp_path)
    assert len(hashed) == 1


def test_the_digest_is_the_one_that_the_scripts_compute(tmp_path: Path, runtime: Any) -> None:
    for folder, save in ((tmp_path / "one", saved), (tmp_path / "two", sharded)):
        save(folder, *([ALL] if save is saved else []))
        theirs = runtime.weights.weights_digest(folder / "checkpoint")
        assert read(folder).sha256 == theirs


def test_the_names_of_tensors_that_may_be_saved_besides_are_the_scripts_own(runtime: Any) -> None:
    assert weights.DERIVED.pattern == runtime.weights.DERIVED.pattern


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F64"])
def test_all_weights_may_have_another_format(tmp_path: Path, dtype: str) -> None:
    saved(tmp_path, {name: text.replace("F32", dtype) for name, text in ALL.items()})
    assert read(tmp_path).dtype == dtype


def test_tensors_that_the_model_does_not_use_may_be_there(tmp_path: Path) -> None:
    saved(tmp_path, ALL | {"pooler.dense.weight": "F32 4x4", "model.rotary.inv_freq": "F32 2"})
    assert read(tmp_path).parameters == bound.TOTAL


def test_a_single_number_may_have_a_dimension(tmp_path: Path) -> None:
    saved(tmp_path, ALL | {"model.scale": "F32 1"})
    assert read(tmp_path).parameters == bound.TOTAL


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda t: t.pop("model.scale"),
            "The tensor model.scale of the package's model is missing",
        ),
        (lambda t: t.update(extra="F32 2"), "The package's model has no tensor 'extra'."),
        (
            lambda t: t.update({"model.embed.weight": "F32 4x8"}),
            "The tensor model.embed.weight has the shape 4x8, and in the package's model 8x4.",
        ),
        (
            lambda t: t.update({"model.layers.0.weight": "BF16 4x4"}),
            "The tensor model.layers.0.weight has the format BF16, and not F32.",
        ),
        (lambda t: t.update({"model.steps": "F32"}), "The tensor model.steps has the format F32"),
        (
            lambda t: t.update({"model.embed.weight": "I8 8x4"}),
            "The tensor model.embed.weight has the format I8",
        ),
    ],
)
def test_the_first_difference_is_the_error(
    tmp_path: Path, change: Callable[[Tensors], object], sentence: str
) -> None:
    tensors = dict(ALL)
    change(tensors)
    saved(tmp_path, tensors)
    assert sentence in refused(tmp_path)


def _headed(header: Any, size: int = 0) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + b"\0" * size


def _entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This is no .safetensors file, or it is cut short."),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"\x80\x04pickle of something", "This is no .safetensors file"),
        ((10**15).to_bytes(8, "little") + b"{}", "This is no .safetensors file"),
        (_headed(b'{"a": '), "This is not valid JSON, or it is cut short"),
        (_headed(b"[]"), "The header of this file is no object."),
        (_headed(b"[" * 100_000), "This is not valid JSON"),
        (_headed(b'{"a": 1, "a": 1}'), "has the name 'a' twice"),
        (_headed({"a": 7}), "The tensor 'a' has the format None; allowed: F64"),
        (_headed(_entry(dtype="Q4"), 8), "The tensor 'a' has the format 'Q4'"),
        (_headed(_entry(shape=[-2]), 8), "The header of this file describes 'a' wrongly."),
        (_headed(_entry(shape=[2.0]), 8), "describes 'a' wrongly"),
        (_headed(_entry(shape=[10**30]), 8), "describes 'a' wrongly"),
        (_headed(_entry(shape=[1] * 100), 8), "describes 'a' wrongly"),
        (_headed(_entry(offsets=[0]), 8), "describes 'a' wrongly"),
        (_headed(_entry(offsets=[0, 4]), 8), "The place of 'a' in this file does not fit"),
        (_headed(_entry(offsets=[4, 12]), 12), "The place of 'a' in this file does not fit"),
        (_headed(_entry(), 4), "The tensors take 8 bytes, but the file has 4 for them."),
        (_headed(_entry(), 9), "The tensors take 8 bytes, but the file has 9"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    saved(tmp_path, ALL).write_bytes(data)
    assert sentence in refused(tmp_path)


def test_weights_of_several_files_are_one(tmp_path: Path) -> None:
    parts = sharded(tmp_path)
    found = read(tmp_path)
    assert found.parameters == bound.TOTAL
    assert found.sha256 == weights.digest([files.sha256(part) for part in parts])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"model.scale": "../other.safetensors"}, "weight_map must map each tensor's name"),
        ({"model.scale": "/etc/passwd"}, "weight_map must map each tensor's name"),
        ({"model.scale": 1}, "weight_map must map each tensor's name"),
        ({"model.scale": "third.safetensors"}, "The index names third.safetensors, missing here."),
        (
            {"model.scale": "model-00001-of-00002.safetensors"},
            "The index has 'model.scale' in model-00001-of-00002.safetensors, but it lies in",
        ),
        ({"more": "model-00001-of-00002.safetensors"}, "but it lies in none."),
    ],
)
def test_an_index_must_fit_its_files(tmp_path: Path, table: dict[str, Any], sentence: str) -> None:
    sharded(tmp_path, table)
    assert sentence in refused(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "checkpoint" / "model-00002-of-00002.safetensors").unlink()
    assert refused(tmp_path) == "The index names model-00002-of-00002.safetensors, missing here."


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path)
    saved(tmp_path, ALL, "model-00002-of-00002.safetensors")
    assert "lies in two files" in refused(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-2.bin", "model.pt"])
def test_a_pickle_is_refused_unread(tmp_path: Path, name: str) -> None:
    saved(tmp_path, {}, name)
    assert refused(tmp_path) == "The weights are a pickle, which could run any code."


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert "has no checkpoint/model.safetensors" in refused(tmp_path)


def test_the_probe_names_the_tensors_of_a_checkpoint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from metagen.measure import probe_worker

    class Network(torch.nn.Module):
        scalars, spare = ("scale",), ("pooler.",)

        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(8, 4)
            self.head = torch.nn.Linear(4, 8, bias=False)
            self.head.weight = self.embed.weight
            self.scale = torch.nn.Parameter(torch.zeros(1))
            self.norm = torch.nn.BatchNorm1d(4)

        def checkpoint_name(self, name: str) -> str:
            return f"model.{name}"

    found = probe_worker._tensors(Network())
    assert found["parameters"] == {
        "model.scale": "F32",
        "model.embed.weight": "F32 8x4",
        "model.norm.weight": "F32 4",
        "model.norm.bias": "F32 4",
    }
    assert found["others"] == {
        "model.head.weight": "F32 8x4",
        "model.norm.running_mean": "F32 4",
        "model.norm.running_var": "F32 4",
        "model.norm.num_batches_tracked": "I64",
    }
    assert found["spare"] == ["pooler."]
