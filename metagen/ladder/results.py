"""The files of a ladder beside its forecast: ladder.json, ladder.md and the figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from metagen import files
from metagen.docs import drawing
from metagen.ladder import picture, report
from metagen.trained.forecast import RUNS
from metagen.work import Desk

FIGURE, TABLE, TRAININGS = "ladder.svg", "ladder.md", "ladder.json"


class _NoTrace:
    """A desk of a figure that no build depends on."""

    def version(self, name: str) -> str:
        """Return nothing: it is recorded nowhere."""
        return ""


def write(folder: Path, forecast: Mapping[str, Any], fact: Mapping[str, Any] | None = None) -> None:
    """Write them into the folder of a ladder.

    Args:
        folder: The folder.
        forecast: The registered forecast.
        fact: The check of a trained model, None before there is one.
    """
    svg = drawing.saved(cast(Desk, _NoTrace()), picture.picture(forecast, fact), "svg")
    words = picture.alternative(forecast, fact)
    runs = {name: forecast[name] for name in ("model", "rule", "rungs", "runs")}
    for name, data in (
        (FIGURE, picture.with_words(svg, words)),
        (TABLE, "".join(f"{line}\n" for line in _page(forecast, fact, words)).encode()),
        (TRAININGS, files.json_bytes({"kind": RUNS, **runs})),
    ):
        files.write_atomic(folder / name, data, folder)


def _page(forecast: Mapping[str, Any], fact: Mapping[str, Any] | None, words: str) -> Iterator[str]:
    yield f"# A ladder: {forecast['model']['size']:,} {forecast['model']['size_unit']} forecast"
    yield ""
    yield f"Registered {forecast['registered']}, from {len(forecast['runs'])} trainings on "
    yield f"data with the digest {forecast['data']['sha256']}."
    yield ""
    yield f"![{words}]({FIGURE})"
    yield ""
    yield "```text"
    yield from report.lines(forecast)
    if fact:
        yield ""
        yield from report.check_lines(fact)
    yield "```"
