"""The folder of a training run, bound to a package: read by content, linked, never followed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers.toy import RUNS, Out
from helpers.trained_run import WEIGHTS, write_run

from metagen.work import Desk, Large, Output, Recipe


def state(desk: Desk) -> dict[str, bytes]:
    RUNS.append("state")
    try:
        return {"trained/state.json": desk.trained("checkpoint/state.json")}
    except LookupError:
        return {"trained/state.json": b"not trained"}


def weights(desk: Desk) -> Mapping[str, Output]:
    RUNS.append("weights")
    return {"release/w": Large(desk.trained_place(WEIGHTS), desk.trained_digest(WEIGHTS))}


STATE = Recipe("t:state", state, (), ("trained/state.json",), "")
LINKED = Recipe("t:weights", weights, (), ("release/w",), "")
BOTH = (STATE, LINKED)


@pytest.fixture
def out(tmp_path: Path) -> Out:
    return Out(tmp_path / "out", trained=write_run(tmp_path / "full_run"))


def test_a_checkpoint_is_linked_and_a_second_build_does_nothing(out: Out) -> None:
    assert out.build(BOTH)[0] == ["state", "weights"]
    assert out.trained
    assert (out.run / "release/w").samefile(out.trained / WEIGHTS)
    assert out.build(BOTH)[0] == []


def test_a_new_checkpoint_rebuilds_what_read_it_and_leaves_the_old_link(out: Out) -> None:
    out.build(BOTH)
    old = (out.run / "release/w").read_bytes()
    kept = (out.run / "release/w").open("rb")
    assert out.trained
    write_run(out.trained, steps=400)
    assert (out.run / "release/w").read_bytes() == old
    assert out.build(BOTH)[0] == ["state", "weights"]
    assert kept.read() == old
    assert (out.run / "release/w").read_bytes() == (out.trained / WEIGHTS).read_bytes()


def test_without_a_binding_everything_says_so(out: Out) -> None:
    out.trained = None
    assert out.build((STATE,))[0] == ["state"]
    assert out.tree() == {"trained/state.json": b"not trained"}
