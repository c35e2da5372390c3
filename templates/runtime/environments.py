"""Environments of gymnasium, opened by their id, or refused where a network cannot act in them."""

import argparse
import json
import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from runtime.digests import digest
from runtime.errors import fail
from runtime.options import Taken


class Sizes(Protocol):
    """The dimensions of a network that reads observations; its Config has them."""

    @property
    def obs_dim(self) -> int: ...
    @property
    def n_actions(self) -> int: ...
    @property
    def continuous(self) -> bool: ...


@runtime_checkable
class Screen(Protocol):
    """The dimensions of a network that may read frames instead."""

    @property
    def n_frames(self) -> int: ...
    @property
    def frame_height(self) -> int: ...
    @property
    def frame_width(self) -> int: ...


def shape_of(sizes: Sizes) -> tuple[int, ...]:
    """Return the shape of an observation as a network reads it: numbers, or frames."""
    if sizes.obs_dim or not isinstance(sizes, Screen):
        return (sizes.obs_dim,)
    return sizes.n_frames, sizes.frame_height, sizes.frame_width


def blank(sizes: Sizes, samples: int) -> Tensor:
    """Return observations of zeros, (samples, ...)."""
    dtype = torch.float32 if sizes.obs_dim else torch.uint8
    return torch.zeros(samples, *shape_of(sizes), dtype=dtype)


@dataclass(frozen=True)
class World:
    """An environment that a network can act in.

    Attributes:
        name: Its id.
        sha256: Digest of all that decides what it does: id, versions, limits, spaces, wrappers.
        sizes: The dimensions of the network.
        actions: How many choices there are, or how many quantities an action has.
        low: The least of each quantity; -1 where it has no bounds. None for choices.
        high: The largest of each; 1 where it has no bounds.
        most_steps: Steps after which an episode is cut off; None if it is not.
        shape: Shape of its own observations.
    """

    name: str
    sha256: str
    sizes: Sizes
    actions: int
    low: NDArray[np.float32] | None
    high: NDArray[np.float32] | None
    most_steps: int | None
    shape: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """The shape of an observation as the network reads it."""
        return shape_of(self.sizes)

    @property
    def frames(self) -> int:
        """How many frames are observed at once; 0 for numbers."""
        return 0 if self.sizes.obs_dim else self.read[0]

    @property
    def dtype(self) -> type:
        """The type of an observation's numbers."""
        return np.float32 if self.sizes.obs_dim else np.uint8


def environment_id(text: str) -> str:
    """Read the id of an environment, as an option has it."""
    # `package:id` imports a package of the user, who registers the environment there.
    if not re.fullmatch(r"([A-Za-z_][\w.]*:)?([\w-]+/)?\w[\w.-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no id, as CartPole-v1 is one")
    return text


def taken(bundled: str) -> Taken:
    """Return what --data takes."""
    text = f"id of a gymnasium environment, or package:id (default: {bundled})"
    return Taken(text, environment_id, "ID")


def made(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Return an environment of its own, or stop."""
    try:
        # The checker warns of much that a user cannot change, and takes a third of the time.
        return gymnasium.make(name, disable_env_checker=True, **options)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        fail(f"{name} needs a package that is not installed: {error}")
    except gymnasium.error.Error as error:
        fail(f"gymnasium {gymnasium.__version__} cannot make {name}: {error}")
    except Exception as error:  # what else the environment's own code does wrong
        fail(f"{name} cannot be made: {type(error).__name__}: {error}")


def opened(name: str, sizes: Sizes) -> World:
    """Return what is known of an environment, or stop if the network cannot act in it."""
    env = made(name)
    observed, acted, spec = env.observation_space, env.action_space, env.spec
    _check_observations(name, observed, sizes)
    actions, low, high = _actions(name, acted, sizes)
    about = {
        "id": name,
        "gymnasium": gymnasium.__version__,
        "entry_point": str(spec.entry_point if spec else None),
        "kwargs": repr(sorted(spec.kwargs.items()) if spec else None),
        "max_episode_steps": spec.max_episode_steps if spec else None,
        "spaces": [repr(observed), repr(acted)],
        "frames": None if sizes.obs_dim else [*shape_of(sizes)],
    }
    shape = tuple(observed.shape or ())
    env.close()
    sha256 = digest(json.dumps(about, sort_keys=True).encode())
    most = spec.max_episode_steps if spec else None
    return World(name, sha256, sizes, actions, low, high, most, shape)


def _check_observations(name: str, space: Any, sizes: Sizes) -> None:
    """Stop unless the network can read observations of a space."""
    hint = "wrap it, and register what you wrapped under an id of its own."
    if not isinstance(space, spaces.Box):
        fail(f"{name} has observations of the kind {type(space).__name__}, and not Box: {hint}")
    frames = space.dtype == np.uint8 and len(space.shape) in (2, 3)
    if sizes.obs_dim and frames:
        fail(f"{name} shows frames of {space.shape}, and this network reads numbers: {hint}")
    if not sizes.obs_dim and not (frames and space.shape[2:] in ((), (1,), (3,))):
        fail(
            f"{name} has observations {space.shape} of {space.dtype}, and this network reads "
            f"frames (height, width, 3) of uint8: {hint}"
        )
    numbers = int(np.prod(space.shape))
    if sizes.obs_dim and numbers > sizes.obs_dim:
        fail(
            f"{name} has observations of {numbers} numbers, and the network reads at most "
            f"{sizes.obs_dim}: raise obs_dim, by architecture.dims of the spec."
        )


def _actions(
    name: str, space: Any, sizes: Sizes
) -> tuple[int, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Return the number of actions and their bounds, or stop unless the network can take them."""
    kind = spaces.Box if sizes.continuous else spaces.Discrete
    wanted = "quantities (Box)" if sizes.continuous else "choices (Discrete)"
    if not isinstance(space, kind):
        fail(
            f"{name} takes actions of the kind {type(space).__name__}, and this network gives "
            f"{wanted}: declare the other task.action_space in the spec, or wrap the environment."
        )
    count = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape))
    if count > sizes.n_actions:
        key = "task.action_dim" if sizes.continuous else "task.num_actions"
        fail(
            f"{name} takes {count} {wanted.split()[0]}, and the network gives at most "
            f"{sizes.n_actions}: raise {key} of the spec."
        )
    if isinstance(space, spaces.Discrete):
        return count, None, None
    low, high = space.low.astype(np.float32).ravel(), space.high.astype(np.float32).ravel()
    # Where a quantity has no bounds, an action is taken as it is.
    open_ = ~(np.isfinite(low) & np.isfinite(high))
    return count, np.where(open_, -1, low), np.where(open_, 1, high)
