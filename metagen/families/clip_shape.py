"""The shape of CLIP's two towers: the trend of published ones, the space to search, the reasons."""

from __future__ import annotations

from metagen.families import vocabulary
from metagen.families.clip_load import TOWERS, count, patches, tower
from metagen.families.family import Axis, Dims, Need
from metagen.families.grid import down_to_fit, floor_power, granule, near
from metagen.families.trend import Row, Trend, rows
from metagen.families.trend import fit as fit_line

HEAD = 64  # dimensions of a head, in every published text tower and in the image towers up to L/14
CHANNELS = 3  # colours
SIDE = 224  # pixels; of every published row
VOCABULARY, LENGTH = 49_408, 77  # of CLIP and of every published row
LEAST_WIDTH = 8
NORM_EPS = 1e-5
PATCHES = (14, 16, 32)  # sides in the published rows, the most usual of large models first
EXPANSION = 4  # of the text tower's feed-forward layers, in every published row
SHAPE = ("vision_d_model", "vision_n_layers", "text_d_model", "text_n_layers")
COLUMNS = {"d_model": "d_model", "n_layers": "n_layers"}


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the published trend on the contrastive rows of the family's rows.

    Their columns hold the image tower's value and the text tower's, as `1024 / 768`. Each
    dimension is fitted against the parameters of both towers together.
    """
    table = rows(published)
    lines = {
        f"{name}_{dim}": fit_line(
            [(_size(row), _values(row, column)[place]) for row in table], parameters
        )
        for place, name in enumerate(TOWERS)
        for dim, column in COLUMNS.items()
    }
    ratios = [(_size(r), _values(r, "ffn")[0] / _values(r, "d_model")[0]) for r in table]
    lines["expansion"] = fit_line(ratios, parameters, level=True)
    return Trend(lines, {})


def _size(row: Row) -> float:
    return float(row["params_exact"])


def _values(row: Row, column: str) -> list[float]:
    return [float(part) for part in row[column].split(" / ")]


def expansion(m: Dims) -> float:
    """Return the image tower's feed-forward width as a multiple of its width."""
    return float(m["vision_d_ff"] / m["vision_d_model"])


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    size, lines = count(m), trend.lines
    shape = sum(lines[name].distance(size, m[name]) for name in SHAPE)
    return shape + lines["expansion"].distance(size, expansion(m))


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space; widths and depths stay within reach of the trend."""
    usual = {name: trend.lines[name].at(need.budget) for name in SHAPE}
    return (
        Axis("in_channels", lambda m: (CHANNELS,)),
        Axis("image_size", lambda m: (SIDE,)),
        Axis("patch_size", lambda m: (_patch(m),)),
        Axis("max_seq_len", lambda m: (LENGTH,)),
        Axis("vision_d_model", lambda m: _widths(m, "vision", usual, need), grid=True),
        Axis("vision_n_layers", lambda m: _depths(usual["vision_n_layers"]), grid=True),
        Axis("vision_n_heads", lambda m: (_heads(m, "vision"),)),
        Axis("text_d_model", lambda m: _widths(m, "text", usual, need), grid=True),
        Axis("vocab_size", lambda m: (vocabulary.entries(*_table(m, need)),)),
        Axis("text_n_layers", lambda m: _depths(usual["text_n_layers"]), grid=True),
        Axis("text_n_heads", lambda m: (_heads(m, "text"),)),
        Axis("text_d_ff", lambda m: (EXPANSION * int(m["text_d_model"]),)),
        Axis("embed_dim", lambda m: (int(m["text_d_model"]),)),
        Axis("vision_d_ff", lambda m: (_feed_forward(m, need.budget),), fills=True),
        Axis("norm_eps", lambda m: (NORM_EPS,)),
    )


def _widths(m: Dims, name: str, usual: Dims, need: Need) -> range:
    """Return widths around the trend, of heads or of a part of one; where none fits, below it."""
    width = f"{name}_d_model"

    def fits(value: int) -> bool:
        return count(_least({**m, width: value}, usual, need)) <= need.budget

    step = min(2 * HEAD, max(LEAST_WIDTH, floor_power(usual[width]) // 4))
    return down_to_fit(near(usual[width], step), fits, LEAST_WIDTH)


def _least(m: Dims, usual: Dims, need: Need) -> Dims:
    """Return the design with the fewest parameters among those that begin with some dimensions."""
    depths = {f"{name}_n_layers": _depths(usual[f"{name}_n_layers"])[0] for name in TOWERS}
    begun = {"text_d_model": LEAST_WIDTH, **depths, **need.pins, **m}
    text = {"text_d_ff": EXPANSION * begun["text_d_model"], "embed_dim": begun["text_d_model"]}
    vocabulary_size = vocabulary.entries(*_table(begun, need))
    step = granule(begun["vision_d_model"] / 2)
    return {**text, "vocab_size": vocabulary_size, "vision_d_ff": step, **begun}


def _heads(m: Dims, name: str) -> int:
    """Return the most heads that cut a tower's width in parts as wide as published ones, or one."""
    width = int(m[f"{name}_d_model"])
    return next((n for n in range(width // HEAD, 0, -1) if width % n == 0), 1)


def _table(m: Dims, need: Need) -> tuple[int, int, int]:
    """Return CLIP's vocabulary, the width of a token and the parameters to fill."""
    return VOCABULARY, int(m["text_d_model"]), need.budget


def _depths(usual: float) -> range:
    return near(usual, max(2, floor_power(usual) // 16))


def _patch(m: Dims) -> int:
    """Return the first published patch that divides the image, or its largest divisor below."""
    side = int(m["image_size"])
    published = (patch for patch in PATCHES if side % patch == 0)
    return next(published, next(n for n in range(PATCHES[0], 0, -1) if side % n == 0))


def _feed_forward(m: Dims, parameters: int) -> int:
    """Return the largest even multiple that keeps the count within the budget."""
    width, step = int(m["vision_d_model"]), granule(m["vision_d_model"] / 2)
    left = parameters - count({**m, "vision_d_ff": 0})
    each = int(m["vision_n_layers"]) * (2 * width + 1)
    return max(step, left // each // step * step)


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    size = count(m)
    image = tower(m, "vision")
    usual = trend.lines["expansion"].at(size)
    given = "constraints.image_size" if "image_size" in need.fixed else "of published models"
    patch = "constraints.patch_size" if "patch_size" in need.fixed else "of large published models"
    space = "task.embedding_dim" if "embed_dim" in need.fixed else "the width of the text tower"
    return {
        **{name: trend.lines[name].said(size) for name in SHAPE},
        "in_channels": "colours: red, green and blue",
        "image_size": given,
        "patch_size": f"{patch}; an image is {patches(m):,} patches",
        **{f"{name}_n_heads": _head_reason(m, name) for name in TOWERS},
        "vision_d_ff": f"the largest multiple of {granule(image.width / 2)} within the parameter "
        f"count; {expansion(m):.2f} times the width, against {usual:.2f} by the trend",
        "text_d_ff": f"{EXPANSION} times the width, as in every published model",
        "embed_dim": space,
        "vocab_size": _vocabulary_reason(m, need),
        "max_seq_len": "of CLIP and every published model of its kind",
        "norm_eps": "the value of CLIP",
    }


def _head_reason(m: Dims, name: str) -> str:
    size = m[f"{name}_d_model"] / m[f"{name}_n_heads"]
    said = f"heads of {size:g} dimensions"
    return said if size == HEAD else f"{said}; published ones have {HEAD}"


def _vocabulary_reason(m: Dims, need: Need) -> str:
    share = m["vocab_size"] * m["text_d_model"] / count(m)
    why = vocabulary.reason(int(m["vocab_size"]), *_table(m, need))
    return f"{why}; the table holds {share:.1%} of the parameters"
