"""What agents share: hidden layers of one width, behind numbers or behind frames of a screen."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

from metagen.families import parts
from metagen.families.axes import Axis, Rule, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, dim
from metagen.families.parts import Part
from metagen.families.trend import Line, Row, Trend
from metagen.families.trend import fit as fit_line

KERNELS = ((8, 4), (4, 2), (3, 1))  # pixels a side of each convolution, and its stride
WIDTH_STEP = 8  # units and channels; tensor cores take multiples of 8 at full speed
FILLS = "the most units within the parameter count"
UNUSED = 0.005  # multiples of the step are preferred unless they leave more of the budget unused


class Agent(Family):
    """Hidden layers of one width, which fills the budget."""

    traits: Mapping[str, Trait] = {"n_layers": dim("n_layers")}

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget

        def depths(m: Dims) -> range:
            return near(trend.lines["n_layers"].at(budget), 1)

        return (*self.usual(), Axis("n_layers", depths, grid=True), self.width_axis(budget))

    def width_axis(self, budget: int, name: str = "d_hidden") -> Axis:
        """Return the axis of a width of hidden layers, which fills the budget."""
        return Axis(name, lambda m: (self._widest(m, budget, name),), fills=True)

    def beside(
        self, m: Dims, names: tuple[str, str], ratio: float, budget: int, least: Dims
    ) -> range:
        """Return widths near the one beside which another has its published ratio in the budget.

        Args:
            m: What is chosen already.
            names: The width, and the one that fills the budget.
            ratio: What published models have of the second for each of the first.
            budget: Parameters.
            least: The smallest design with a width, but for the width.
        """
        name, filling = names

        def count(width: int) -> int:
            return self.count({**m, name: width, filling: max(1, int(ratio * width))})

        most = bisect.bisect_right(range(1, 2**14), budget, key=count)
        step = WIDTH_STEP if most > 4 * WIDTH_STEP else 1
        tried = near(max(1, most), step)
        return self.within(budget, tried, lambda width: {**m, **least, name: width})

    def _widest(self, m: Dims, budget: int, name: str) -> int:
        """Return the widest hidden layers within the budget, a multiple of 8 where that fills it.

        The count grows with the square of the width where layers follow each other.
        """

        def widest(step: int) -> int:
            every = range(step, 2**20, step)
            place = bisect.bisect_right(
                every, budget, key=lambda width: self.count({**m, name: width})
            )
            return every[max(0, place - 1)]

        round_ = widest(WIDTH_STEP)
        left = budget - self.count({**m, name: round_})
        return round_ if 0 <= left <= UNUSED * budget else widest(1)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        return {**super().reasons(m, need, trend), "d_hidden": FILLS}


class ScreenAgent(Agent):
    """Hidden layers behind a normalizer of numbers, or behind three convolutions of frames.

    The dimensions of frames are 0 for an agent that reads numbers, and obs_dim is 0 for one that
    reads frames. The published trend of one kind says nothing of the other.
    """

    traits: Mapping[str, Trait] = {
        **Agent.traits,
        "d_conv": Trait("d_model / d_conv", lambda m: m["d_hidden"] / m["d_conv"], level=True),
    }

    zeros = frozenset({"obs_dim", "frame_height", "frame_width", "n_frames", "d_conv"})
    rules = (
        Rule(
            ("obs_dim", "n_frames"),
            lambda m: (m["obs_dim"] > 0) != (m["n_frames"] > 0),
            "numbers or frames are observed, so one of obs_dim and n_frames is 0",
        ),
        Rule(
            ("n_frames", "d_conv"),
            lambda m: (m["n_frames"] > 0) == (m["d_conv"] > 0),
            "convolutions read frames, so d_conv is 0 where n_frames is, and nowhere else",
        ),
        Rule(
            ("n_frames", "frame_height", "frame_width"),
            lambda m: (
                not m["n_frames"]
                or min(convolved(m["frame_height"]), convolved(m["frame_width"])) > 0
            ),
            "three convolutions leave a pixel of 36 at least, so frame_height and frame_width "
            "must be 36 or more",
        ),
    )

    def networks(self, m: Dims) -> int:
        """Return how many stacks of hidden layers read the features side by side."""
        raise NotImplementedError

    def heads(self, m: Dims) -> list[Part]:
        """Return what follows the hidden layers."""
        raise NotImplementedError

    def parts(self, m: Dims) -> list[Part]:
        """Return the features, the stacks of hidden layers, and the heads."""
        inputs, width, stacks = features(m), int(m["d_hidden"]), self.networks(m)
        layers = [parts.linear(inputs, width) * stacks]
        layers += [parts.linear(width, width) * (stacks * (m["n_layers"] - 1))]
        seen = [normalizer(m)] if m["obs_dim"] else convolutions(m)
        return [*seen, *layers, *self.heads(m)]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the first convolution of frames, and a hidden layer before and after activation.

        A convolution's place holds the frames as numbers, its output and the rectified one.
        """
        width, inputs = int(m["d_hidden"]), features(m)
        others = (self.networks(m) - 1) * width
        hidden = inputs + others + 2 * width
        layer = Peak(hidden, f"{inputs:,} features, and {others + 2 * width:,} of hidden layers")
        if m["obs_dim"]:
            return [layer]
        frames = int(m["n_frames"] * m["frame_height"] * m["frame_width"])
        height, wide = (convolved(m[side], 1) for side in ("frame_height", "frame_width"))
        first = frames + 2 * int(m["d_conv"]) * height * wide
        return [Peak(first, f"the first convolution's {first:,} numbers"), layer]

    def line(self, trait: Trait, table: list[Row], size: float) -> Line:
        """Fit a trait on the published models that have it: those of numbers, or of frames."""
        frames = trait is self.traits["d_conv"]
        own = [row for row in table if bool(row["d_conv"]) == frames]
        points = [(float(row[self.size_column]), trait.published(row)) for row in own]
        return fit_line(points, size, level=trait.level)

    def deviation(self, m: Dims, trend: Trend) -> float:
        """Return how far the one trait that a design has lies from its trend."""
        name = "n_layers" if m["obs_dim"] else "d_conv"
        return trend.lines[name].distance(self.size(m), self.traits[name].of(m))

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget

        def depths(m: Dims) -> range:
            return near(trend.lines["n_layers"].at(budget), 1) if m["obs_dim"] else range(1, 2)

        def channels(m: Dims) -> range:
            ratio = trend.lines["d_conv"].at(budget)
            names = ("d_conv", "d_hidden")
            least = {"d_hidden": 1}
            return range(0, 1) if m["obs_dim"] else self.beside(m, names, ratio, budget, least)

        return (
            *self.usual(),
            Axis("n_layers", depths, grid=True),
            Axis("d_conv", channels, grid=True),
            self.width_axis(budget),
        )

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        kept = super().reasons(m, need, trend)
        if m["obs_dim"]:
            return {**kept, "d_conv": "0: numbers are observed, and no frames"}
        line = trend.lines["d_conv"]
        ratio = f"{line.points} published models have {line.at(self.size(m)):.1f} hidden units for "
        return {
            **kept,
            "d_conv": f"{ratio}each channel of the first convolution",
            "n_layers": "one hidden layer follows the convolutions, as in published networks",
            "d_hidden": f"{FILLS}; {m['d_hidden'] / m['d_conv']:.1f} for each of these channels",
        }

    def figures(self, m: Dims) -> Figures:
        """Return what the hidden layers read, and the channels of the later convolutions."""
        return {"features": (features(m), "numbers"), "channels": (2 * int(m["d_conv"]), "")}


