"""The shape of a deep autoencoder: closed forms, the trend of published ones, the space, reasons.

Symbols: w_0 = window * n_channels numbers of a window, w_1 = d_hidden and each next half of it, and
w_n = d_latent, the widths from the input to the code.
"""

from __future__ import annotations

import bisect
from itertools import pairwise

from metagen.families.family import Axis, Dims, Load, Need, Value, Work
from metagen.families.grid import near
from metagen.families.trend import Trend, rows
from metagen.families.trend import fit as fit_line

HALF = 2  # bytes of a bf16 number
WINDOW = 64  # steps, for a spec without task.lookback
FILL = 0.01  # of the budget, that even halves may leave
LEAST_CODE = 1 / 32  # of the first layer, for which room is kept
CHANNELS = 16  # room for them, where nobody pins them


def widths(m: Dims) -> list[int]:
    """Return the widths from the input to the code."""
    hidden = [int(m["d_hidden"]) // 2**layer for layer in range(int(m["n_layers"]))]
    return [int(m["window"] * m["n_channels"]), *hidden, int(m["d_latent"])]


def weights(m: Dims) -> int:
    """Return the weights of both halves: 2 (w_0 w_1 + w_1 w_2 + ...)."""
    return 2 * sum(a * b for a, b in pairwise(widths(m)))


def count(m: Dims) -> int:
    """Return the weights and their biases, w_0 + w_n + 2 (w_1 + ...), the exact count."""
    first, *hidden, code = widths(m)
    return weights(m) + first + 2 * sum(hidden) + code


def _held(m: Dims) -> int:
    """Return the numbers of a window's input and output, and of the two widest layers between."""
    first, second, *_ = widths(m)
    return 2 * first + 2 * second


def load(m: Dims) -> Load:
    """Return what one window takes."""
    held = HALF * count(m)
    first = Work(2.0 * weights(m), float(held))
    return Load(held, cache=0, activations=HALF * _held(m), first=first)


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    first, second, *_ = widths(m)
    return {
        "weights": f"{parameters:,} at {8 * HALF} bits",
        "cache": "none: nothing is kept from one window to the next",
        "activations": f"one window in bf16, 2 x {first:,} numbers, and 2 x {second:,} of a layer",
    }


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the documents say of the layers."""
    first, *rest = widths(m)
    return {
        "inputs": (first, "numbers"),
        "widths": (", ".join(f"{width:,}" for width in rest), ""),
        "compression": (first / int(m["d_latent"]), ""),
    }


def fit(published: bytes, parameters: int) -> Trend:
    """Fit depth, and the code relative to the first layer, on the published deep autoencoders."""
    table = rows(published)
    depth = [(float(row["params_exact"]), float(row["n_layers"])) for row in table]
    ratio = [(float(r["params_exact"]), float(r["ffn"]) / float(r["d_model"])) for r in table]
    lines = {
        "n_layers": fit_line(depth, parameters, level=True),
        "code": fit_line(ratio, parameters, level=True),
    }
    return Trend(lines, {})


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    size = count(m)
    depth = trend.lines["n_layers"].distance(size, m["n_layers"])
    return depth + trend.lines["code"].distance(size, m["d_latent"] / m["d_hidden"])


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space; the depth stays within reach of the trend."""
    size = need.budget
    depth = trend.lines["n_layers"].at(size)
    return (
        Axis("window", lambda m: (WINDOW,)),
        Axis("n_channels", lambda m: (CHANNELS,)),
        Axis("n_layers", lambda m: near(depth, 1), grid=True),
        Axis("d_hidden", lambda m: (_first({**m, **need.pins}, size),), fills=True),
        Axis("d_latent", lambda m: (_code(m, trend, size),)),
    )


def _first(m: Dims, parameters: int) -> int:
    """Return the widest first layer that leaves a code to the budget.

    It halves evenly, unless that leaves more than a hundredth of the budget unused.
    """
    even, step = 2 ** (int(m["n_layers"]) - 1), _step(m, parameters)

    def counted(steps: int) -> int:
        width = steps * step
        code = max(1, min(round(LEAST_CODE * width), _widest_code(m)))
        return count({"d_latent": code, **m, "d_hidden": width})

    found = bisect.bisect_right(range(parameters // step + 1), parameters, key=counted) - 1
    return int(max(even, found * step))


def _step(m: Dims, parameters: int) -> int:
    """Return what the first layer is a multiple of: what halves evenly, or 1 to fill a budget."""
    even, window = 2 ** (int(m["n_layers"]) - 1), int(m["window"] * m["n_channels"])
    return even if 2 * even * window < FILL * parameters else 1


def _widest_code(m: Dims) -> int:
    """Return the widest code that cannot copy a window."""
    return int(m["window"] * m["n_channels"]) - 1


def _code(m: Dims, trend: Trend, parameters: int) -> int:
    """Return the trend's width of the code, at most the last layer's and what the budget leaves."""
    usual = int(trend.lines["code"].at(parameters) * m["d_hidden"])
    last = int(m["d_hidden"]) // 2 ** (int(m["n_layers"]) - 1)
    room = (parameters - count({**m, "d_latent": 0})) // (2 * last + 1)
    return int(max(1, min(usual, last, room, _widest_code(m))))


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    size, last = count(m), widths(m)[-2]
    code = trend.lines["code"]
    return {
        "window": "task.lookback"
        if "window" in need.fixed
        else f"no task.lookback is declared; the default is {WINDOW} steps",
        "n_channels": "room for the channels of a series, which may have fewer",
        "d_hidden": f"the widest multiple of {_step(m, need.budget)} within the parameter "
        f"count, with room for a code; the last layer before the code has {last}",
        "n_layers": trend.lines["n_layers"].said(size),
        "d_latent": f"{m['d_latent'] / m['d_hidden']:.3f} of the first layer; "
        f"{code.points} published models give {code.at(size):.3f}",
    }
