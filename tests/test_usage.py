"""What a process measures of its own use: energy counters, and a record that kills cannot tear."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.readers import Readers


def powercap(root: Path, *energies: int, most: int = 10**9) -> Path:
    """Write the zones that Linux shows, one package each, with a core below the first."""
    for number, energy in enumerate(energies):
        zone = root / f"intel-rapl:{number}"
        zone.mkdir(exist_ok=True, parents=True)
        (zone / "name").write_text(f"package-{number}\n")
        (zone / "energy_uj").write_text(f"{energy}\n")
        (zone / "max_energy_range_uj").write_text(f"{most}\n")
    core = root / "intel-rapl:0:0"
    core.mkdir(exist_ok=True)
    (core / "name").write_text("core\n")
    return root


def test_rapl_adds_the_packages_and_follows_a_counter_past_its_end(
    runtime: Readers, tmp_path: Path
) -> None:
    seconds = iter([0.0, 0.1, 0.2])
    root = powercap(tmp_path, 1_000_000, 999_000_000)
    meter = runtime.usage.CPUMeter(root, lambda: next(seconds))
    powercap(tmp_path, 3_500_000, 999_500_000)
    assert meter.joules() == pytest.approx(2.5 + 0.5)
    powercap(tmp_path, 3_500_000, 499_999)
    assert meter.joules() == pytest.approx(3.0 + 1.000000)


def test_rapl_that_may_have_wrapped_twice_is_not_measured(runtime: Readers, tmp_path: Path) -> None:
    seconds = iter([0.0, 2.0])
    meter = runtime.usage.CPUMeter(powercap(tmp_path, 0), lambda: next(seconds))
    assert math.isnan(meter.joules())  # 1000 J pass in a second at the most


@pytest.mark.parametrize("readable", [True, False])
def test_a_machine_without_counters_has_no_energy(
    runtime: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    monkeypatch.setattr(runtime.usage.CPUMeter.__init__, "__defaults__", (tmp_path, lambda: 0.0))
    if not readable:
        powercap(tmp_path, 5)
        (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    read = runtime.usage.Usage(torch.device("cpu")).read()
    assert read["energy"] == {"joules": None, "source": "not measured"}
    assert read["memory_peak"] > 0


def test_nvml_counts_the_gpu_that_torch_numbers(
    runtime: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NVML(types.ModuleType):
        total = 5000

        def nvmlInit(self) -> None:
            pass

        def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
            return uuid

        def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
            assert handle == "GPU-abc"
            return self.total

    nvml = NVML("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    uuid = types.SimpleNamespace(uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: uuid)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    meter = runtime.usage.meter(torch.device("cuda", 0))
    nvml.total = 12500
    assert (meter.source, meter.joules()) == ("NVML", 7.5)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 MIG 1g.10gb")
    assert runtime.usage.meter(torch.device("cuda", 0)).source == "not measured"


def test_a_kill_while_entries_are_written_leaves_the_old_file(
    runtime: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, path = runtime.journal, tmp_path / "run.json"
    journal.write_entries(path, "starts", [{"a": 1}])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.write_entries(path, "starts", [{"a": 1}, {"b": 2}])
    assert journal.read_entries(path, "starts") == [{"a": 1}]
    # The half-written file that it left is in nobody's way, even if it is a link.
    (tmp_path / ".run.json.new").unlink()
    (tmp_path / ".run.json.new").symlink_to(tmp_path / "elsewhere")
    journal.write_entries(path, "starts", [{"a": math.nan}])
    assert journal.read_entries(path, "starts") == [{"a": None}]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "done"),
        (SystemExit(143), "stopped"),
        (SystemExit(130), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (SystemExit(2), "failed"),
        (MemoryError(), "failed"),
    ],
)
def test_a_record_says_how_its_start_ended(
    runtime: Readers, tmp_path: Path, error: BaseException | None, status: str
) -> None:
    usage = runtime.usage.Usage(torch.device("cpu"))
    record = runtime.record.Record(tmp_path, {"from": 3, "unit": "rows"}, 5, usage)
    with record:
        pass
    record.__exit__(type(error), error, None)
    (entry,) = runtime.journal.read_entries(tmp_path / "run.json", "starts")
    assert entry["status"] == status


def test_the_speed_of_a_start_is_that_of_all_its_steps(runtime: Readers) -> None:
    speed = runtime.record.Speed("rows")
    assert speed.means() == {"throughput": None, "mfu": None}
    speed.add({"rows_per_second": None})
    speed.add({"rows_per_second": 10.0, "mfu": 0.4})
    speed.add({"rows_per_second": 30.0, "mfu": 0.6})
    # Two steps of 30 rows take 3 + 1 seconds.
    assert speed.means() == {"throughput": pytest.approx(15.0), "mfu": pytest.approx(0.48)}


def test_a_command_line_under_torchrun_says_how_many_processes_it_starts(
    runtime: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--out", "a b"])
    assert runtime.origin.command() == "python train.py --out 'a b'"
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    line = "torchrun --nnodes 2 --nproc-per-node 8 train.py --out 'a b'"
    assert runtime.origin.command() == line
