"""Sentence embedding: the vectors of the two texts of a pair are near each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.task import Benchmark, Dims, Lookup, Section
from metagen.tasks.texts import PASS_TOKENS, TextTask


class SentenceEmbedding(TextTask):
    """From token ids (B, T) to the vector of each text."""

    name = "sentence_embedding"
    compares_within_a_batch = True
    metrics = ("recall_at_1", "mrr")
    switches = (("no hidden tokens in training", "train.token_drop", 0.0),)
    # The quick training takes about ten seconds of one thread, the full one some minutes.
    benchmark = Benchmark(
        "retrieval of a translation",
        {"quick": 300, "full": 3000},
        ("django",),
        sheets=("django_translation_pairs",),
    )
    words = {
        "pipeline_tag": "sentence-similarity",
        "unit": "token",
        "loss_unit": "nat/pair",
        "usage": '--prompt "Bitte geben Sie ein Datum ein."',
        "does": "prints the training texts nearest to a text",
        "data": "pairs of short texts that are translations of one message",
        "outcome": "How often the translation of a held-out text is among those nearest to it.",
        "risks": "bias between groups of people and between languages, and texts longer than the "
        "benchmark's",
    }
    units = ("pairs", *ITEMS)
    texts_per_sample = 2
    printed = {"nearest": 5}
    demonstration = words["usage"]
    proxy = {"vocab_size": 4096, "max_seq_len": 64}

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # The temperature is SimCSE's (arXiv:2104.08821).
        return {"token_drop": 0.1 if reduced else 0.0, "temperature": 0.05}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), "baseline_texts": 5000}

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        """Return also what accumulation costs: a pair meets the other pairs of its part only."""
        reasons = super().more_reasons(full, key)
        batch, cut = (full["train"][name] for name in ("batch_size", "grad_accum"))
        limit = f"at most {PASS_TOKENS:,} tokens pass through the model at once"
        why = f"{limit}; a pair is compared with the {batch // cut:,} of its part"
        return reasons | ({"train.grad_accum": why} if cut > 1 else {})
