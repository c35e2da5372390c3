"""The trained model of a package, from the training folder that is bound to it.

Every file of it exists in every package; without a training run it says that there is none.
"""

from metagen import files
from metagen.measure.results import CURVE
from metagen.work import Desk, Recipe

MODEL, TRAINED_CURVE = "trained/model.json", "trained/curve.csv"
TRAINED_RESULTS, PLAN = "trained/results.json", "trained/plan.json"
SAMPLES, BENCH = "trained/samples.json", "trained/bench.json"


def model(desk: Desk) -> dict[str, bytes]:
    """Return what is known of the trained model."""
    head, _, _ = desk.read(CURVE).partition(b"\n")
    return {
        MODEL: files.json_bytes({"status": "not trained"}),
        TRAINED_CURVE: head + b"\n",
        TRAINED_RESULTS: files.json_bytes([]),
    }


def plan(desk: Desk) -> dict[str, bytes]:
    """Return the plan beside what was done, samples of output, and measured speed."""
    return {
        PLAN: files.json_bytes([]),
        SAMPLES: files.json_bytes([]),
        BENCH: files.json_bytes({}),
    }


RECIPES = (
    Recipe(
        "trained:model",
        model,
        (CURVE,),
        (MODEL, TRAINED_CURVE, TRAINED_RESULTS),
        "check the checkpoint, the log and the results of the training run",
    ),
    Recipe("trained:plan", plan, (), (PLAN, SAMPLES, BENCH), "compare the training with its plan"),
)
