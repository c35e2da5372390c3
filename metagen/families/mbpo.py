"""A soft actor-critic with a model of its environment (Janner et al., 2019, arXiv:1906.08253)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metagen.families.agents import FILLS, perceptron
from metagen.families.axes import Axis, Rule, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Figures, Trait, Value, dim
from metagen.families.parts import HALF, Part, count
from metagen.families.sac import SAC
from metagen.families.trend import Trend
from metagen.tasks.model_based import SOURCE, ModelBased


class MBPO(SAC):
    """An actor, two critics, and an ensemble of networks that say what follows an action."""

    name = "mbpo"
    kind = "model-based policy optimization for reinforcement learning"
    task = ModelBased()
    components = f"{SAC.components} dynamics dynamics_model world_model ensemble model_ensemble"
    traits: Mapping[str, Trait] = {
        **SAC.traits,
        "dynamics_layers": dim("dynamics_layers"),
        "d_dynamics": Trait(
            "d_dynamics / d_model", lambda m: m["d_dynamics"] / m["d_hidden"], level=True
        ),
    }
    constants = {
        "n_networks": (7, SOURCE),
        "n_elites": (5, SOURCE),
        "ends": (True, "where an episode of your environment ends is learned, as all else of it"),
    }
    rules = (
        Rule(
            ("n_networks", "n_elites"),
            lambda m: m["n_elites"] <= m["n_networks"],
            "steps are made up by some networks of the ensemble, so n_elites is at most n_networks",
        ),
    )
    proxy_dims = {
        "n_layers": 2,
        "d_hidden": 64,
        "n_networks": 3,
        "n_elites": 2,
        "dynamics_layers": 2,
        "d_dynamics": 64,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return the parts of a soft actor-critic, and the ensemble, which no action needs."""
        return [*super().parts(m), ensemble(m)]

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes of all weights but the ensemble's, which acting does not read."""
        return float(HALF * count(super().parts(m)))

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        ratio = trend.lines["d_dynamics"].at(budget)

        def depths(name: str) -> Axis:
            return Axis(name, lambda m: near(trend.lines[name].at(budget), 1), grid=True)

        def widths(m: Dims) -> range:
            names = ("d_hidden", "d_dynamics")
            return self.beside(m, names, ratio, budget, {"d_dynamics": 1})

        return (
            *self.usual(),
            depths("n_layers"),
            depths("dynamics_layers"),
            Axis("d_hidden", widths, grid=True),
            self.width_axis(budget, "d_dynamics"),
        )

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        line, kept = trend.lines["d_dynamics"], super().reasons(m, need, trend)
        published = f"{line.points} published models have {line.at(self.size(m)):.2f} units of the "
        return {
            **kept,
            "d_hidden": f"{published}ensemble for each of these in the mean",
            "d_dynamics": f"{FILLS}; {m['d_dynamics'] / m['d_hidden']:.2f} for each of d_hidden",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("one network instead of an ensemble", "n_networks", 1),
            ("one network instead of an ensemble", "n_elites", 1),
            ("half the units of the ensemble", "d_dynamics", max(1, m["d_dynamics"] // 2)),
            ("half the hidden units", "d_hidden", max(1, m["d_hidden"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        """Return what the ensemble holds."""
        held = count([ensemble(m)])
        return {
            "ensemble": (held, "parameters"),
            "ensemble_share": (held / self.count(m), "share"),
        }


def ensemble(m: Dims) -> Part:
    """Return the networks that say what follows, with an error of each, and bounds of variances.

    Each gives a mean and a variance of the reward and of each number that is observed, and a logit
    of the episode's end where that is predicted. The rewards' mean and deviation are stored too.
    """
    predicted, width = 1 + int(m["obs_dim"]), int(m["d_dynamics"])
    shape = {"d_hidden": width, "n_layers": m["dynamics_layers"]}
    outputs = 2 * predicted + int(m["ends"])
    one = count(perceptron(m["obs_dim"] + m["n_actions"], shape, outputs))
    networks = int(m["n_networks"])
    return Part(others=networks * one + 2 * predicted, state=networks + 2)


FAMILY = MBPO()
