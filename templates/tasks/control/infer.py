"""Play an episode with a trained checkpoint, print its return, and draw it.

    python infer.py --output episode.png
    python infer.py --output episode.png --seed 7 --data package:id
    python infer.py --output episode.gif                 where the environment draws itself

A PNG shows what was observed, what was done and what was rewarded over the steps; of frames it
shows a strip. A GIF shows what the environment draws, which may need a package of its own. Prints
a line of JSON.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import load_world
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.environments import World, taken
from runtime.episodes import Episode
from runtime.errors import fail, run
from runtime.options import Group
from runtime.panels import animation, curves, strip
from runtime.scripts import Setting, Trained, serving

FIRST_SEED = 3 * 10**6  # behind those of training, validation and test


@dataclass(frozen=True)
class Config:
    """How an episode is played."""

    seed: int = 0
    """Which of the episodes that no other script plays."""
    most_steps: int = 2000
    """Steps after which an episode without an end is stopped."""
    dtype: str = "float32"
    """bfloat16 or float32: the format of weights and arithmetic."""


@dataclass(frozen=True)
class Course:
    """An episode, step by step.

    Attributes:
        seen: What was observed before each action, (steps, ...).
        actions: (steps,) or (steps, A).
        rewards: (steps,).
        pictures: What the environment drew, (height, width, 3) each; none if it did not.
    """

    seen: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]
    pictures: list[NDArray[np.uint8]]


@torch.inference_mode()
def played(model: Model, world: World, config: Config, *, drawn: bool) -> Course:
    """Return an episode that the network plays with its best actions."""
    episode = Episode(world, **({"render_mode": "rgb_array"} if drawn else {}))
    now, device = episode.reset(FIRST_SEED + config.seed), next(model.parameters()).device
    steps: list[tuple[Any, Any, float]] = []
    pictures: list[NDArray[np.uint8]] = []
    over = cut = False
    while not (over or cut) and len(steps) < config.most_steps:
        if drawn:
            pictures.append(rendered(episode, world))
        output = model(torch.from_numpy(now)[None].to(device))
        action = best_actions(output, model.config, world.actions)[0].float().cpu().numpy()
        before = now
        now, reward, over, cut = episode.step(episode.own(action[None])[0])
        steps.append((before, action, reward))
    seen, actions, rewards = (np.asarray(each) for each in zip(*steps, strict=True))
    return Course(seen, actions, rewards, pictures)


def rendered(episode: Episode, world: World) -> NDArray[np.uint8]:
    """Return what the environment draws now, or stop if it cannot."""
    try:
        picture = np.asarray(episode.env.render())
    except Exception as error:  # a package that draws is missing, or has no screen
        fail(f"{world.name} cannot draw itself: {error}: write a .png instead.")
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        fail(f"{world.name} draws no pictures (height, width, 3): write a .png instead.")
    return picture


def output(text: str) -> Path:
    """Read the path of a picture that can be written."""
    path = Path(text)
    if path.suffix not in (".png", ".gif"):
        raise argparse.ArgumentTypeError(f"{text} must end in .png or .gif")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def options(group: Group) -> None:
    group.add_argument(
        "--output", type=output, metavar="PATH", help="picture of the episode, .png or .gif"
    )


def draw(path: Path, course: Course, world: World) -> None:
    """Write the picture of an episode."""
    if path.suffix == ".gif":
        animation(path, course.pictures)
    elif not world.sizes.obs_dim:
        strip(path, course.seen[:, -1])
    else:
        numbers = int(np.prod(world.shape))
        actions = course.actions.reshape(len(course.actions), -1)
        lines = {f"observation {i + 1}": course.seen[:, i] for i in range(numbers)}
        lines |= {f"action {i + 1}": actions[:, i] for i in range(actions.shape[1])}
        curves(path, lines | {"reward": course.rewards})


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Play and draw an episode."""
    world, path = load_world(trained.args.data, trained.model), trained.args.output
    dtype = getattr(torch, trained.config.dtype)
    model = trained.load(lambda: Model(trained.model), dtype)
    course = played(model, world, trained.config, drawn=bool(path and path.suffix == ".gif"))
    if path:
        draw(path, course, world)
    line = {
        "environment": world.name,
        "seed": FIRST_SEED + trained.config.seed,
        "steps": len(course.rewards),
        "return": float(course.rewards.sum()),
        "output": str(path) if path else None,
    }
    print(json.dumps(line))


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("which of the episodes that no other script plays", int),
        "most_steps": Setting("steps after which an episode without an end is stopped"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
    data=taken("that of the proxy"),
)

if __name__ == "__main__":
    run(main)
