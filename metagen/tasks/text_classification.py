"""Text classification: each text has one of some classes."""

from __future__ import annotations

from metagen.amounts import ITEMS, TEXTS
from metagen.tasks.task import Benchmark, Dims, Lookup, Section
from metagen.tasks.texts import TextTask


class TextClassification(TextTask):
    """From token ids (B, T) to the logits of each text's class."""

    name = "text_classification"
    metrics = ("accuracy", "macro_f1")
    switches = (
        ("no hidden tokens in training", "train.token_drop", 0.0),
        ("one division of a text into tokens", "data.token_split", 0.0),
    )
    # The quick training takes about ten seconds of one thread, the full one some minutes.
    benchmark = Benchmark(
        "language of a text",
        {"quick": 1000, "full": 12_000},
        ("django",),
        sheets=("django_translations",),
    )
    words = {
        "pipeline_tag": "text-classification",
        "unit": "token",
        "loss_unit": "nat/text",
        "usage": '--prompt "Bitte geben Sie ein Datum ein."',
        "does": "prints the likeliest labels of a text",
        "data": "short translated texts, labelled with their language",
        "outcome": "What the proxy takes the language of each held-out text for.",
        "risks": "bias between groups of people, calibration, robustness to spelling, and other "
        "languages",
    }
    units = ("examples", *ITEMS, *TEXTS)
    printed = {"most_labels": 3}
    defaults = {"num_classes": 2}
    default_reasons = {"num_classes": "no task.num_classes is declared; the default is 2"}
    # The bundled texts have 20 languages. 16 tokens in a row are enough to tell one, and a text
    # gives many such runs.
    proxy = {"num_classes": 20, "vocab_size": 8192, "max_seq_len": 16}
    proxy_decay = 0.1  # The bundled texts are few.
    fixed_by = {"num_classes": "task.num_classes"}

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # The training texts are few, and held-out ones have other words: tokens that are split into
        # their parts show that the parts of words tell the language too.
        return {**super().data(m, key, reduced=reduced), "token_split": 0.3 if reduced else 0.0}

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"token_drop": 0.3 if reduced else 0.0}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), "baseline_texts": 200_000}
