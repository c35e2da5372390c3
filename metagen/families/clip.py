"""CLIP: an image tower and a text tower in one space (Radford et al., 2021, arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from metagen.families import axes, parts
from metagen.families.axes import Axis
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value
from metagen.families.parts import HALF, Part
from metagen.families.trend import Row, Trend
from metagen.tasks.image_text_contrast import ImageTextContrast

TOWERS = ("vision", "text")
# Every published text tower, and image towers up to L/14, have heads of 64 dimensions.
HEAD = 64
VOCABULARY = 49_408  # entries, in every published model
PATCHES = (14, 16, 32)  # pixels a side in published models, those of large models first
EXPANSION = 4  # Published text towers have feed-forward layers of 4 times their width.
LEAST_WIDTH = 8  # Narrower towers are not tried, however small the budget.


def of_tower(column: str, place: int) -> Trait:
    """Return a dimension of one tower; a row has the image tower's before the text tower's."""
    name = f"{TOWERS[place]}_{column}"
    return Trait(lambda row: cells(row, column)[place], lambda m: float(m[name]))


def cells(row: Row, column: str) -> list[float]:
    """Return what a column says of both towers, such as `1024 / 768`."""
    return [float(cell) for cell in row[column].split(" / ")]


class CLIP(Family):
    """A Vision Transformer and a causal text Transformer, a projection of each, a temperature."""

    name = "clip"
    kind = "CLIP model of images and texts"
    task = ImageTextContrast()
    arithmetic = "images"
    components = (
        "vision_transformer vit image_encoder vision_encoder text_encoder transformer_encoder "
        "text_transformer projection projection_head"
    )
    traits = {
        "vision_d_model": of_tower("d_model", 0),
        "vision_n_layers": of_tower("n_layers", 0),
        "text_d_model": of_tower("d_model", 1),
        "text_n_layers": of_tower("n_layers", 1),
        "expansion": Trait(
            lambda row: cells(row, "ffn")[0] / cells(row, "d_model")[0],
            lambda m: m["vision_d_ff"] / m["vision_d_model"],
            level=True,
        ),
    }
    rules = (
        axes.divides("patch_size", "image_size", "an image is cut into whole patches"),
        *(
            axes.divides(f"{name}_n_heads", f"{name}_d_model", "the heads share the width evenly")
            for name in TOWERS
        ),
    )
    fixed_by = {"patch_size": "constraints.patch_size"}
    constants = {"norm_eps": (1e-5, "the value of CLIP")}
    proxy_dims = {
        "embed_dim": 64,
        "patch_size": 8,
        "vision_d_model": 96,
        "vision_n_layers": 3,
        "vision_n_heads": 3,
        "vision_d_ff": 384,
        "text_d_model": 64,
        "text_n_layers": 2,
        "text_n_heads": 2,
        "text_d_ff": 256,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return both towers, from embeddings to projection, and the temperature."""
        width, words, space = m["vision_d_model"], m["text_d_model"], m["embed_dim"]
        pixels, n, length = m["in_channels"] * m["patch_size"] ** 2, patches(m), m["max_seq_len"]
        return [
            *image_ends(pixels, n, width, space),
            blocks(width, m["vision_d_ff"], n + 1, m["vision_n_layers"]),
            *text_ends(m["vocab_size"], length, words, space),
            blocks(words, m["text_d_ff"], length, m["text_n_layers"]),
            Part(others=1),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block of each tower.

        Each position holds the block's input, the stream, its normalized copy, and the wider of
        attention (queries, keys, values, result) and the feed-forward layer (its inner values,
        these scaled, and their gate).
        """
        peaks = []
        for name, words in zip(TOWERS, ("image", "text"), strict=True):
            width, inner = int(m[f"{name}_d_model"]), int(m[f"{name}_d_ff"])
            numbers = positions(m, name) * (3 * width + max(4 * width, 3 * inner))
            peaks.append(Peak(numbers, f"a block of the {words} tower ({HALF * numbers:,} bytes)"))
        return peaks

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes of all weights but those rows of the token table that a text lacks."""
        unread = max(0, m["vocab_size"] - m["max_seq_len"]) * m["text_d_model"]
        return float(HALF * (self.count(m) - unread))

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, other_depth = (depths(trend, name, budget) for name in TOWERS)
        # What follows from a width comes right after it, before depths multiply the candidates.
        return (
            *self.usual(),
            Axis("patch_size", lambda m: (patch_size(m),)),
            Axis("vision_d_model", lambda m: self._widths(m, "vision", need, trend), grid=True),
            Axis("vision_n_heads", lambda m: (heads(m, "vision"),)),
            Axis("vision_n_layers", lambda m: depth, grid=True),
            Axis("text_d_model", lambda m: self._widths(m, "text", need, trend), grid=True),
            Axis("text_n_heads", lambda m: (heads(m, "text"),)),
            Axis("text_d_ff", lambda m: (EXPANSION * m["text_d_model"],)),
            Axis("embed_dim", lambda m: (m["text_d_model"],)),
            Axis("vocab_size", lambda m: (entries(m["text_d_model"], budget),)),
            Axis("text_n_layers", lambda m: other_depth, grid=True),
            Axis("vision_d_ff", lambda m: (self._inner(m, budget),), fills=True),
        )

    def _widths(self, m: Dims, name: str, need: Need, trend: Trend) -> range:
        """Return widths of whole heads, or parts of a head, around the trend or below it."""
        width, budget = f"{name}_d_model", need.budget
        centre = trend.lines[width].at(budget)
        step = min(2 * HEAD, max(LEAST_WIDTH, axes.floor_power(centre) // 4))

        def design(value: int) -> Dims:
            return self._least({**m, width: value}, need, trend)

        return self.within(budget, axes.near(centre, step), design, LEAST_WIDTH)

    def _least(self, m: Dims, need: Need, trend: Trend) -> Dims:
        """Return the smallest design that begins with some dimensions."""
        shallow = {f"{name}_n_layers": depths(trend, name, need.budget)[0] for name in TOWERS}
        begun = {"text_d_model": LEAST_WIDTH, **shallow, **need.pins, **m}
        words = begun["text_d_model"]
        return {
            "text_d_ff": EXPANSION * words,
            "embed_dim": words,
            "vocab_size": entries(words, need.budget),
            "vision_d_ff": inner_step(begun),
            **begun,
        }

    def _inner(self, m: Dims, budget: int) -> int:
        return self.fill(m, "vision_d_ff", inner_step(m), budget)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        width, size, words = m["vision_d_model"], self.count(m), int(m["text_d_model"])
        held = m["vocab_size"] * words / size
        table = axes.table_reason(int(m["vocab_size"]), VOCABULARY, words, need.budget)
        given = {
            "embed_dim": "the width of the text tower",
            "patch_size": "as in large published models",
            **super().reasons(m, need, trend),
        }
        return {
            **given,
            "patch_size": f"{given['patch_size']}; an image has {patches(m):,} patches",
            **{f"{name}_n_heads": head_reason(m, name) for name in TOWERS},
            "vision_d_ff": f"the largest multiple of {inner_step(m)} within the parameter count; "
            f"{m['vision_d_ff'] / width:.2f} times the width, against "
            f"{trend.lines['expansion'].at(size):.2f} by the trend",
            "text_d_ff": f"{EXPANSION} times the width, as in every published model",
            "vocab_size": f"{table}; the table holds {held:.1%} of the parameters",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        finer = m["image_size"] // (2 * (m["image_size"] // m["patch_size"]))
        return (
            ("patches of half the side", "patch_size", max(1, finer)),
            ("half the depth of the image tower", "vision_n_layers", m["vision_n_layers"] // 2),
            ("half the depth of the text tower", "text_n_layers", m["text_n_layers"] // 2),
            ("a common space of half the dimensions", "embed_dim", m["embed_dim"] // 2),
        )

    def figures(self, m: Dims) -> Figures:
        """Return the parameters of the towers' blocks, and the patches of an image."""
        image, text = (part for part in self.parts(m) if part.pairs)
        return {
            "patches": (patches(m), "patches"),
            "image_blocks": (parts.count([image]), "parameters"),
            "text_blocks": (parts.count([text]), "parameters"),
        }


# A search pairs each tower with many of the other, so the parts of one are built once.
@lru_cache(maxsize=2**12)
def image_ends(pixels: Value, patches: int, width: Value, space: Value) -> tuple[Part, ...]:
    """Return what lies before and after the blocks of the image tower.

    An image has a class token beside its patches, and one more norm before the first block.
    """
    return (
        parts.linear(pixels, width, patches, bias=False),
        parts.table(1 + patches + 1, width),
        parts.norm(width),
        parts.norm(width),
        parts.linear(width, space, bias=False),
    )


@lru_cache(maxsize=2**12)
def text_ends(entries: Value, length: Value, width: Value, space: Value) -> tuple[Part, ...]:
    """Return what lies before and after the blocks of the text tower."""
    return (
        parts.table(entries + length, width),
        parts.norm(width),
        parts.linear(width, space, bias=False),
    )


@lru_cache(maxsize=2**12)
def blocks(width: Value, inner: Value, places: Value, layers: Value) -> Part:
    """Return the blocks of a tower."""
    return parts.encoder_block(width, inner, places) * layers


def patches(m: Dims) -> int:
    """Return the patches of an image: (image_size / patch_size)^2."""
    return int((m["image_size"] // m["patch_size"]) ** 2)


def positions(m: Dims, name: str) -> int:
    """Return the positions of a tower: patches and a class token, or the tokens of a text."""
    return patches(m) + 1 if name == "vision" else int(m["max_seq_len"])


def inner_step(m: Dims) -> int:
    """Return what `vision_d_ff` is a multiple of."""
    return axes.granule(m["vision_d_model"] / 2)


def entries(width: Value, budget: int) -> int:
    """Return the tokens of a table of this width that has room in a budget."""
    return axes.table_entries(VOCABULARY, int(width), budget)


def depths(trend: Trend, name: str, budget: int) -> range:
    """Return numbers of blocks around the trend of a tower."""
    centre = trend.lines[f"{name}_n_layers"].at(budget)
    return axes.near(centre, max(2, axes.floor_power(centre) // 16))


def heads(m: Dims, name: str) -> int:
    """Return the most heads that cut a tower's width into parts of 64 or more, or 1."""
    width = int(m[f"{name}_d_model"])
    return next((n for n in range(width // HEAD, 0, -1) if width % n == 0), 1)


def head_reason(m: Dims, name: str) -> str:
    """Return the size of a tower's heads, beside that of published models where it differs."""
    size = m[f"{name}_d_model"] / m[f"{name}_n_heads"]
    other = "" if size == HEAD else f"; published ones have {HEAD}"
    return f"heads of {size:g} dimensions{other}"


def patch_size(m: Dims) -> int:
    """Return the first published patch that divides the image, or its largest divisor below."""
    side = int(m["image_size"])
    published = (patch for patch in PATCHES if side % patch == 0)
    return next(published, next(n for n in range(PATCHES[0], 0, -1) if side % n == 0))


FAMILY = CLIP()
