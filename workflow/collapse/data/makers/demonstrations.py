"""Demonstrations of experts in a simulator: pairs of observation and action for behaviour cloning.

Observations and actions are recorded raw. The expert of Reacher is a controller: inverse kinematics
of the arm and a joint PD law. Those of Swimmer and Hopper are linear policies that
`collapse.data.policy_search` found. Each is a function of the observation alone, but for the noise
that the config may add to its actions.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from collapse.artifacts import read_tensors, stored_digest
from collapse.data.catalogue import find, names
from collapse.data.kinds.demonstrations import Task
from collapse.data.policy_search import Found, Moments, Policy, search
from collapse.data.regressions import Array, check_targets
from collapse.data.spec import required
from collapse.data.tensors import Tensors
from collapse.errors import InputError

Expert = Callable[[Array], Array]

LINKS = 0.1, 0.11
"""Lengths of Reacher's links, to the joint and to the fingertip, in metres."""
GEAR = 200.0
"""Torque of Reacher's joints at action 1; their damping is 1, their inertia about 1."""
FREQUENCY = 10.0
"""Of the PD law, in rad/s; the damping ratio is 1."""
PACKAGES = ("gymnasium", "mujoco", "imageio", "packaging")
"""What the simulator needs; the last two even where nothing is rendered."""


def make(spec: Mapping[str, Any], policy: str | None) -> Tensors:
    """Return the demonstrations that the data job is told to make; see `demonstrate`."""
    name, seed, noise = required(spec, name=str, seed=int, action_noise=float | int)
    return demonstrate(name, policy, seed, noise)


def demonstrate(name: str, policy: str | Path | None, seed: int, noise: float = 0.0) -> Tensors:
    """Return the demonstrations of a task's expert, which may be a policy in a file.

    `seed` is that of the episodes' starts and of the noise: each action is the expert's plus
    Gaussian numbers of standard deviation `noise`. So it acts, within what the simulator allows,
    and so it is recorded.

    Raises
    ------
    InputError
        If the simulator is not installed, the policy is missing or not one of the task, or one of
        its actions does not vary.
    """
    task = find(name, Task)
    expert: Expert = reach
    digest = None
    if task.search:
        if policy is None:
            raise InputError(f"{name}: needs the file of a policy (--source)")
        expert, digest = read_policy(policy, task.expert or name, task), stored_digest(policy)
    if noise:
        expert = _noisy(expert, noise, seed)
    with simulator(name, task) as environment:
        arrays, returns = _record(environment, task, expert, seed)
    actions = [f"action[{index}]" for index in range(task.outputs)]
    for part in ("train", "test"):
        check_targets(name, arrays[f"{part}_targets"], actions)
    # The simulator's versions determine the episodes; the others are only needed to import it.
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES[:2])
    attributes = {
        "name": name,
        "inputs": [f"observation[{index}]" for index in range(task.inputs)],
        "targets": actions,
        "source": f"simulator {task.environment}, {versions}, seed {seed}",
        "policy": digest,
        "action_noise": float(noise),
        "mean_return": float(np.mean(returns)),
    }
    return Tensors(arrays, attributes)


def searched() -> list[str]:
    """Return the tasks whose policy is searched."""
    data_sets = {name: find(name) for name in names()}
    return [
        name
        for name, data_set in data_sets.items()
        if isinstance(data_set, Task) and data_set.searched
    ]


def find_policy(name: str, seed: int, progress: Callable[[str], None] = print) -> Found:
    """Search a policy for a task by its own settings.

    Raises
    ------
    InputError
        If the simulator is not installed.
    """
    task = find(name, Task)
    with simulator(name, task) as environment:

        def rollout(policy: Policy, start: int, moments: Moments | None) -> float:
            total = 0.0
            for observation, _, reward in _episode(environment, policy, start):
                # Less what staying alive is worth, or standing still would be a good policy.
                total += reward - task.search.shift
                if moments is not None:
                    moments.add(observation)
            return total

        return search(rollout, (task.outputs, task.inputs), task.search, seed, progress)


@contextmanager
def simulator(name: str, task: Task) -> Iterator[Any]:
    """Yield the environment of a task.

    Raises
    ------
    InputError
        If it is not installed: names what to install.
    """
    # Nothing is rendered, and a machine without a display must not fail for the want of one.
    os.environ.setdefault("MUJOCO_GL", "disabled")
    try:
        import gymnasium

        try:
            environment = gymnasium.make(task.environment)
        except gymnasium.error.Error as error:
            # Raised, too, where mujoco is missing: to the user it is the same.
            raise ImportError(str(error)) from None
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: the simulator cannot be loaded ({reason}): install {', '.join(PACKAGES)} "
            "at the versions of envs/requirements.txt"
        ) from None
    try:
        yield environment
    finally:
        environment.close()


