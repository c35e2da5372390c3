"""Loss against operations: the rungs, the band of the fit, and the forecast of the full model."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from metagen.docs.drawing import BLUE, GREEN, GREY, ORANGE, WIDE, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture(forecast: Mapping[str, Any], fact: Mapping[str, Any] | None = None) -> Picture:
    """Return the picture of a registered forecast, with the measured loss where there is one."""
    return Picture(lambda figure: _draw(figure, forecast, fact), 2.8, WIDE)


def _draw(figure: Figure, forecast: Mapping[str, Any], fact: Mapping[str, Any] | None) -> None:
    axes, curve = figure.add_subplot(), forecast["curve"]
    x = [point["compute"] for point in curve]
    low, high = ([point[name] for point in curve] for name in ("low", "high"))
    share = f"{forecast['forecast']['level']:.0%}"
    axes.fill_between(x, low, high, color=BLUE, alpha=0.18, lw=0, label=f"{share} of forecasts")
    axes.plot(x, [point["loss"] for point in curve], color=BLUE)
    rungs = [(rung["compute"], loss) for rung in forecast["rungs"] for loss in rung["losses"]]
    axes.plot(*zip(*rungs, strict=True), "o", color=GREY, ms=3.5, label="trainings of rungs")
    at, said = forecast["model"]["compute"], forecast["forecast"]
    sides = [[said["loss"] - said["low"]], [said["high"] - said["loss"]]]
    axes.errorbar([at], [said["loss"]], yerr=sides, fmt="D", color=ORANGE, ms=4.5, capsize=3,
                  label="forecast of the full model")  # fmt: skip
    if fact:
        axes.plot([at], [fact["measured"]], "*", color=GREEN, ms=9, label="its measured loss")
    axes.set(xscale="log", yscale="log", xlabel="operations of a training (FLOP)")
    axes.set_ylabel(f"validation loss ({forecast['metric']['unit']})")
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.yaxis.set_minor_formatter("{x:.3g}")
    axes.legend()


def alternative(forecast: Mapping[str, Any], fact: Mapping[str, Any] | None = None) -> str:
    """Return what the picture shows, in words."""
    said, rungs = forecast["forecast"], forecast["rungs"]
    text = (
        f"Validation loss of {len(rungs)} rungs against their operations, from "
        f"{rungs[0]['loss']:.4g} down to {rungs[-1]['loss']:.4g} {forecast['metric']['unit']}; the "
        f"fit goes on to the full model, whose forecast is {said['loss']:.4g}, between "
        f"{said['low']:.4g} and {said['high']:.4g}."
    )
    return f"{text} It measured {fact['measured']:.4g}." if fact else text


def with_words(svg: bytes, words: str) -> bytes:
    """Return an SVG whose first element is its alternative text."""
    head, _, rest = svg.decode().partition("<svg ")
    tag, _, inner = rest.partition(">")
    title = f'<svg role="img" {tag}>\n <title>{escape(words)}</title>'
    return f"{head}{title}{inner}".encode()
