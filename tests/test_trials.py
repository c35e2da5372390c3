"""A trial trains the code of a package once; what it showed comes from the cache from then on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.generated import TINY, write_package

from metagen.errors import TaskError, UsageError
from metagen.trials import Outcome, Point, Trial, cache_in, count, package_of, run

# Its validation loss falls with the learning rate and the steps, and each start leaves a line.
TRAIN = """
import json, pathlib, sys
settings = json.loads(pathlib.Path("code/config.json").read_text())["proxy"]
train = settings["train"]
with open(train["starts"], "a") as starts:
    starts.write("start\\n")
out = pathlib.Path("out/checkpoint")
out.mkdir(parents=True)
for name in ("model.safetensors", "config.json", "state.json"):
    (out / name).write_text("{}")
with (out.parent / "metrics.jsonl").open("w") as log:
    for step in range(1, train["steps"] + 1):
        due = step % train["eval_every"] == 0 or step == train["steps"]
        loss = 1 / (1 + train["learning_rate"] * step) if due else None
        row = {"step": step, "train_loss": 1, "val_loss": loss, "rows_per_second": 3.0}
        print(json.dumps(row), file=log, flush=True)
        if due:
            line = f"step {step}/{train['steps']}: train loss 1.000, validation {loss:.3f}"
            print(line, file=sys.stderr, flush=True)
