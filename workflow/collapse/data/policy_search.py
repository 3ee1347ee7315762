"""Augmented random search for linear policies (Mania, Guy and Recht 2018, arXiv 1803.07055)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collapse.data.kinds.demonstrations import Search

Array = NDArray[np.float64]
EVALUATE_EVERY = 10
"""Iterations between two evaluations of the policy itself."""
EVALUATIONS = 3
"""Episodes of an evaluation."""


@dataclass(frozen=True)
class Policy:
    """A linear policy: action = clip(gain @ ((observation - mean) / std), -1, 1).

    The gain is n x F, mean and standard deviation are F each.
    """

    gain: Array
    mean: Array
    std: Array

    def __call__(self, observation: Array) -> Array:
        """Return the action, n, at an observation, F."""
        return np.clip(self.gain @ ((observation - self.mean) / self.std), -1.0, 1.0)


@dataclass
class Moments:
    """Running mean and variance of the observations seen so far (Welford's algorithm)."""

    count: int
    mean: Array
    squares: Array

    def add(self, observation: Array) -> None:
        """Take one more observation into account."""
        self.count += 1
        offset = observation - self.mean
        self.mean += offset / self.count
        self.squares += offset * (observation - self.mean)

    @property
    def std(self) -> Array:
        """Standard deviation, 1 where it is zero or there are fewer than two observations."""
        std = np.sqrt(self.squares / max(self.count, 1))
        return np.where(std > 1e-8, std, 1.0)


Rollout = Callable[[Policy, int, Moments | None], float]
"""Plays an episode of a policy from a start of the given seed; gives its return, less the shift of
every step, and adds its observations to the moments, if there are any."""


@dataclass(frozen=True)
class Found:
    """The best policy of all evaluations of a search.

    Its `score` is the mean return, less the shift of every step, over the evaluation's episodes;
    `episodes` were played until then, evaluations left out.
    """

    policy: Policy
    score: float
    episodes: int


def search(
    rollout: Rollout,
    shape: tuple[int, int],
    settings: Search,
    seed: int,
    progress: Callable[[str], None] = print,
) -> Found:
    """Search a linear policy: algorithm V2-t, with observations normalised as they come in.

    From gain 0, n x F (`shape`), each iteration plays N perturbations in both signs and steps along
    the b best, weighted by their difference of returns over the standard deviation of these 2b
    returns. `seed` is that of perturbations and starts; `progress` is called with a line at every
    evaluation.
    """
    generator = np.random.default_rng(seed)
    gain = np.zeros(shape)
    moments = Moments(0, np.zeros(shape[1]), np.zeros(shape[1]))
    best: Found | None = None
    for iteration in range(1, settings.iterations + 1):
        # The normalisation of an iteration stays as it was at its beginning, hence the copy.
        policy = Policy(gain, moments.mean.copy(), moments.std)
        noise = generator.standard_normal((settings.directions, *shape))
        starts = generator.integers(2**31, size=settings.directions).tolist()
        moves = settings.noise * noise
        # Both signs from one start: their difference is the perturbation's, not the start's.
        returns = np.array(
            [
                [rollout(_moved(policy, sign * move), start, moments) for sign in (1, -1)]
                for move, start in zip(moves, starts, strict=True)
            ]
        )
        order = np.argsort(-returns.max(1), kind="stable")[: settings.best]
        spread = returns[order].std()
        slope = np.einsum("k,kij->ij", returns[order, 0] - returns[order, 1], noise[order])
        # All returns the same: no direction is better.
        if spread > 0:
            gain = gain + settings.step / (settings.best * spread) * slope
        if iteration % EVALUATE_EVERY == 0 or iteration == settings.iterations:
            policy = Policy(gain, moments.mean.copy(), moments.std)
            # A generator of their own: how often is evaluated must not change the search.
            starts = np.random.default_rng([seed, iteration]).integers(2**31, size=EVALUATIONS)
            score = float(np.mean([rollout(policy, start, None) for start in starts.tolist()]))
            episodes = 2 * settings.directions * iteration
            progress(f"{episodes} episodes: return {score:.1f}")
            if best is None or score > best.score:
                best = Found(policy, score, episodes)
    return best


def _moved(policy: Policy, by: Array) -> Policy:
    return Policy(policy.gain + by, policy.mean, policy.std)
