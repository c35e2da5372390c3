"""What the generated scripts say of themselves: speed, operations, device and options."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.generated import Run


def test_speed_is_told_as_a_share_of_a_peak_only_where_the_peak_is_known(
    code: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, gpu = code["runtime.device"], torch.device("cuda")
    for name, peak in (
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert device.peak_flops(gpu) == peak, name
    assert device.peak_flops(torch.device("cpu")) is None
    loop = code["runtime.loop"]
    assert loop.StepSize("images", 10).speed(2.0) == {"images_per_second": 5.0}
    known = loop.StepSize("images", 10, seconds_at_peak=0.5)
    assert known.speed(2.0) == {"images_per_second": 5.0, "mfu": 0.25}
    assert known.speed(None) == {"images_per_second": None, "mfu": None}


def test_the_operations_of_a_step_are_six_a_weight_and_token_and_those_of_attention(
    code: dict[str, ModuleType],
) -> None:
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config())
        data = code["data"].Config()
        counted = code["runtime.flops"].training_flops(
            lambda: code["train"].example_loss(model, 3, data)
        )
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    config, length = model.config, data.seq_len
    attention = 12 * config.n_layers * config.n_heads * config.head_dim * length
    assert counted == 3 * length * (6 * matrices + attention)


def test_the_cpu_is_used_without_a_look_at_cuda(
    code: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("CUDA was touched")

    for name in ("is_available", "is_bf16_supported", "get_device_name", "device_count"):
        monkeypatch.setattr(torch.cuda, name, touched)
    ours = code["runtime.device"]
    device = ours.choose_device("cpu", 1)
    assert not ours.in_bfloat16(device, "auto")
    assert ours.peak_flops(device) is None


@pytest.mark.parametrize("name", ["train", "eval", "infer"])
def test_help_names_every_shared_option(
    run: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit):
            importlib.import_module(name).main()
    text = capsys.readouterr().out
    options = "size data checkpoint out steps batch-size seed device resume threads"
    for option in options.split():
        assert f"--{option}" in text


def test_every_option_of_training_is_explained(
    folder: Path, code: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[argparse.Action] = []

    def keep(parser: argparse.ArgumentParser) -> argparse.Namespace:
        found.extend(parser._actions)
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
    with pytest.raises(SystemExit):
        code["train"].main()
    assert len(found) > 20
    assert [action.option_strings for action in found if not action.help] == []
    given = {option for action in found for option in action.option_strings}
    assert set(re.findall(r"--[a-z-]+", code["train"].__doc__)) - {"--nproc-per-node"} <= given
