"""The decoding benchmark compares what computes the same, and prints a table."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def decoding() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("decoding", ROOT / "benchmarks" / "decoding.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    threads = torch.get_num_threads()
    spec.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)
    sys.modules.pop("generated_model", None)


@torch.no_grad()
def test_contenders_of_one_model_give_the_same_logits(decoding: ModuleType) -> None:
    ours, theirs, cached, whole = decoding.contenders(decoding.SHAPES["proxy"], 12).values()
    parts = torch.randint(256, (1, 12)).split([9, 1, 1, 1], dim=1)
    for one, other in ((ours(), theirs()), (cached(), whole())):
        for part in parts:
            torch.testing.assert_close(one(part)[:, -1], other(part)[:, -1], atol=1e-4, rtol=0)


def test_the_table_has_a_row_for_each_contender(
    decoding: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"--shape": "proxy", "--prompt": "4", "--rounds": "1", "--tokens": "2"}
    monkeypatch.setattr(sys, "argv", ["decoding.py", *itertools.chain(*options.items())])
    decoding.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| proxy")]
    assert len(rows) == 4
    assert all(row.rstrip("| ").endswith("x") for row in rows[1:])
