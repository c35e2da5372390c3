"""Metrics by the names that harnesses give them: their title, unit and direction.

lm-eval joins a metric and the filter of the answer with a comma, as in `exact_match,strict-match`.
The units decide which values are possible (`metagen.measure.results`): a share is from 0 to 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHARE, PERCENT, POINTS = "share", "percent", "points"


@dataclass(frozen=True)
class Metric:
    """What is known of a metric.

    Attributes:
        title: Its name in words.
        unit: What its values are in; "points" where nothing more is known.
        higher: Whether more is better; None if its name does not say.
    """

    title: str
    unit: str
    higher: bool | None


_KNOWN = {
    "acc": Metric("accuracy", SHARE, True),
    "accuracy": Metric("accuracy", SHARE, True),
    "acc_norm": Metric("accuracy, normalized by length", SHARE, True),
    "em": Metric("exact match", SHARE, True),
    "exact_match": Metric("exact match", SHARE, True),
    "f1": Metric("F1", SHARE, True),
    "mcc": Metric("Matthews correlation", "correlation", True),
    "word_perplexity": Metric("perplexity of a word", "perplexity", False),
    "byte_perplexity": Metric("perplexity of a byte", "perplexity", False),
    "perplexity": Metric("perplexity", "perplexity", False),
    "bits_per_byte": Metric("bits per byte", "bit/byte", False),
    "bleu": Metric("BLEU", PERCENT, True),
    "chrf": Metric("chrF", PERCENT, True),
    "ter": Metric("translation edit rate", POINTS, False),
    "mean": Metric("mean score", POINTS, True),
}
_SHARES = re.compile(r"(^|_)(acc|accuracy|exact_match|em|qem|pqem|f1|pass@\d+|pass_at_\d+)(_|$)")
# lm-eval scores these tasks with the script of SQuAD, whose scores are percent.
_IN_PERCENT = re.compile(r"squad(v2|_completion)?")
_OF_SQUAD = re.compile(r"(HasAns_|NoAns_|best_)?(exact|f1)")


def metric(name: str, task: str = "") -> Metric:
    """Return what is known of a metric, from its name in a harness and its task there."""
    base, _, way = name.partition(",")
    if _IN_PERCENT.fullmatch(task) and _OF_SQUAD.fullmatch(base):
        return Metric(_words(base), PERCENT, True)
    known = _KNOWN.get(base) or _by_pattern(base)
    return (
        known if way in ("", "none") else Metric(f"{known.title} ({way})", known.unit, known.higher)
    )


def _by_pattern(base: str) -> Metric:
    share = _SHARES.search(base)
    return Metric(_words(base), SHARE if share else POINTS, True if share else None)


def _words(name: str) -> str:
    return name.replace("_", " ")
