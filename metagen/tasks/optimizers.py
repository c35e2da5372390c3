"""The optimizers of train.py, and how a task's habits change under each of them.

A task's habits are those of AdamW, with which most models of 2020 and later were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metagen.tasks.schedule import Habits

ADAMW = "adamw"


@dataclass(frozen=True)
class Optimizer:
    """An optimizer that train.py has, with what its authors published.

    Attributes:
        source: The publication.
        rate: Peak learning rate; None for the task's own, which is AdamW's.
        decay: Weight decay; None for the task's own.
        beta1: Share of the mean gradient that an update keeps.
        beta2: Share of the mean squared gradient that an update keeps; None for the task's own.
        why: Reasons of `learning_rate` and `weight_decay`.
    """

    source: str
    rate: float | None = None
    decay: float | None = None
    beta1: float = 0.9
    beta2: float | None = None
    why: Mapping[str, str] = field(default_factory=dict)


_NO_DECAY = {"weight_decay": "none, as its authors"}
OPTIMIZERS: Mapping[str, Optimizer] = {
    ADAMW: Optimizer("Loshchilov & Hutter, 2019, arXiv:1711.05101"),
    "adam": Optimizer("Kingma & Ba, 2015, arXiv:1412.6980", decay=0.0, beta2=0.999, why=_NO_DECAY),
    "sgd": Optimizer(
        "with momentum 0.9, as ResNet, arXiv:1512.03385, section 3.4",
        rate=0.01,
        decay=1e-4,
        beta2=0.0,
        why={
            "learning_rate": "assumed: no rate of SGD is published for this task",
            "weight_decay": "as ResNet, arXiv:1512.03385, section 3.4",
        },
    ),
    "rmsprop": Optimizer(
        "Tieleman & Hinton, 2012, lecture 6.5 of Neural Networks for Machine Learning",
        decay=0.0,
        beta1=0.0,
        beta2=0.9,
        why={
            "learning_rate": "that of AdamW, whose updates are also divided by the root mean "
            "square of the gradient",
            **_NO_DECAY,
        },
    ),
    "adafactor": Optimizer(
        "Shazeer & Stern, 2018, arXiv:1804.04235",
        rate=0.01,
        decay=0.0,
        beta1=0.0,
        beta2=0.0,
        why={"learning_rate": "the largest relative step of arXiv:1804.04235", **_NO_DECAY},
    ),
    "muon": Optimizer(
        "Jordan et al., 2024, https://kellerjordan.github.io/posts/muon; for matrices of the "
        "repeated blocks, with AdamW for embeddings, head, kernels, gains and biases",
        why=dict.fromkeys(
            ("learning_rate", "weight_decay"),
            "that of AdamW, to which arXiv:2502.16982, section 2.2, scales Muon's updates",
        ),
    ),
}


def under(habits: Habits, name: str) -> Habits:
    """Return the habits of a task under an optimizer; those of AdamW are the task's own."""
    if name == ADAMW:
        return habits
    own = OPTIMIZERS[name]
    rate, why = own.rate, {**habits.why, **own.why}
    if name == "sgd" and habits.sgd is not None:
        rate, why["learning_rate"] = habits.sgd
    return replace(
        habits,
        optimizer=name,
        rate=habits.rate if rate is None else rate,
        decay=habits.decay if own.decay is None else own.decay,
        beta1=own.beta1,
        beta2=habits.beta2 if own.beta2 is None else own.beta2,
        why=why,
    )
