"""Train the policy in an environment of yours, or in one that comes with gymnasium.

    python train.py                                       the proxy, in the bundled environment
    python train.py --data package:id --steps 2000        the proxy, in another one
    python train.py --size full --data HalfCheetah-v5     the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Proximal policy optimization (Schulman et al., 2017, arXiv:1707.06347): the policy acts for some
steps, and each of them is learned from several times. A step of this script is an update of the
weights, not a step of an environment. Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint,
whose weights are those of the validation with the highest return.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_world, splits_of
from model import Config as ModelConfig
from model import Model, Policy, best_actions
from runtime.acting import Acting, cut, job_of_agent, normalize, share_of
from runtime.distributed import joined, total, world_size
from runtime.environments import World, blank, taken
from runtime.episodes import Played, Seen, Worlds
from runtime.errors import fail, run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script

# What an update learns from, in the order of a batch.
NAMES = ("observed", "actions", "log_probs", "values", "advantages", "returns")


@dataclass(frozen=True)
class Config(Training):
    """How the policy is trained."""

    n_envs: int = 8
    """Environments that are acted in side by side; processes share them."""
    rollout_steps: int = 256
    """Steps in each environment between two changes of the policy that acts."""
    n_epochs: int = 10
    """How often an update learns from each of these steps."""
    discount: float = 0.99
    """What a reward counts for one step before it."""
    gae_lambda: float = 0.95
    """0 trusts the critic's value of the next step, 1 the rewards that were seen."""
    clip: float = 0.2
    """Change of an action's likelihood beyond which it is not rewarded, as a share."""
    value_weight: float = 0.5
    """Share of the critic's error in the loss."""
    entropy_weight: float = 0.0
    """Share of the policy's entropy in the loss; more keeps it undecided for longer."""


def advantages_of(
    rewards: Tensor, values: Tensor, ends: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Return by how much each action was better than the critic expected, (T, N).

    Generalized advantage estimation (Schulman et al., 2016, arXiv:1506.02438, equation 16): from
    the last step back, A_t = d_t + discount * lambda * A_(t+1), and d_t = r_t + discount *
    V(s_(t+1)) - V(s_t). Behind the end of an episode is nothing.

    Args:
        rewards: (T, N).
        values: Of what was observed before each step and after the last one, (T + 1, N).
        ends: 1 where the step was an episode's last, (T, N).
        discount: What a reward counts for one step before it.
        gae_lambda: The share of later errors that is added.
    """
    going, advantages = 1 - ends, torch.zeros_like(rewards)
    errors = rewards + discount * going * values[1:] - values[:-1]
    later = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        later = errors[t] + discount * gae_lambda * going[t] * later
        advantages[t] = later
    return advantages


class Scale:
    """The size of discounted returns so far, by which rewards are divided.

    The critic's error then is about 1 in any unit of reward (Engstrom et al., 2020,
    arXiv:2005.12729, section 3).
    """

    def __init__(self, envs: int, discount: float) -> None:
        self.discount = discount
        self.running = torch.zeros(envs)  # the discounted return of each environment until now
        self.sums = torch.zeros(3, dtype=torch.float64)  # ones, returns and their squares

    def add(self, rewards: Tensor, ends: Tensor) -> None:
        """Take the rewards of further steps (T, N), and whether each was an episode's last."""
        returns = []
        for reward, end in zip(rewards, ends, strict=True):
            self.running = self.running * self.discount + reward
            returns.append(self.running)
            self.running = self.running * (1 - end)
        every = torch.stack(returns).double()
        one = torch.tensor(float(every.numel()), dtype=torch.float64)
        self.sums += total(torch.stack((one, every.sum(), every.square().sum())))

    def scaled(self, rewards: Tensor) -> Tensor:
        """Return rewards over the deviation of all returns, within 10."""
        count, mean = self.sums[0], self.sums[1] / self.sums[0]
        deviation = (self.sums[2] / count - mean**2).clamp(min=1e-8).sqrt()
        return (rewards / deviation.float()).clamp(-10, 10)


