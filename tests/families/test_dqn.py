"""The deep Q-network: published counts, its dueling head, and its routes."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.agent_settings import DQN_SIZES
from helpers.family_code import modules_of, published, write_code

from metagen import families
from metagen.errors import SpecError
from metagen.families.dqn import FAMILY as dqn
from metagen.families.trend import rows

SIDES = {"frame_height": 84, "frame_width": 84, "n_frames": 4}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, dqn, DQN_SIZES)) as modules:
        yield modules


def test_published_dimensions_give_published_counts() -> None:
    table = rows(published(dqn))
    assert len(table) >= 6
    for row in table:
        names = ("obs_dim", "n_actions", "n_layers", "dueling")
        dims = {name: int(row[name]) for name in names}
        conv = SIDES if row["d_conv"] else dict.fromkeys(SIDES, 0)
        shape = {"d_conv": int(row["d_conv"] or 0), "d_hidden": int(row["d_model"])}
        assert dqn.count({**dims, **conv, **shape}) == int(row["params_exact"]), row["model"]


def test_the_dueling_head_adds_a_value_to_advantages_of_mean_0(
    code: dict[str, ModuleType],
) -> None:
    model = code["model"].Model(code["model"].Config())
    x = torch.randn(6, 5)
    values = model(x)
    own = model.value(model.layers[1](x)).squeeze(1)
    torch.testing.assert_close(values.mean(1), own)
    apart = model.advantage(model.layers[0](x))
    torch.testing.assert_close(values - values[:, :1], apart - apart[:, :1])
    gradient = torch.autograd.grad(values.sum(), model.advantage.weight)[0]
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_choices_lead_here_and_quantities_are_refused() -> None:
    keys: dict[str, Any] = {
        "modality.inputs": ("image",),
        "modality.outputs": ("action",),
        "task.type": "value_based",
        "task.num_actions": 6,
    }
    assert families.route(keys.get) == "dqn"
    assert dqn.fixed(keys.get)["n_actions"] == 6
    with pytest.raises(SpecError, match="quantities have no choices"):
        dqn.fixed({**keys, "task.action_space": "continuous"}.get)
