"""The generated scripts train, resume exactly, evaluate, infer, and stop with one sentence."""

from __future__ import annotations

import copy
import errno
import importlib
import json
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
    assert names == {"model.safetensors", "optimizer.safetensors", "config.json", "state.json"}
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
        code["train"].update(model, optimizer, losses, 1.0, 100.0)
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

    monkeypatch.setattr(code["train"], "write_tensors", full_disk)
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
        tokenizer = bpe["data"].load_tokenizer("bpe", Path("out/checkpoint"))
    bits, accuracy = report["metrics"]
    assert (bits["metric"], accuracy["metric"]) == ("bits_per_byte", "next_token_accuracy")
    assert bits["baselines"] == {}
    tokens = tokenizer.encode(lines[0])
    assert len(tokens) < len(lines[0])
    assert tokenizer.decode(tokens) == lines[0]


def test_ctrl_c_saves_a_checkpoint_and_exits_with_130(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(folder / "train.py"), "--steps", "100000", "--threads", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "out" / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and metrics.stat().st_size:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    step = json.loads((tmp_path / "out" / "checkpoint" / "state.json").read_text())["step"]
    assert step == len(metrics.read_text().splitlines())


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
    done = run("train", "--out", tmp_path, "--resume", status=2)
    assert "is at step 6 already" in done


def test_a_damaged_checkpoint_is_refused(run: Run, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    (folder / "model.safetensors").write_bytes(b"not tensors")
    assert "cannot be read" in run("eval", "--out", tmp_path, status=2)


def test_a_model_that_cannot_fit_is_refused_before_it_is_allocated(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        code["train"].memory_table(10**14, 1, torch.device("cpu"))
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