def read_policy(path: str | Path, name: str, task: Task) -> Policy:
    """Read the policy of a task.

    Raises
    ------
    InputError
        If the file is missing, damaged, or no policy of this task.
    """
    tensors, attributes = read_tensors(path)
    if attributes.get("task") != name:
        raise InputError(f"{path}: not a policy of {name}, its task is {attributes.get('task')!r}")
    allowed = {
        "gain": (task.outputs, task.inputs),
        "mean": (task.inputs,),
        "std": (task.inputs,),
    }
    shapes = {key: tensors[key].shape for key in allowed if key in tensors}
    if shapes != allowed:
        raise InputError(f"{path}: not a policy of {name}, it holds {shapes}, allowed is {allowed}")
    return Policy(**{key: tensors[key] for key in allowed})


def reach(observation: Array) -> Array:
    """Return the torques of Reacher's expert, 2, each from -1 to 1.

    Inverse kinematics gives the joint angles that put the fingertip on the target, of the two
    solutions the one nearer to the arm; the joints follow a critically damped law,
    ``(w^2 dq - (2 w - 1) dq/dt) / 200`` with w of `FREQUENCY`, whose 1 is the joints' own damping.
    An observation begins with cosines and sines of both angles, the target's place and the angular
    velocities.
    """
    angles = np.arctan2(observation[2:4], observation[:2])
    (x, y), speeds = observation[4:6], observation[6:8]
    first, second = LINKS
    # A target out of reach has no cosine: clipped, the arm stretches or folds towards it.
    cosine = (x * x + y * y - first**2 - second**2) / (2 * first * second)
    bend = np.arccos(np.clip(cosine, -1.0, 1.0))
    offsets = []
    for elbow in (bend, -bend):
        shoulder = np.arctan2(y, x) - np.arctan2(
            second * np.sin(elbow), first + second * np.cos(elbow)
        )
        turn = np.array([shoulder, elbow]) - angles
        # The short way round.
        offsets.append((turn + np.pi) % (2 * np.pi) - np.pi)
    nearer = min(offsets, key=lambda turn: np.abs(turn).sum())
    return np.clip((FREQUENCY**2 * nearer - (2 * FREQUENCY - 1) * speeds) / GEAR, -1.0, 1.0)


def _noisy(expert: Expert, noise: float, seed: int) -> Expert:
    # A stream of its own: the episodes start where those without noise do.
    source = np.random.default_rng([seed, 1])

    def act(observation: Array) -> Array:
        action = expert(observation)
        return action + noise * source.standard_normal(action.shape)

    return act


def _episode(environment: Any, expert: Expert, start: int) -> Iterator[tuple[Array, Array, float]]:
    """Yield observation, action and reward of each step."""
    observation, _ = environment.reset(seed=start)
    over = False
    while not over:
        action = expert(observation)
        following, reward, terminated, truncated, _ = environment.step(action)
        yield observation, action, float(reward)
        observation, over = following, terminated or truncated


def _record(
    environment: Any, task: Task, expert: Expert, seed: int
) -> tuple[dict[str, Array], list[float]]:
    """Return the pairs of training and testing, and the returns of all episodes played."""
    # More starts than episodes are ever played; test episodes go on where training ones ended.
    starts = iter(np.random.default_rng(seed).integers(2**31, size=2**16).tolist())
    arrays, returns = {}, []
    for part, count, stride in (
        ("train", task.train_count, 1),
        ("test", task.test_count, task.test_stride),
    ):
        pairs: list[tuple[Array, Array]] = []
        # An episode may end early: as many are played as it takes.
        while len(pairs) < count:
            episode = list(_episode(environment, expert, next(starts)))
            pairs += [(observation, action) for observation, action, _ in episode[::stride]]
            returns.append(sum(reward for *_, reward in episode))
        inputs, targets = (np.array(column) for column in zip(*pairs[:count], strict=True))
        # Reacher's observation had a constant zero at the end when the paper's data were made.
        missing = task.inputs - inputs.shape[1]
        arrays[f"{part}_inputs"] = np.pad(inputs, ((0, 0), (0, missing)))
        arrays[f"{part}_targets"] = targets
    return arrays, returns
