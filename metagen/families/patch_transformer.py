"""What patch Transformers share, in the form of PatchTST (Nie et al., 2023, arXiv:2211.14730)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from metagen.families import axes, parts
from metagen.families.axes import Axis, Rule, floor_power, near
from metagen.families.blocks import Blocks, block_peak
from metagen.families.demand import Need
from metagen.families.family import Dims, Figures, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend

STRIDE = 8  # steps, as PatchTST; a patch has twice as many
STRIDES = range(4, 17)  # Strides within a factor of two of PatchTST's are tried.
HEAD_DIMS = (4, 128)
STEP = 4  # `d_model` and `d_ff` are multiples of 4.
LEAST_WIDTH = 2  # LayerNorm of a single number is always 0.
# The head alone can hold nearly all parameters: blocks of 1/256 of them are the least to expect.
LEAST_BODY = 1 / 256


class PatchTransformer(Blocks):
    """An embedding of patches with positions, pre-norm blocks, and a linear layer for the task."""

    table = "patch_transformer"
    components = (
        "transformer_encoder encoder patch_embedding position_embedding instance_normalization "
        "revin linear_head"
    )
    traits = {
        **Blocks.traits,
        "head_dim": Trait("head_dim", lambda m: m["d_model"] / m["n_heads"]),
    }
    # Published models differ in their windows, and so in embedding and head.
    size_column = "params_non_embedding"
    size_unit = "weights of the blocks"
    rules = (
        axes.divides("n_heads", "d_model", "the heads share the width evenly"),
        Rule(
            ("lookback", "patch_len"),
            lambda m: m["patch_len"] < m["lookback"],
            "a window is cut in patches, so patch_len must be below lookback",
        ),
        Rule(
            ("patch_len", "stride"),
            lambda m: m["stride"] <= m["patch_len"],
            "no step between two patches may be skipped, so stride is at most patch_len",
        ),
    )
    constants = {
        "dropout": (0.2, "as PatchTST on its Weather data"),
        "norm_eps": (1e-5, "the default of PyTorch and of transformers"),
    }
    # The proxy has about two hundred thousand parameters, and the full model's patches.
    proxy_dims = {"d_model": 64, "n_layers": 3, "n_heads": 4}

    def head(self, m: Dims) -> Part:
        """Return the linear layer that gives what the task asks for."""
        raise NotImplementedError

    def series(self, m: Dims) -> int:
        """Return how many series pass through the blocks at once, each alone."""
        return 1

    def parts(self, m: Dims) -> list[Part]:
        """Return the embedding of patches, their positions, the blocks and the head."""
        d, n, times = m["d_model"], patches(m), self.series(m)
        block = parts.encoder_block(d, m["d_ff"], n)
        several = block._replace(places=times * block.places, pairs=times * block.pairs)
        return [
            parts.linear(m["patch_len"], d, times * n),
            parts.table(n, d),
            several * m["n_layers"],
            self.head(m),
        ]

    def size(self, m: Dims) -> int:
        """Return the weights of attention and feed-forward layers: L(4d^2 + 2df)."""
        d = m["d_model"]
        return int(m["n_layers"] * (4 * d * d + 2 * d * m["d_ff"]))

    def peaks(self, m: Dims) -> list[Peak]:
        return [block_peak(m, self.series(m) * patches(m), "patches")]

    def inner_step(self, m: Dims) -> int:
        return STEP

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        body = self._body(need, trend)
        depth, width = (trend.lines[name].at(body) for name in ("n_layers", "d_model"))
        head_dims = axes.powers_near(trend.lines["head_dim"].at(body), *HEAD_DIMS)
        return (
            *self.usual(),
            Axis("stride", lambda m: (stride(int(m["lookback"])),)),
            Axis("patch_len", lambda m: (patch_len(int(m["lookback"]), int(m["stride"])),)),
            Axis("n_layers", lambda m: near(depth, max(1, floor_power(depth) // 16)), grid=True),
            Axis("d_model", lambda m: self._widths(m, budget, width), grid=True),
            Axis("n_heads", lambda m: axes.heads(m["d_model"], head_dims), grid=True),
            self.inner_axis(budget),
        )

    def _body(self, need: Need, trend: Trend) -> float:
        """Estimate the weights of the blocks, which the trend is fitted on, from the budget.

        The rest grows with the width, which grows with the blocks, so bisection finds the estimate.
        """
        past = int(need.pins.get("lookback", self.task.defaults["lookback"]))
        cut = {"stride": stride(past), "patch_len": patch_len(past, stride(past))}
        rest = {**self.task.defaults, **cut, **need.pins, "n_layers": 0, "d_ff": 0}

        def whole(body: float) -> float:
            return body + self.count({**rest, "d_model": trend.lines["d_model"].at(body)})

        low, high = LEAST_BODY * need.budget, float(need.budget)
        for _ in range(32):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if whole(middle) < need.budget else (low, middle)
        return low

    def _widths(self, m: Dims, budget: int, centre: float) -> range:
        """Return round widths around the trend; for a very small budget, below it."""
        widths = near(centre, max(STEP, floor_power(centre) // 16))
        return self.within(
            budget, widths, lambda width: {**m, "d_model": width, "d_ff": STEP}, LEAST_WIDTH
        )

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        head_dim = trend.lines["head_dim"].at(self.size(m))
        return {
            **super().reasons(m, need, trend),
            "stride": f"leaves {m['lookback'] % m['stride']} steps of the lookback out, the "
            f"nearest to PatchTST's {STRIDE} of those that leave as few",
            "patch_len": f"twice the stride, as in PatchTST: {patches(m)} patches",
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"give {head_dim:.0f}",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        half = axes.closest(axes.divisors(int(m["d_model"])), m["n_heads"] / 2)
        stride = max(1, int(m["stride"] // 2))
        return (
            ("patches of half the length", "stride", stride),
            ("patches of half the length", "patch_len", 2 * stride),
            ("patches that do not overlap", "stride", m["patch_len"]),
            ("half the heads", "n_heads", half),
            ("feed-forward layer of twice the width", "d_ff", 2 * m["d_model"]),
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
            ("no dropout", "dropout", 0.0),
        )

    def figures(self, m: Dims) -> Figures:
        covered = m["patch_len"] + (patches(m) - 1) * m["stride"]
        return {
            "patches": (patches(m), ""),
            "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
            "left_out": (int(m["lookback"] - covered), "steps"),
        }


def patches(m: Dims) -> int:
    """Return the patches of a window: (lookback - P) // stride + 1."""
    return int((m["lookback"] - m["patch_len"]) // m["stride"] + 1)


def stride(lookback: int) -> int:
    """Return the stride that leaves the fewest steps out where a patch has twice as many.

    Among those that leave as few, it is the nearest to PatchTST's.
    """
    fitting = [s for s in STRIDES if 2 * s < lookback] or [max(1, (lookback - 1) // 2)]
    return min(fitting, key=lambda s: (lookback % s, abs(math.log(s / STRIDE))))


def patch_len(lookback: int, stride: int) -> int:
    """Return the steps of a patch: twice the stride, and fewer than the window."""
    return min(2 * stride, lookback - 1)
