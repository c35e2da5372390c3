"""The generated scripts train, resume exactly, evaluate, infer, and stop with one sentence."""

from __future__ import annotations

import argparse
import copy
import errno
import importlib
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from generated import TINY, modules, write_package
from safetensors.torch import load_file

Run = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with modules(folder) as found:
        yield found
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"{n} bottles of water stand on the wall.\n" for n in range(150)))
    return path


@pytest.fixture
def run(
    code: dict[str, ModuleType],
    text: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run a script as its command line would; return stdout, or stderr when it stops."""

    def command(name: str, *options: object, status: int | None = None) -> str:
        line = [f"{name}.py", "--threads", "1", "--data", text, *options]
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        capsys.readouterr()
        if status is None:
            code[name].main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stopped:
            code[name].main()
        assert stopped.value.code == status
        return capsys.readouterr().err

    return command


@pytest.fixture(scope="module")
def trained(
    code: dict[str, ModuleType], text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The out folder of an uninterrupted run of six steps."""
    out = tmp_path_factory.mktemp("run")
    argv, sys.argv = (
        sys.argv,
        ["train.py", "--threads", "1", "--data", str(text), "--out", str(out)],
    )
    code["train"].main()
    sys.argv = argv
    return out


def same_checkpoint(one: Path, other: Path) -> bool:
    pairs = [(load_file(p), load_file(other / p.name)) for p in sorted(one.glob("*.safetensors"))]
    assert len(pairs) == 2
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


def test_training_writes_metrics_and_a_checkpoint(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["val_loss"] is not None for row in rows] == [False, False, True] * 2
    names = {"step", "train_loss", "val_loss", "learning_rate", "grad_norm", "tokens_per_second"}
    assert rows[0].keys() == names  # no share of a peak that nobody knows
    assert rows[0]["tokens_per_second"] is None  # the first step also allocates
    assert all(row["tokens_per_second"] > 0 and row["grad_norm"] > 0 for row in rows[1:])
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    names = {path.name for path in (trained / "checkpoint").iterdir()}
    assert names == {
        *("model.safetensors", "optimizer.safetensors", "config.json", "state.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    config = json.loads((trained / "checkpoint" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["hidden_size"] == config["d_model"] == 32


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    run: Run, trained: Path, tmp_path: Path, stop: int
) -> None:
    run("train", "--out", tmp_path, "--steps", stop)
    assert not same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")
    run("train", "--out", tmp_path, "--resume")
    assert same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")
    losses = [
        [json.loads(line)["train_loss"] for line in (out / "metrics.jsonl").open()]
        for out in (tmp_path, trained)
    ]
    assert losses[0] == losses[1]


def test_a_step_may_be_taken_in_parts(run: Run, trained: Path, tmp_path: Path) -> None:
    run("train", "--out", tmp_path, "--grad-accum", 4)
    whole = load_file(trained / "checkpoint" / "model.safetensors")
    parts = load_file(tmp_path / "checkpoint" / "model.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-4, rtol=1e-3)


def test_parts_of_unequal_size_weigh_by_their_targets(code: dict[str, ModuleType]) -> None:
    module = code["model"]
    torch.manual_seed(0)
    whole = module.Model(module.Config())
    parts = copy.deepcopy(whole)
    x, y = torch.randint(256, (4, 8)), torch.randint(256, (4, 8))
    for model, cuts in ((whole, [4]), (parts, [1, 3])):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        pairs = zip(x.split(cuts), y.split(cuts), strict=True)
        losses = [lambda m=model, a=a, b=b: (m(a, b), b.numel()) for a, b in pairs]
        code["runtime.optimization"].update(model, optimizer, losses, 1.0, 100.0)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_an_epoch_shows_every_sample_once_whatever_the_batches(code: dict[str, ModuleType]) -> None:
    samples_at = code["data"].samples_at
    stream = samples_at(0, 30, 10, seed=1)
    for epoch in range(3):
        assert sorted(i for e, i in stream if e == epoch) == list(range(10))
    assert stream[:10] != [(0, i) for _, i in stream[10:20]]
    assert [pair for start in range(0, 30, 3) for pair in samples_at(start, 3, 10, 1)] == stream


def test_windows_score_every_token_but_the_first_once(code: dict[str, ModuleType]) -> None:
    np = importlib.import_module("numpy")
    for length in (2, 16, 17, 18, 24, 25, 26, 50):
        tokens = np.arange(length, dtype=np.uint8)
        scored = [
            int(t)
            for _, targets in code["data"].windows(tokens, 16, 8, 2)
            for t in targets.flatten()
            if t >= 0
        ]
        assert sorted(scored) == list(range(1, length)), length


def test_a_kill_between_the_renames_loses_no_checkpoint(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint.old")
    (tmp_path / "checkpoint.new").mkdir()
    run("train", "--out", tmp_path, "--resume", "--steps", 7, "--schedule-steps", 6)
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 7
    assert not list(tmp_path.glob("checkpoint.*"))


def test_a_full_disk_leaves_the_last_checkpoint(
    run: Run,
    code: dict[str, ModuleType],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")

    def full_disk(path: Path, tensors: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(code["runtime.checkpoint"], "write_tensors", full_disk)
    error = run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)
    assert "cannot be written: No space left on device; the last checkpoint is as it was" in error
    assert same_checkpoint(folder, trained / "checkpoint")
    assert not list(tmp_path.glob("checkpoint.*"))


def test_evaluation_prints_the_contract(run: Run, trained: Path) -> None:
    report = json.loads(run("eval", "--out", trained))
    assert report["split"] == "test"
    assert report["checkpoint_step"] == 6
    assert len(report["sha256"]) == 64
    bits, accuracy = report["metrics"]
    assert bits["metric"] == "bits_per_byte"
    assert not bits["higher_is_better"]
    assert 0 < bits["baselines"]["5-gram"] < bits["baselines"]["bigram"]
    assert bits["baselines"]["bigram"] < bits["baselines"]["unigram"] < 8
    assert bits["value"] > 0
    assert 0 <= accuracy["value"] <= 1
    assert accuracy["baselines"].keys() == bits["baselines"].keys()


def test_the_score_is_the_sum_over_all_bytes_with_enough_context(
    code: dict[str, ModuleType],
) -> None:
    module, np = code["eval"], importlib.import_module("numpy")
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    tokens = np.arange(15, dtype=np.uint8)
    bits, _ = module.score(model, tokens, 16, module.Config(), torch.device("cpu"))
    x = torch.arange(15)
    nats = model(x[None, :-1], x[None, 1:]).item() * 14
    assert bits == pytest.approx(nats / 0.6931471805599453, rel=1e-5)


def test_ngram_probabilities_sum_to_one(code: dict[str, ModuleType]) -> None:
    model = code["eval"].NGram(3, b"abracadabra, abracadabra")
    for history in (b"", b"a", b"br", b"zz"):
        total = sum(model.probability(history, bytes([c])) for c in range(256))
        assert total == pytest.approx(1)
    assert model.probability(b"br", b"a") > 0.5


def test_inference_repeats_with_its_seed_and_differs_with_another(run: Run, trained: Path) -> None:
    options = ("--out", trained, "--prompt", "12 bott", "--temperature", "1")
    first = run("infer", *options, "--seed", 1)
    assert first.startswith("12 bott")
    assert len(first) > len("12 bott\n")
    assert run("infer", *options, "--seed", 1) == first
    assert run("infer", *options, "--seed", 2) != first


def test_greedy_decoding_is_the_likeliest_token_each_time(
    code: dict[str, ModuleType], trained: Path
) -> None:
    infer = code["infer"]
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    config = infer.Config(max_new_tokens=8, temperature=0.0)
    tokens = [1, 2, 3]
    for token in infer.generate(model, [1, 2, 3], config, torch.device("cpu")):
        assert token == int(model(torch.tensor([tokens]))[0, -1].argmax())
        tokens.append(token)
    assert len(tokens) == 11


def test_top_k_and_top_p_cut_the_tail(code: dict[str, ModuleType]) -> None:
    infer = code["infer"]
    logits = torch.log(torch.tensor([0.1, 0.5, 0.3, 0.1]))
    generator = torch.Generator().manual_seed(0)

    def drawn(**options: object) -> set[int]:
        config = infer.Config(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options)
        return {infer.draw(logits, config, generator) for _ in range(100)}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(top_k=2) == {1, 2}
    assert drawn(top_p=0.6) == {1, 2}
    assert drawn(top_p=0.5) == {1}
    assert drawn(temperature=0.0) == {1}


def test_the_bundled_corpus_has_no_paragraph_twice(code: dict[str, ModuleType]) -> None:
    paragraphs = code["data"].bundled_text().decode().split("\n\n")
    keys = [paragraph.strip() for paragraph in paragraphs]
    assert len(keys) > 1000
    assert len(keys) == len(set(keys))


def test_prepared_tokens_train_evaluate_and_decode(
    code: dict[str, ModuleType],
    tmp_path: Path,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = copy.deepcopy(TINY)
    sizes["model"]["vocab_size"] = 300
    sizes["data"]["tokenizer"] = "bpe"
    lines = text.read_text().splitlines()
    (tmp_path / "code").mkdir()
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in lines))
    monkeypatch.chdir(tmp_path)

    def script(name: str, *options: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        bpe[name].main()
        return capsys.readouterr().out

    with modules(write_package(tmp_path / "code", sizes)) as bpe:
        script("data", "prepare", "--data", "text.jsonl", "--out", "tokens")
        script("train", "--data", "tokens", "--steps", "2")
        report = json.loads(script("eval", "--data", "tokens"))
        assert script("infer", "--prompt", "bottles").startswith("bottles")
        tokenizer = bpe["runtime.tokenizer"].load_tokenizer("bpe", Path("out/checkpoint"))
    bits, accuracy = report["metrics"]
    assert (bits["metric"], accuracy["metric"]) == ("bits_per_byte", "next_token_accuracy")
    assert bits["baselines"] == {}
    tokens = tokenizer.encode(lines[0])
    assert len(tokens) < len(lines[0])
    assert tokenizer.decode(tokens) == lines[0]


LONG = ("--steps", 80, "--schedule-steps", 80, "--eval-every", 40, "--save-every", 1)


@pytest.fixture(scope="module")
def long(code: dict[str, ModuleType], text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an uninterrupted run, long enough to be interrupted."""
    out = tmp_path_factory.mktemp("long")
    line = ["train.py", "--threads", 1, "--data", text, "--out", out, *LONG]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(part) for part in line])
        code["train"].main()
    return out / "checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.ci), signal.SIGKILL],
)
def test_a_run_stopped_by_a_signal_goes_on_bit_for_bit(
    folder: Path, run: Run, text: Path, long: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    line = [sys.executable, folder / "train.py", "--threads", 1, "--data", text, *LONG]
    line += ["--out", tmp_path]
    process = subprocess.Popen([str(part) for part in line], stderr=subprocess.PIPE, text=True)
    state = tmp_path / "checkpoint" / "state.json"
    for _ in range(2400):
        if state.exists():
            break
        time.sleep(0.005)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=30)
    if kind == signal.SIGKILL:
        assert process.returncode == -kind
    else:
        assert process.returncode == 128 + kind, errors
        assert "saved: --resume goes on" in errors
        step = json.loads(state.read_text())["step"]
        assert step == len((tmp_path / "metrics.jsonl").read_text().splitlines())
    assert not same_checkpoint(tmp_path / "checkpoint", long)
    run("train", "--out", tmp_path, "--resume", *LONG)
    assert same_checkpoint(tmp_path / "checkpoint", long)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 80


def test_what_is_watched_saved_or_recomputed_changes_no_bit(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    watched = ("--eval-every", 1, "--save-every", 2, "--grad-checkpoint", "--tensorboard")
    run("train", "--out", tmp_path, *watched)
    assert same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    run("train", "--out", tmp_path / "out", "--dry-run")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_a_compiled_model_saves_the_names_and_nearly_the_weights_of_one_that_is_not(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    run("train", "--out", tmp_path, "--compile")
    plain = load_file(trained / "checkpoint" / "model.safetensors")
    compiled = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert plain.keys() == compiled.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, atol=1e-4, rtol=1e-3)


def test_tensors_are_written_as_the_library_writes_them(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    tensors = {
        "a": torch.randn(3, 5),
        "scalar": torch.tensor(2.0),
        "half": torch.randn(7).bfloat16(),
        "turned": torch.arange(6).view(2, 3).T,
        "none": torch.empty(0, 4),
    }
    code["runtime.checkpoint"].write_tensors(tmp_path / "x.safetensors", tensors)
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


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
    assert loop.Work("images", 10).speed(2.0) == {"images_per_second": 5.0}
    known = loop.Work("images", 10, flops=0.5)
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


def test_tokens_are_read_across_files(code: dict[str, ModuleType], tmp_path: Path) -> None:
    np = importlib.import_module("numpy")
    tokens = np.arange(1000, 1025, dtype=np.uint16)
    cuts = (0, 10, 10, 11, 25)
    for number, (first, last) in enumerate(itertools.pairwise(cuts)):
        tokens[first:last].tofile(tmp_path / f"train-{number:05}.bin")
    shards = code["data"].open_shards(tmp_path, "train", "uint16")
    assert len(shards) == 25
    for first, last in itertools.combinations_with_replacement(range(28), 2):
        assert list(shards[first:last]) == list(tokens[first:last])
    assert list(shards[-1:]) == [1024]
    assert list(shards[:]) == list(tokens)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA"), "memory is full: use"),
        (MemoryError(), "memory is full: use"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
            "memory is full: use",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "x: No space left on device."),
    ],
)
def test_a_machine_that_is_full_ends_a_script_in_one_sentence(
    code: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    words: str,
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        code["train"].run(main)
    assert stopped.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert words in sentence


def test_an_error_of_ours_is_not_dressed_up(code: dict[str, ModuleType]) -> None:
    def main() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        code["train"].run(main)


def test_a_missing_tensorboard_is_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    error = run("train", "--out", tmp_path, "--tensorboard", status=2)
    assert error.endswith("--tensorboard needs a library: pip install tensorboard.\n")


def test_a_missing_compiler_is_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(function: object) -> None:
        raise RuntimeError("no C++ compiler was found\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    error = run("train", "--out", tmp_path, "--compile", status=2)
    assert "does not work here (no C++ compiler was found): train without --compile." in error


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint(
    run: Run,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: dict[str, ModuleType],
) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    monkeypatch.setattr(code["runtime.training"], "update", lambda *_: (float("nan"), 1.0))
    error = run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)
    assert "the loss is nan" in error
    assert "at step 7: lower --learning-rate" in error
    assert same_checkpoint(tmp_path / "checkpoint", trained / "checkpoint")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("train", ["--data", "missing.txt"], "missing.txt is neither a text file"),
        ("train", ["--checkpoint", "{full}"], "holds other files"),
        ("train", ["--resume"], "holds no checkpoint"),
        ("train", ["--grad-accum", "3"], "4 samples cannot be cut in 3 equal parts"),
        ("train", ["--data", "{short}"], "too little text"),
        ("train", ["--data", "{binary}"], "cannot be read as UTF-8"),
        ("train", ["--data", "{jsonl}"], 'lines.jsonl:2 is not a JSON object with a "text"'),
        ("train", ["--learning-rate", "1e30", "--warmup-steps", "0"], "lower --learning-rate"),
        ("eval", [], "holds no checkpoint"),
        ("infer", ["--prompt", ""], "holds no checkpoint"),
        ("infer", ["--prompt", "x", "--top-p", "0"], "--top-p lies in"),
    ],
)
def test_what_cannot_work_ends_in_one_sentence_and_status_2(
    run: Run, tmp_path: Path, name: str, options: list[str], words: str
) -> None:
    places = {
        "full": tmp_path / "full",
        "short": tmp_path / "short.txt",
        "binary": tmp_path / "binary.txt",
        "jsonl": tmp_path / "lines.jsonl",
    }
    places["full"].mkdir()
    (places["full"] / "thesis.txt").write_text("x")
    places["short"].write_text("x" * 20)
    places["binary"].write_bytes(b"\xff\xfe\x00" * 100)
    places["jsonl"].write_text('{"text": "a"}\n{"body": "b"}\n')
    filled = [option.format(**places) for option in options]
    error = run(name, "--out", tmp_path / "out", *filled, status=2)
    sentence = error.strip().splitlines()[-1]
    assert sentence.startswith(f"{name}.py: ")
    assert words in sentence
    assert (places["full"] / "thesis.txt").exists()
    assert not (tmp_path / "out" / "checkpoint").exists()


@pytest.mark.parametrize("name", ["eval", "infer"])
def test_a_checkpoint_of_another_model_is_refused(
    run: Run, trained: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"d_model": 64}))
    prompt = ("--prompt", "x") if name == "infer" else ()
    error = run(name, "--out", tmp_path, *prompt, status=2)
    assert "was made with d_model = 64, and this run has 32" in error


def test_a_resumed_run_must_be_the_same_run(run: Run, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    options = ("--out", tmp_path, "--resume", "--steps", 8)
    assert "train.seed = 42, and this run has 1" in run("train", *options, "--seed", 1, status=2)
    batch = run("train", *options, "--batch-size", 8, status=2)
    assert "train.batch_size = 4, and this run has 8" in batch
    done = run("train", "--out", tmp_path, "--resume", status=2)
    assert "is at step 6 already" in done


def test_a_damaged_checkpoint_is_refused(run: Run, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    (folder / "model.safetensors").write_bytes(b"not tensors")
    assert "cannot be read" in run("eval", "--out", tmp_path, status=2)
    shutil.copy(trained / "checkpoint" / "model.safetensors", folder)
    for damaged, words in (
        (b"not tensors", "optimizer.safetensors cannot be read"),
        ((folder / "model.safetensors").read_bytes(), "belongs to another model"),
    ):
        (folder / "optimizer.safetensors").write_bytes(damaged)
        assert words in run("train", "--out", tmp_path, "--resume", "--steps", 8, status=2)


def test_a_model_that_cannot_fit_is_refused_before_it_is_allocated(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        code["runtime.device"].memory_table(10**14, 1, torch.device("cpu"))
    assert "needs 1600000.0 GB" in capsys.readouterr().err


def test_no_checkpoint_is_unpickled(folder: Path) -> None:
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "pickle" not in text.replace("without pickle", "")
        assert "torch.load" not in text


@pytest.mark.parametrize("name", ["train", "eval", "infer"])
def test_help_names_every_shared_option(
    run: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit):
            importlib.import_module(name).command_line()
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
        return argparse.Namespace()

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
    code["train"].command_line()
    assert len(found) > 20
    assert [action.option_strings for action in found if not action.help] == []
    given = {option for action in found for option in action.option_strings}
    assert set(re.findall(r"--[a-z-]+", code["train"].__doc__)) - {"--nproc-per-node"} <= given