def normalizer(m: Dims) -> Part:
    """Return the statistics of what is observed: a mean and a variance each, and their count."""
    return Part(state=2 * int(m["obs_dim"]) + 1)


def perceptron(inputs: float, m: Dims, outputs: float) -> list[Part]:
    """Return a network of its own: hidden layers, and a linear layer behind them."""
    width = int(m["d_hidden"])
    hidden = parts.linear(width, width) * (m["n_layers"] - 1)
    return [parts.linear(inputs, width), hidden, parts.linear(width, outputs)]


def convolved(side: float, layers: int = len(KERNELS)) -> int:
    """Return a side after some convolutions: 7 pixels of 84 after all three."""
    for kernel, stride in KERNELS[:layers]:
        side = (int(side) - kernel) // stride + 1
    return int(side)


def features(m: Dims) -> int:
    """Return the numbers that the first hidden layer reads."""
    if m["obs_dim"]:
        return int(m["obs_dim"])
    return 2 * int(m["d_conv"]) * convolved(m["frame_height"]) * convolved(m["frame_width"])


def convolutions(m: Dims) -> list[Part]:
    """Return the three convolutions of frames, of d, 2d and 2d channels."""
    widths = [int(m["n_frames"]), *(times * int(m["d_conv"]) for times in (1, 2, 2))]
    sides = [
        convolved(m["frame_height"], layer) * convolved(m["frame_width"], layer)
        for layer in (1, 2, 3)
    ]
    return [
        parts.conv(widths[i], widths[i + 1], kernel, sides[i])
        for i, (kernel, _) in enumerate(KERNELS)
    ]
