"""A trial trains the code of a package once; what it showed comes from the cache from then on."""

import socket
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.building import fake_measurements
from helpers.generated import TINY, write_package
from helpers.quick_code import quick_code
from helpers.studies import plan_of

from metagen import paths
from metagen.cli import main
from metagen.errors import TaskError, UsageError
from metagen.measure import sandbox
from metagen.trials import Point, Trial, cache_in, counted, package_of, run


@pytest.fixture
def starts(tmp_path):
    (tmp_path / "starts").touch()
    return lambda: len((tmp_path / "starts").read_text().split())


@pytest.fixture
def package(tmp_path):
    train = {"batch_size": 4, "learning_rate": 0.002}
    config = {"model": {"width": 200}, "data": {}, "train": train, "infer": {"top": 1}}
    return quick_code(config, tmp_path / "starts")


def trial(package, steps=16, seed=1, **train):
    return Trial.of(package, {"train": train}, steps=steps, seed=seed)


def test_an_outcome_has_the_losses_the_counts_and_what_was_read(package, starts, tmp_path):
    seen = run(package, trial(package), cache_in(tmp_path / "cache"))
    best = 1 + 0.01 * ((7919 + 200) % 13) / 13
    curve = tuple(Point(step, best * (1 + 1 / step)) for step in range(2, 17, 2))
    assert (seen.val_loss, seen.curve) == (curve[-1].val_loss, curve)
    assert seen.metrics == {"step": 16, "train_loss": 1, "val_loss": seen.val_loss}
    assert (seen.parameters, seen.flops, seen.samples) == (3, 10 * 16 * 4, 16 * 4)
    assert (seen.units, seen.unit, seen.memory) == (5, "rows", 9)
    assert seen.data == {"name": "rows", "sha256": "0" * 64, "splits": {"train": 7}}
    assert 0 <= seen.seconds < 60


def test_the_same_trial_is_trained_once_and_its_curve_is_replayed(package, starts, tmp_path):
    cache, watched = cache_in(tmp_path / "cache"), [[], []]
    first = run(package, trial(package), cache, lambda *each: watched[0].append(each))
    second = run(package, trial(package), cache, lambda *each: watched[1].append(each))
    assert (first, starts()) == (second, 1)
    assert watched[0] == watched[1]
    assert watched[0][0] == (2, 16, 1.508)


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
    run({**package, "code/data.py": b"class Config:\n    pass\n"}, trial(package), cache)
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
    failing = package["code/train.py"].replace(b"    main()", b"    sys.exit('no such column')")
    broken = {**package, "code/train.py": failing}
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


@contextmanager
def dead_server():
    """Yield the URL of a server at which nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}/"


def test_a_dead_server_costs_trainings_and_is_one_warning(package, starts):
    told = []
    with dead_server() as url:
        cache = cache_in(url, lambda problems: told.extend(map(str, problems)))
        outcomes = [run(package, trial(package), cache) for _ in range(2)]
    assert outcomes[0].curve == outcomes[1].curve
    assert (starts(), len(told)) == (2, 1)
    assert "secret" not in told[0]


def counted_by_hand(arguments, given, wanted, **how):
    if counted.COUNTS in wanted:
        return {counted.COUNTS: b'{"parameters": 9000, "flops": 900000}'}
    return fake_measurements(arguments, given, wanted, **how)


def warned_once(*words):
    with dead_server() as url:
        told = CliRunner().invoke(main, [*words, "--cache", url], catch_exceptions=False)
    assert told.stderr.count("warning:") == 1, told.stderr
    assert "127.0.0.1" in told.stderr
    assert "secret" not in told.output


def test_a_worker_prints_one_warning_of_a_dead_server(tmp_path):
    plan_of(tmp_path, count=2).save()
    warned_once("search", "join", str(tmp_path))


def test_a_ladder_prints_one_warning_of_a_dead_server(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "run", counted_by_hand)
    tiny = paths.specs() / "text" / "text_llm_tiny.yaml"
    warned_once("ladder", str(tiny), "--out", str(tmp_path), "--dry-run")


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
