"""Outlines of the letters of a font, in the operators of PDF."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fontTools.pens.basePen import BasePen
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

SIZE = 1000  # units of an outline in the size of the font

_Point = tuple[float, float]


@dataclass
class Operators(BasePen):  # type: ignore[misc]
    """Draws an outline as operators of PDF; `BasePen` turns all curves into cubic ones."""

    glyphs: Any
    drawn: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.glyphs)

    def _moveTo(self, to: _Point) -> None:
        self._add("m", to)

    def _lineTo(self, to: _Point) -> None:
        self._add("l", to)

    def _curveToOne(self, first: _Point, second: _Point, to: _Point) -> None:
        self._add("c", first, second, to)

    def _closePath(self) -> None:
        self._add("h")

    def _add(self, operator: str, *points: _Point) -> None:
        self.drawn += [str(round(each)) for point in points for each in point] + [operator]


@dataclass(frozen=True)
class Outline:
    """A letter: its width, the box of its ink (left, bottom, right, top), and its operators."""

    width: int
    box: tuple[int, ...]
    operators: str


def outline(font: TTFont, char: str) -> Outline:
    """Return the outline of a letter that the font has."""
    glyphs, scale = font.getGlyphSet(), SIZE / font["head"].unitsPerEm
    glyph = glyphs[font.getBestCmap()[ord(char)]]
    drawn, bounds = Operators(glyphs), BoundsPen(glyphs)
    for pen in (drawn, bounds):
        glyph.draw(TransformPen(pen, (scale, 0, 0, scale, 0, 0)))
    box = tuple(round(each) for each in bounds.bounds or (0, 0, 0, 0))
    return Outline(round(glyph.width * scale), box, " ".join(drawn.drawn))