data = {"name": "rows", "sha256": "0" * 64, "splits": {"train": 7}}
start = {"data": data, "units": 5, "unit": "rows", "memory_peak": 9}
(out.parent / "run.json").write_text(json.dumps({"starts": [start]}))
"""


@pytest.fixture
def starts(tmp_path, monkeypatch):
    monkeypatch.setattr(count, "counted", lambda files: b'{"parameters": 3, "flops": 10}')
    (tmp_path / "starts").touch()
    return lambda: (tmp_path / "starts").read_text().count("start")


@pytest.fixture
def package(tmp_path):
    train = {"batch_size": 4, "learning_rate": 0.5, "starts": str(tmp_path / "starts")}
    config = {"proxy": {"model": {"width": 8}, "data": {}, "train": train, "infer": {"top": 1}}}
    return {"code/train.py": TRAIN.encode(), "code/config.json": json.dumps(config).encode()}


def trial(package, steps=16, seed=1, **train):
    return Trial.of(package, {"train": train}, steps=steps, seed=seed)


def test_an_outcome_has_the_losses_the_counts_and_what_was_read(package, starts, tmp_path):
    seen = run(package, trial(package), cache_in(tmp_path / "cache"))
    curve = tuple(Point(step, 1 / (1 + 0.5 * step)) for step in range(2, 17, 2))
    assert seen == Outcome(
        val_loss=1 / 9, curve=curve, parameters=3, flops=640, samples=64, units=5, unit="rows",
        metrics={"step": 16, "train_loss": 1, "val_loss": 1 / 9}, memory=9, seconds=seen.seconds,
        data={"name": "rows", "sha256": "0" * 64, "splits": {"train": 7}},
    )  # fmt: skip
    assert 0 <= seen.seconds < 60


def test_the_same_trial_is_trained_once_and_its_curve_is_replayed(package, starts, tmp_path):
    cache, watched = cache_in(tmp_path / "cache"), [[], []]
    first = run(package, trial(package), cache, lambda *each: watched[0].append(each))
    second = run(package, trial(package), cache, lambda *each: watched[1].append(each))
    assert (first, starts()) == (second, 1)
    assert watched[0] == watched[1]
    assert watched[0][0] == (2, 16, 0.5)


@pytest.mark.parametrize(
    "changed",
    [{"seed": 2}, {"steps": 8}, {"learning_rate": 0.25}, {"batch_size": 8}],
    ids=lambda each: next(iter(each)),
)
def test_what_decides_a_result_is_part_of_its_key(package, starts, tmp_path, changed):
    cache = cache_in(tmp_path / "cache")
    run(package, trial(package), cache)
    run(package, trial(package, **changed), cache)
    assert starts() == 2


def test_code_is_part_of_the_key_and_settings_of_other_scripts_are_not(package, starts, tmp_path):
    cache = cache_in(tmp_path / "cache")
    run(package, trial(package), cache)
    run(package, Trial.of(package, {"infer": {"top": 2}}, steps=16, seed=1), cache)
    assert starts() == 1
    run({**package, "code/data.py": b""}, trial(package), cache)
    assert starts() == 2


def test_the_content_of_the_users_data_is_part_of_the_key(package, starts, tmp_path):
    data, cache = tmp_path / "texts", cache_in(tmp_path / "cache")
    data.mkdir()
    (data / "a.txt").write_text("one")
    first = replace(trial(package), data=data)
    run(package, first, cache)
    run(package, first, cache)
    assert starts() == 1
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "a.txt").write_text("two")
    run(package, replace(first, data=tmp_path / "moved"), cache)
    assert starts() == 2
    with pytest.raises(UsageError, match="no such file or folder"):
        run(package, replace(first, data=tmp_path / "none"), cache)


class Ended(Exception):
    pass


def test_a_training_that_its_watcher_ends_leaves_nothing(package, starts, tmp_path):
    def end(done, steps, loss):
        if done == 4:
            raise Ended

    cache = cache_in(tmp_path / "cache")
    for expected in (1, 2):
        with pytest.raises(Ended):
            run(package, trial(package), cache, end)
        assert starts() == expected
    run(package, trial(package), cache)
    with pytest.raises(Ended):
        run(package, trial(package), cache, end)
    assert starts() == 3


def test_a_failed_training_shows_its_output_and_is_not_stored(package, starts, tmp_path):
    cache = cache_in(tmp_path / "cache")
    broken = {**package, "code/train.py": b"raise SystemExit('no such column')"}
    for _ in range(2):
        with pytest.raises(TaskError, match="no such column"):
            run(broken, trial(package), cache)


def test_a_damaged_outcome_is_trained_again(package, starts, tmp_path):
    cache = cache_in(tmp_path / "cache")
    outcome = run(package, trial(package), cache)
    for path in (tmp_path / "cache" / "store").rglob("*"):
        if path.is_file():
            path.write_bytes(b"{}")
    assert run(package, trial(package), cache).curve == outcome.curve
    assert starts() == 2


def test_a_folder_of_somebody_else_is_no_cache(tmp_path):
    (tmp_path / "letters").touch()
    with pytest.raises(UsageError, match="no cache"):
        cache_in(tmp_path)


def test_a_setting_that_the_proxy_lacks_is_refused(package):
    with pytest.raises(KeyError, match=r"train\.rate"):
        trial(package, rate=1)


def test_the_code_of_a_run_folder_is_read_without_following_links(tmp_path):
    with pytest.raises(TaskError, match="no code"):
        package_of(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "config.json").write_text("{}")
    (tmp_path / "code" / "README.md").touch()
    assert package_of(tmp_path) == {"code/config.json": b"{}"}
    (tmp_path / "code" / "train.py").symlink_to("/etc/passwd")
    with pytest.raises(TaskError, match="plain files"):
        package_of(tmp_path)


def test_a_language_model_is_trained_with_its_own_code(tmp_path):
    (tmp_path / "code").mkdir()
    write_package(tmp_path / "code", TINY)
    package = package_of(tmp_path)
    assert {Path(name).suffix for name in package} == {".py", ".json"}
    cache = cache_in(tmp_path / "cache")
    small = Trial.of(package, {"model": {"d_ff": 32}}, steps=2, seed=3)
    outcome = run(package, small, cache)
    assert outcome == run(package, small, cache)
    assert [point.step for point in outcome.curve] == [1, 2]
    assert outcome.curve[-1].val_loss == outcome.val_loss > 0
    assert (outcome.samples, outcome.units, outcome.unit) == (8, 128, "tokens")
    # Attention of 2 layers, forward and twice backward: q k^T and the sum of v, 4 heads of 8.
    attention = 3 * 2 * (2 * 2 * 16 * 16 * 4 * 8)
    matrices = 2 * (32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 32) + 32 * 256
    assert outcome.parameters == matrices + 5 * 32
    assert outcome.flops == 8 * (attention + 3 * 2 * 16 * matrices)
    assert outcome.memory > 10**7
