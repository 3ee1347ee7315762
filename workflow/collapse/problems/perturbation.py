"""Features held near a given matrix: the model of Tirer et al. 2023, W eliminated.

Objective of one problem, H (d x N) grouped by class, K classes of n samples, Y = I_K (x) 1_n^T::

    min_W 1/(2Kn) ||W H - Y||_F^2 + weight_decay/(2K) ||W||_F^2
        + feature_decay/(2Kn) ||H||_F^2 + beta/(2Kn) ||H - H_0||_F^2

H_0 is where the problem starts. Without a beta the last term is missing: its gradient flow, in the
time of `Perturbation.speed`, is the central-path flow (Eq. 4). Source: Tirer, Huang, Niles-Weed,
"Perturbation Analysis of Neural Collapse" (ICML 2023), Eq. 1 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters

# From here on the minimiser is within 1 % of H_0 at decays of order one: a safe first guess.
LARGEST_BETA = 100.0
# Class means that differ by less, relative to the features, do not differ.
ROUNDING = 1e-13
# Size of what leaves a row of zeros, relative to the features: far above a gradient's tolerance,
# and small beside all that is not zero.
NUDGE = 1e-3
# Beta shrinks by at most this factor from stage to stage of the continuation.
CONTINUATION = 4.0


@dataclass(frozen=True)
class Perturbation(Problem):
    """A batch of problems of one shape.

    Attributes
    ----------
    classes, samples_per_class, dim
        K, n and d.
    weight_decay, feature_decay
        (B,).
    beta
        (B,), or None where nothing holds the features.
    anchor
        H_0, (B, d, N), once the start is known.
    """

    classes: int
    samples_per_class: int
    dim: int
    weight_decay: Tensor
    feature_decay: Tensor
    beta: Tensor | None = None
    anchor: Tensor | None = None

    @property
    def batch(self) -> int:
        """The number of problems, B."""
        return len(self.weight_decay)

    @property
    def total(self) -> int:
        """The number of samples, N = K n."""
        return self.classes * self.samples_per_class

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Free features only: W is eliminated."""
        return {"H": (self.dim, self.total)}

    @property
    def device(self) -> torch.device:
        """Where the problem's tensors live."""
        return self.weight_decay.device

    @property
    def speed(self) -> float:
        """K n: Eq. 4 follows the gradient of the sum over samples, the objective is a mean."""
        return float(self.total)

    @cached_property
    def _targets(self) -> Tensor:
        """Y, K x N."""
        labels = torch.eye(self.classes).to(self.weight_decay)
        return labels.repeat_interleave(self.samples_per_class, 1)

    @cached_property
    def _ridge(self) -> Tensor:
        """What W's penalty adds to H H^T: n weight_decay I, (B, d, d)."""
        identity = torch.eye(self.dim).to(self.weight_decay)
        return self.samples_per_class * self.weight_decay.view(-1, 1, 1) * identity

    def select(self, index: slice) -> Perturbation:
        """Return the problems of a slice of the batch."""
        return replace(
            self,
            weight_decay=self.weight_decay[index],
            feature_decay=self.feature_decay[index],
            beta=None if self.beta is None else self.beta[index],
            anchor=None if self.anchor is None else self.anchor[index],
        )

    def posed_at(self, start: Parameters) -> Perturbation:
        """Return the problem whose H_0 is the start."""
        return self if self.beta is None else replace(self, anchor=start.features)

    def start_fault(self, start: Parameters) -> tuple[int, str] | None:
        """Return which problem has an H_0 that is not finite, or without Sigma_B, if any."""
        features = start.features
        # Over the largest entry: squares of numbers that are finite may not be.
        largest = features.abs().amax((1, 2), keepdim=True)
        means = (features / largest).unflatten(2, (self.classes, -1)).mean(3)
        spread = (means - means.mean(2, keepdim=True)).abs().amax((1, 2))
        # Equal numbers have a mean that differs from them by rounding.
        for wrong, what in (
            (~features.isfinite().all(2).all(1), "H_0 is not finite"),
            (~(spread > ROUNDING), "H_0 has class means that do not differ"),
        ):
            if wrong.any():
                return int(wrong.nonzero()[0]), what
        return None

    def homotopy(self, start: Parameters) -> Iterator[Perturbation]:
        """Yield the problems of falling beta that lead from H_0 to the minimiser of its branch."""
        if self.beta is None:
            yield self
            return
        span = torch.log(LARGEST_BETA / self.beta).clamp_min(0)
        # From elsewhere than H_0 no path is known.
        span = span.masked_fill((start.features != self.anchor).flatten(1).any(1), 0.0)
        # As many stages for each problem as beta asks for, whatever its neighbours' betas are.
        needed = torch.ceil(span / math.log(CONTINUATION))
        for left in range(int(needed.max()), -1, -1):
            share = (left / needed.clamp_min(1)).clamp_max(1)
            yield replace(self, beta=self.beta * torch.exp(share * span))

    def unstuck(self, parameters: Parameters) -> Parameters:
        """Return features whose rows of zeros, or nearly, are a little larger, at random.

        The gradient in such a row (a dead unit of a network's layer) is zero whether or not it is
        a minimum: with R = W H - Y it is none where the largest eigenvalue of R R^T is above
        n weight_decay (feature_decay + beta).
        """
        features = parameters.features
        size = features.square().mean((1, 2), keepdim=True).sqrt()
        dead = features.square().mean(2, keepdim=True).sqrt() < NUDGE * size
        if not dead.any():
            return parameters
        # The same for all problems: none depends on its neighbours.
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(features.shape[1:], generator=generator, dtype=features.dtype)
        return Parameters(H=torch.where(dead, NUDGE * size * noise.to(features), features))

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem at the best W, (B,)."""
        features = parameters.features
        _, weights = self.weights(features)
        # Squares alone: of a difference that is small beside its terms few digits are left.
        fit = (weights @ features - self._targets).square().sum((1, 2)) / self.samples_per_class
        fit = fit + self.weight_decay * weights.square().sum((1, 2))
        penalty = self.feature_decay * features.square().sum((1, 2)) / self.total
        if self.anchor is not None:
            distance = (features - self.anchor).square().sum((1, 2))
            penalty = penalty + self.beta * distance / self.total
        return (fit / self.classes + penalty) / 2

    def weights(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return class means M, (B, d, K), and W*(H) = Y H^T (H H^T + n weight_decay I)^-1.

        W is NaN where rounding leaves that matrix without an inverse, and so is the objective.
        """
        # Y H^T = n M^T, M the class means.
        sums = features @ self._targets.mT
        weights, failed = torch.linalg.solve_ex(self._gram(features), sums)
        # Its neighbours in the batch are none the worse for it.
        weights = weights.masked_fill((failed != 0).view(-1, 1, 1), torch.nan)
        return sums / self.samples_per_class, weights.mT

    def _gram(self, features: Tensor) -> Tensor:
        """Return H H^T + n weight_decay I, (B, d, d)."""
        return torch.baddbmm(self._ridge, features, features.mT)

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return [W^T (W H - Y) + feature_decay H + beta (H - H_0)]/(K n), W = W*(H)."""
        features = parameters.features
        _, weights = self.weights(features)
        residual = weights @ features - self._targets
        slope = weights.mT @ residual + self.feature_decay.view(-1, 1, 1) * features
        if self.anchor is not None:
            slope = slope + self.beta.view(-1, 1, 1) * (features - self.anchor)
        return Parameters(H=slope / self.total)

    def hessian(self, parameters: Parameters) -> Tensor:
        """Return the second derivatives of each problem in H, (B, d N, d N).

        With A = H H^T + n weight_decay I and R = W H - Y, dW = -(R dH^T + W dH H^T) A^-1 at the
        best W; put into the gradient's differential, it leaves products of small matrices.
        """
        features = parameters.features
        _, weights = self.weights(features)
        residual = weights @ features - self._targets
        gram, pulled = self._gram(features), weights.mT @ residual
        # Where there is no inverse W is NaN already, and all that follows.
        (solved, _), (inverse, _) = torch.linalg.solve_ex(gram, features), torch.linalg.inv_ex(gram)
        identity = torch.eye(self.total).to(features)
        # Each term is the product of what dH is multiplied by, from the left and from the right.
        crossed = torch.einsum("zib,zja->ziajb", solved, pulled)
        curvature = (
            torch.einsum("zij,zab->ziajb", weights.mT @ weights, identity - features.mT @ solved)
            - torch.einsum("zij,zab->ziajb", inverse, residual.mT @ residual)
            - crossed
            - torch.einsum("ziajb->zjbia", crossed)
        )
        matrix = curvature.flatten(3).flatten(1, 2)
        pull = self.feature_decay if self.anchor is None else self.feature_decay + self.beta
        matrix.diagonal(dim1=1, dim2=2).add_(pull.view(-1, 1))
        return matrix / self.total

    def optimum(self, seeds: Sequence[int]) -> Parameters:
        """Return the minimiser H* = sqrt(rho) R (x) 1_n^T without beta, R^T R = I_K random.

        c = sqrt(weight_decay feature_decay) < 1, rho = (1 - c) sqrt(weight_decay/feature_decay).
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = self.dim, self.classes
        drawn = [torch.randn(shape, generator=g, dtype=torch.float64) for g in generators]
        frames = torch.stack([torch.linalg.qr(matrix).Q for matrix in drawn]).to(self.device)
        decay = (self.weight_decay * self.feature_decay).sqrt()
        scale = ((1 - decay) * (self.weight_decay / self.feature_decay).sqrt()).sqrt()
        means = scale.view(-1, 1, 1) * frames
        return Parameters(H=means.repeat_interleave(self.samples_per_class, 2))

    def stiffness(self, parameters: Parameters) -> Tensor:
        """Return the largest rate at which Eq. 4 contracts within-class features, (B,).

        The largest eigenvalue of W^T W, plus feature_decay.
        """
        _, weights = self.weights(parameters.features)
        return torch.linalg.matrix_norm(weights, 2).square() + self.feature_decay


def answers(config: Mapping) -> Tensor:
    """Return the labels, N, grouped by class."""
    problem = config["problem"]
    return torch.arange(problem["classes"]).repeat_interleave(problem["samples_per_class"])


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> Perturbation:
    """Return the batch of problems that resolved configs of one shape describe.

    Parameters
    ----------
    configs
        One per problem: ``problem`` (classes, samples_per_class, dim: the same for all; beta),
        ``weight_decay`` and ``feature_decay``.
    device
        Where the problems live.
    """
    shape = configs[0]["problem"]

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    betas = [config["problem"]["beta"] for config in configs]
    return Perturbation(
        **{key: shape[key] for key in ("classes", "samples_per_class", "dim")},
        weight_decay=column([config["weight_decay"] for config in configs]),
        feature_decay=column([config["feature_decay"] for config in configs]),
        beta=None if betas[0] is None else column(betas),
    )
