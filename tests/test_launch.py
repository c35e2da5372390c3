"""Training on many devices: how many, what each holds, and scripts that a shell reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.building import fake_measurements
from helpers.generated import TINY, modules, write_package
from helpers.llama import LLAMA_3_8B
from helpers.plain_desk import PlainDesk
from torch.utils.flop_counter import FlopCounterMode

from metagen import files, paths
from metagen.families.decoder import FAMILY
from metagen.measure import memory, memory_worker, sandbox
from metagen.measure.nodes import machines
from metagen.package import launch

TEMPLATES = paths.templates() / "launch"


def test_the_most_devices_that_share_an_update_equally_are_used() -> None:
    for declared, batch, wanted in (
        (1, 7, (1, 1)),
        (8, 64, (1, 8)),
        (256, 256, (32, 8)),
        (256, 255, (51, 5)),
        (100, 256, (8, 8)),
        (16, 4, (1, 4)),
        (1000, 2048, (64, 8)),
    ):
        nodes, per_node = machines(declared, batch)
        assert (nodes * per_node, batch % (nodes * per_node)) == (wanted[0] * wanted[1], 0)
        assert (nodes, per_node) == wanted
        assert nodes * per_node <= declared


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    code = write_package(tmp_path_factory.mktemp("code"))
    scripts = {f"code/{path.relative_to(code)}": path.read_bytes() for path in code.rglob("*.py")}
    architecture = files.yaml_bytes({"family": "decoder", **TINY, "proxy": TINY})
    return scripts | {"blueprint/architecture.yaml": architecture}


def plan(tmp_path: Path, package: dict[str, bytes], hardware: str | None) -> dict[str, Any]:
    compute = f'training: {{compute: {{hardware: "{hardware}"}}}}\n' if hardware else ""
    made = memory.work(PlainDesk(compute, tmp_path, package))
    return dict(json.loads(made[launch.PLAN]))


@pytest.mark.slow
@pytest.mark.ci
def test_each_device_holds_a_share_of_what_is_cut_and_activations_of_its_own(
    tmp_path: Path, package: dict[str, bytes]
) -> None:
    made = plan(tmp_path, package, "4xH100")
    count = made["parameters"]
    assert (made["declared"], made["devices"], made["samples_at_once"]) == (4, 4, 1)
    assert made["device"] == "H100-80GB-SXM"
    assert (made["idle"], made["grad_accum"]) == (None, made["batch_size"] // 4)
    ddp, fsdp, _, selected, again, least = made["modes"]
    assert [ddp[name] for name in ("weights", "gradients", "optimizer", "gathered")] == [
        4 * count, 4 * count, 8 * count, 0,
    ]  # fmt: skip
    assert [fsdp[name] for name in ("weights", "gradients", "optimizer")] == [
        count, count, 2 * count,
    ]  # fmt: skip
    assert 0 < fsdp["gathered"] <= 2 * count
    assert again["activations"] < ddp["activations"]
    assert least["activations"] <= selected["activations"] < fsdp["activations"]
    assert fsdp["activations"] < ddp["activations"]
    for mode in made["modes"]:
        states = sum(mode[name] for name in memory.STATES)
        passing = sum(mode[name] for name in memory.PASSING)
        assert mode["total"] == states + passing
        assert mode["most"] == states + round(memory.UNCOUNTED * passing)
        assert mode["fits"] is True
    # All but the output layer is computed again in full, less of it selectively.
    operations = [mode["operations"] for mode in made["modes"]]
    assert operations[0] == 1 < operations[2] < operations[4] < 4 / 3
    assert made["chosen"] == 0


def test_what_is_not_declared_or_known_is_not_guessed(
    tmp_path: Path, package: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    silent = plan(tmp_path, package, None)
    assert (silent["declared"], silent["device"], silent["devices"]) == (None, None, 1)
    strange = plan(tmp_path, package, "2xWonderchip 9")
    assert (strange["devices"], strange["device"], strange["usable_memory"]) == (2, None, None)
    assert {mode["fits"] for mode in strange["modes"]} == {None}
    assert strange["chosen"] == len(memory.MODES) - 1


def test_fake_tensors_keep_what_real_ones_keep(tmp_path: Path) -> None:
    with modules(write_package(tmp_path)) as code:
        model, data = code["model"], code["data"].Config()

        def build() -> torch.nn.Module:
            return model.Model(model.Config())

        def parts(module: torch.nn.Module) -> list[torch.nn.Module]:
            return list(module.layers)

        def loss(module: torch.nn.Module) -> torch.Tensor:
            return code["train"].example_loss(module, 2, data)

        selection = code["runtime.speedup"].Selection
        fake = memory_worker.measure(build, loss, parts, selection, "ddp", 1)["ddp"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            real = build()
            run = memory_worker.forward(real, list(real.layers), loss, selection)
    assert (fake["activations"], fake["operations"]) == (run.kept, run.repeated)


def test_recomputation_computes_what_the_plan_counts(tmp_path: Path) -> None:
    with modules(write_package(tmp_path)) as code:
        data, speedup, train = code["data"].Config(), code["runtime.speedup"], code["train"]

        def counted(mode: str) -> int:
            model = code["model"].Model(code["model"].Config())
            if mode != "none":
                speedup.checkpoint_gradients(list(model.layers), mode)
            with FlopCounterMode(display=False) as counter:
                train.example_loss(model, 2, data).backward()
            return int(counter.get_total_flops())

        model = code["model"].Model(code["model"].Config())
        planned = memory_worker.forward(
            model,
            list(model.layers),
            lambda module: train.example_loss(module, 2, data),
            speedup.Selection,
        )
        again = {mode: counted(mode) - counted("none") for mode in ("selective", "full")}
    # Torch's table lacks a CPU's attention, which only the full mode computes again.
    assert 0 < again["selective"] == planned.operations["selective"]
    assert again["selective"] < again["full"] <= planned.operations["full"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["selective", "full"])
def test_recomputation_can_be_compiled(tmp_path: Path, mode: str) -> None:
    with modules(write_package(tmp_path)) as code:
        data, speedup, train = code["data"].Config(), code["runtime.speedup"], code["train"]
        gradients = []
        for compiled in (False, True):
            torch.manual_seed(0)
            model = code["model"].Model(code["model"].Config())
            speedup.checkpoint_gradients(list(model.layers), mode, compiled)
            if compiled:
                for layer in model.layers:
                    layer.compile(backend="aot_eager")
            train.example_loss(model, 2, data).backward()
            gradients.append([p.grad for p in model.parameters()])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_what_is_not_counted_makes_up_for_a_published_peak(tmp_path: Path) -> None:
    # Llama-3.1-8B on 8 H100s, 2 sequences of 8,192 tokens each: 82.4 GiB without compilation
    # (torchtitan, docs/performance.md, table 1).
    dims = {**LLAMA_3_8B, "max_seq_len": 8192}
    compute = "training: {compute: {hardware: 8xH100}, config: {batch_size: 16}}\n"
    settings = FAMILY.sections(dims, PlainDesk(compute, tmp_path).key, reduced=False)
    (tmp_path / "code").mkdir()
    code = write_package(tmp_path / "code", {"model": dims, **settings})
    package = {f"code/{p.relative_to(code)}": p.read_bytes() for p in code.rglob("*.py")}
    package["blueprint/architecture.yaml"] = files.yaml_bytes({"family": "decoder"})
    desk = PlainDesk(compute, tmp_path, package)
    mode = json.loads(memory.work(desk)[launch.PLAN])["modes"][3]
    assert (mode["parallel"], mode["grad_checkpoint"]) == ("fsdp", "selective")
    assert mode["total"] / 2**30 == pytest.approx(68.4, abs=0.1)
    assert mode["most"] / 2**30 == pytest.approx(82.4, rel=0.01)


def scripts(folder: Path, spec: str = "", **values: object) -> list[Path]:
    """Write the scripts of a plan with some values, and return them."""
    modes = [{"parallel": mode, "grad_checkpoint": again} for mode, again in memory.MODES]
    made = {"nodes": 4, "devices_per_node": 8, "chosen": 5, "modes": modes, **values}
    desk = PlainDesk(spec, folder, {launch.PLAN: files.json_bytes(made)})
    for recipe in launch.RECIPES:
        for path, data in recipe.work(desk).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    return [folder / launch.SLURM, folder / launch.TORCHRUN]


def test_the_plan_stands_in_the_scripts(tmp_path: Path) -> None:
    slurm, torchrun = (path.read_text() for path in scripts(tmp_path))
    assert "#SBATCH --nodes=4\n#SBATCH --ntasks-per-node=1\n#SBATCH --gpus-per-node=8\n" in slurm
    assert "OPTIONS=(--size full --parallel fsdp --grad-checkpoint full)\n" in torchrun
    _, torchrun = (path.read_text() for path in scripts(tmp_path, chosen=2))
    assert "OPTIONS=(--size full --parallel ddp --grad-checkpoint selective)\n" in torchrun
    _, torchrun = (path.read_text() for path in scripts(tmp_path, chosen=0))
    assert "OPTIONS=(--size full --parallel ddp)\n" in torchrun


def test_nothing_but_numbers_and_our_own_words_reaches_a_shell(tmp_path: Path) -> None:
    for values, error in (
        ({"nodes": "1\nrm -rf ~"}, ValueError),
        ({"chosen": "0; true"}, ValueError),
        ({"chosen": 0, "modes": [{"parallel": "$(true)", "grad_checkpoint": "none"}]}, KeyError),
        ({"chosen": 0, "modes": [{"parallel": "ddp", "grad_checkpoint": "$(true)"}]}, KeyError),
    ):
        with pytest.raises(error):
            scripts(tmp_path, **values)


@pytest.mark.parametrize(
    "path",
    ["base model", "'; touch pwned; '", "$(touch pwned)", "`touch pwned`", '"\\', "-rf", "é"],
)
def test_the_folder_to_start_from_is_one_word_of_the_command(tmp_path: Path, path: str) -> None:
    spec = f"training: {{init_from: {json.dumps(path)}}}\n"
    _, torchrun = scripts(tmp_path, spec)
    (tmp_path / "torchrun").write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    (tmp_path / "torchrun").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def words(*options: str) -> list[str]:
        line = ["bash", torchrun, "--out", "x", *options]
        told = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, check=True)
        return told.stdout.decode().split("\0")[:-1]

    assert words()[-3:] == [f"--init-from={path}", "--out", "x"]
    assert not any(word.startswith("--init-from") for word in words("--resume"))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("script", ["slurm.sh", "torchrun.sh"])
def test_a_shell_and_its_critic_accept_the_scripts(script: str, tmp_path: Path) -> None:
    made = next(path for path in scripts(tmp_path) if path.name == script)
    for path in (TEMPLATES / script, made):
        subprocess.run(["bash", "-n", path], check=True)
        critic = Path(sys.executable).with_name("shellcheck")
        told = subprocess.run([critic, path], capture_output=True, text=True)
        assert told.returncode == 0, told.stdout


@pytest.mark.slow
@pytest.mark.ci
def test_a_slurm_job_of_one_node_trains(tmp_path: Path) -> None:
    slurm, _ = scripts(tmp_path)
    write_package(tmp_path / "code")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (("scontrol", "echo localhost"), ("srun", 'shift; exec "$@"')):
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    slurm_sets = {"SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_JOB_ID": "7"}
    slurm_sets["SLURM_SUBMIT_DIR"] = str(tmp_path / "code")
    done = subprocess.run(
        ["bash", slurm, "--size", "proxy", "--device", "cpu"],
        cwd=tmp_path / "code",
        env=os.environ | slurm_sets | {"PATH": path, "DEVICES_PER_NODE": "2", "PORT": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "6 steps done: out/checkpoint" in done.stderr


def test_a_broken_script_of_the_package_is_named(tmp_path: Path, package: dict[str, bytes]) -> None:
    broken = package | {"code/train.py": b"raise ValueError('mine')\n"}
    with pytest.raises(sandbox.TaskError, match="memory_worker") as caught:
        plan(tmp_path, broken, None)
    assert "ValueError: mine" in caught.value.problems[0].hint