class Rollouts(Acting):
    """The steps that the policy took last, and what it learns from each."""

    config: Config

    def __init__(self, config: Config, world: World, model: ModelConfig, seeds: range) -> None:
        super().__init__(
            config, world, seeds, lambda output, actions: best_actions(output, model, actions)
        )
        self.worlds = Worlds(world, config.n_envs, config.seed)
        self.model = model
        self.scale = Scale(len(self.worlds.numbers), config.discount)
        self.taken = 0  # rollouts that were taken
        self.rows: dict[str, Tensor] = {}  # what was seen and done, by name, (T, N, ...)
        self._ordered, self._steps = (-1, -1), torch.empty(0)
        # An update takes steps of each environment, or of every so many, so that a process needs
        # none of the others' and an update is the same on any number of them.
        self.share = share_of(config.batch_size, config.n_envs)
        steps = config.rollout_steps
        if steps % self.share.steps:
            fail(f"{steps} steps cannot be divided into parts of {self.share.steps}.")
        self.parts = steps // self.share.steps * self.share.apart  # updates of an epoch
        self.updates = config.n_epochs * self.parts  # updates of a rollout

    @property
    def transitions(self) -> int:
        return self.taken * self.config.n_envs * self.config.rollout_steps

    def policy(self, output: Tensor) -> Policy:
        """Return the policy of the network's first output."""
        return Policy(output, self.model.continuous, self.world.actions)

    def collect(self, module: nn.Module, step: int) -> dict[str, float]:
        """Take a new rollout where all updates of the last one are done."""
        self.done = step + 1
        if step // self.updates < self.taken:
            return {}
        if self.rows and self.model.obs_dim:
            normalize(module, self.rows["observed"].flatten(0, 1))
        self._roll()
        self.taken += 1
        return self.worlds.mean_return()

    def _noise(self) -> Tensor:
        """Return the noise of a rollout's actions, (T, N, A), from that of all processes."""
        config, numbers = self.config, self.worlds.numbers
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.taken)
        shape = (config.rollout_steps, config.n_envs, self.world.actions)
        draw = torch.randn if self.model.continuous else torch.rand
        return draw(shape, generator=generator)[:, numbers.start : numbers.stop]

    def _roll(self) -> None:
        """Act, and keep what was observed, done and rewarded."""
        rows: dict[str, list[Tensor]] = {}
        for noise in self._noise():
            observed = torch.from_numpy(self.worlds.now)
            output, values = self.output(self.worlds.now)
            policy = self.policy(output.cpu())
            actions = policy.sample(noise)
            seen = self.worlds.step(actions.numpy())
            row = {
                "observed": observed,
                "actions": actions,
                "log_probs": policy.log_prob(actions),
                "values": values.float().cpu(),
                "rewards": torch.from_numpy(seen.rewards),
                "beyond": self._beyond(seen),
                "ends": torch.from_numpy(seen.over | seen.cut).float(),
            }
            for name, tensor in row.items():
                rows.setdefault(name, []).append(tensor)
        last = self.output(self.worlds.now)[1].float().cpu()
        self._judge({name: torch.stack(each) for name, each in rows.items()}, last)

    def _beyond(self, seen: Seen) -> Tensor:
        """Return the critic's value of what lies beyond a cut, (N,); 0 where nothing was cut off.

        An episode that is cut off could have gone on (Pardo et al., 2018, arXiv:1712.00378).
        """
        beyond = torch.from_numpy(seen.cut & ~seen.over).float()
        if not self._any(bool(seen.cut.any())):
            return beyond
        values: Tensor = self.output(seen.last)[1]
        return beyond * values.float().cpu()

    def _any(self, flag: bool) -> bool:
        # Shards of weights are gathered for a pass, so all processes take it or none.
        return bool(total(torch.tensor(float(flag))) > 0) if world_size() > 1 else bool(flag)

    def _judge(self, rows: dict[str, Tensor], last: Tensor) -> None:
        """Keep a rollout with the advantage of each action, and the return that was seen."""
        config, values = self.config, torch.cat((rows["values"], last[None]))
        self.scale.add(rows["rewards"], rows["ends"])
        scaled = self.scale.scaled(rows["rewards"]) + config.discount * rows.pop("beyond")
        advantages = advantages_of(
            scaled, values, rows.pop("ends"), config.discount, config.gae_lambda
        )
        rows["returns"] = advantages + rows["values"]
        rows["advantages"] = standardized(advantages)
        del rows["rewards"]
        self.rows = rows

    def batch(self, start: int, count: int) -> Batch:
        """Return samples of the rollout, from a position in the order of all updates."""
        update, first = divmod(start, self.config.batch_size)
        epoch, part = divmod(update % self.updates, self.parts)
        numbers, turns = self.share.places(part, torch.arange(first, first + count))
        envs = numbers - self.worlds.numbers.start
        steps = self._order(update // self.updates, epoch)[turns, envs]
        return tuple(self.rows[name][steps, envs] for name in NAMES)

    def _order(self, rollout: int, epoch: int) -> Tensor:
        """Return the order of the steps of each of this process's environments, (T, N)."""
        if (rollout, epoch) != self._ordered:
            key = (self.config.seed * 1_000_003 + rollout) * 1_009 + epoch
            generator = torch.Generator().manual_seed(key % 2**63)
            shape = (self.config.rollout_steps, self.config.n_envs)
            numbers = self.worlds.numbers
            order = torch.rand(shape, generator=generator).argsort(0)
            self._steps = order[:, numbers.start : numbers.stop]
            self._ordered = (rollout, epoch)
        return self._steps

    def held_out(self, size: int) -> Iterator[Batch]:
        """Yield the steps of the validation's episodes, as a loss takes them."""
        played = self.validation()
        rows = [self._validated(played, i) for i in range(len(played.lengths))]
        yield from cut(tuple(torch.cat(each) for each in zip(*rows, strict=True)), size)

    def _validated(self, played: Played, episode: int) -> Batch:
        """Return the rows of an episode, which the policy played with its best actions."""
        start, config = int(played.lengths[:episode].sum()), self.config
        steps = slice(start, start + int(played.lengths[episode]))
        output, values = self.output(played.seen[steps])
        end = self.output(played.ends[episode : episode + 1])[1].float().cpu()
        values, actions = values.float().cpu(), torch.from_numpy(played.actions[steps])
        rewards = self.scale.scaled(torch.from_numpy(played.rewards[steps]))
        ends = torch.zeros(len(rewards))
        ends[-1] = float(played.over[episode])
        every = torch.cat((values, end))[:, None]
        advantages = advantages_of(
            rewards[:, None], every, ends[:, None], config.discount, config.gae_lambda
        )[:, 0]
        likely = self.policy(output.cpu()).log_prob(actions)
        seen = torch.from_numpy(played.seen[steps])
        return seen, actions, likely, values, standardized(advantages), advantages + values

    def tensors(self) -> dict[str, Tensor]:
        """Return the rollout, and what `Acting` has."""
        rows = {f"rollout.{n}": joined(r.transpose(0, 1)) for n, r in self.rows.items()}
        scale = {
            "scale.running": joined(self.scale.running),
            "scale.sums": self.scale.sums.view(torch.int64),  # their bits
        }
        return super().tensors() | rows | scale | {"taken": torch.tensor(self.taken)}

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        own = slice(self.worlds.numbers.start, self.worlds.numbers.stop)
        self.rows = {name: tensors[f"rollout.{name}"][own].transpose(0, 1) for name in NAMES}
        self.scale.running = tensors["scale.running"][own]
        self.scale.sums = tensors["scale.sums"].view(torch.float64)
        self.taken = int(tensors["taken"])


def standardized(advantages: Tensor) -> Tensor:
    """Return advantages with mean 0 and deviation 1 over all processes' steps."""
    x = advantages.double()
    one = torch.tensor(float(x.numel()), dtype=torch.float64)
    count, summed, squares = total(torch.stack((one, x.sum(), x.square().sum()))).unbind()
    mean = summed / count
    deviation = (squares / count - mean**2).clamp(min=0).sqrt()
    return ((x - mean) / (deviation + 1e-8)).float()


def clipped_loss(config: Config, policy: Policy, values: Tensor, batch: Batch) -> Tensor:
    """Return the loss of each sample, (B,).

    Equations 7 and 9 of the paper: an action that became likelier or less likely by more than
    `clip` is not pushed further. The critic's change is clipped alike (Engstrom et al., 2020).
    """
    _, actions, old_log_probs, old_values, advantages, returns = batch
    ratio = (policy.log_prob(actions) - old_log_probs).exp()
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    near = old_values + (values - old_values).clamp(-config.clip, config.clip)
    error = torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2
    return -gain + config.value_weight * error - config.entropy_weight * policy.entropy()


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    sizes = model.config
    observed, ones = blank(sizes, samples), torch.zeros(samples)
    output, values = model(observed)
    policy = Policy(output, sizes.continuous, sizes.n_actions)
    batch = (observed, policy.best().detach(), ones, ones, ones, ones)
    return clipped_loss(Config(), policy, values, batch).mean()


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    world, seeds = load_world(args.data, model), splits_of(data)
    rollouts = Rollouts(config, world, model, seeds["val"])

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        output, values = module(batch[0])
        each = clipped_loss(config, rollouts.policy(output), values.float(), batch)
        return each.mean(), len(each)

    build = partial(Model, model)
    return job_of_agent(rollouts, data, seeds, build=build, loss=loss, example=example_loss)


main = script(__doc__, (Config, DataConfig, ModelConfig), job_of, data=taken("that of the proxy"))

if __name__ == "__main__":
    run(main)
