"""Regression over free features: Z = W H + b 1^T against real targets.

Objective of one problem, with columns as samples and M samples in all::

    1/(2M) ||W H + b 1^T - Y||_F^2 + feature_decay/(2M) ||H||_F^2 + weight_decay/2 ||W||_F^2

The bias is not penalised. Source: Andriopoulos et al., "The Prevalence of Neural Collapse in
Neural Multivariate Regression" (NeurIPS 2024), the UFM of its Sec. 4. It is the deep linear
problem of one layer whose feature penalty is a mean over samples, not a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from collapse.problems.deep_linear import DeepLinear
from collapse.problems.parameters import Parameters

# The targets are part of the problem, not of a run: every seed starts from its own W and H.
TARGET_SEED = 0


class Regression(DeepLinear):
    """A batch of regression problems of one shape, a deep linear problem of one layer.

    `feature_decay` holds what penalises the plain sum over samples, feature_decay/M.
    """

    def reduced(self, start: Parameters) -> tuple[DeepLinear, Parameters, Tensor]:
        """Return an equivalent problem in F = H Q/sqrt(M), where one learning rate suits all.

        In H every gradient carries 1/M, in W none. With F, Y Q/sqrt(M) and 1^T Q/sqrt(M) the
        objective is 1/2 ||W F + b 1^T - Y||^2 + M feature_decay/2 ||F||^2 + weight_decay/2
        ||W||^2: gradient descent, no longer one on H, sees no M and conserves W^T W - H H^T/M
        in the limit of small steps without decay. Q spans what H can reach, as in `DeepLinear`.

        Returns
        -------
        problem, start
            In F.
        basis : Tensor
            sqrt(M) Q^T, (B, C, M), so that H = F @ basis.
        """
        problem, start, basis = super().reduced(start)
        samples = self.targets.shape[1]
        # Not fewer columns: the samples themselves, so that F = H/sqrt(M).
        if basis is None:
            basis = torch.eye(samples, dtype=self.targets.dtype, device=self.targets.device)
            basis = basis.expand(self.batch, -1, -1)
        root = samples**0.5
        problem = replace(
            problem,
            targets=problem.targets / root,
            ones=problem.ones / root,
            feature_decay=problem.feature_decay * samples,
            # Y/sqrt(M) and F carry the factor 1/M already.
            samples=1,
        )
        return problem, start.replaced(H=start.features / root), basis * root


def draw_targets(problem: Mapping) -> Tensor:
    """Return targets of exactly the covariance that is asked for, n x M, float64.

    Gaussian samples whose mean and covariance (1/M) are set to the problem's ``target_mean`` (n, or
    None for 0) and ``target_covariance`` (n x n, positive semidefinite); ``samples`` M > n.
    """
    covariance = torch.tensor(problem["target_covariance"], dtype=torch.float64)
    generator = torch.Generator().manual_seed(TARGET_SEED)
    shape = len(covariance), problem["samples"]
    whitened = torch.randn(shape, generator=generator, dtype=torch.float64)
    # Twice: the second pass removes what rounding left of the first.
    for _ in range(2):
        whitened = whitened - whitened.mean(1, keepdim=True)
        factor = torch.linalg.cholesky(whitened @ whitened.T / shape[1])
        whitened = torch.linalg.solve_triangular(factor, whitened, upper=False)
    # The symmetric root: unlike a Cholesky factor it exists for a singular covariance.
    eigenvalues, axes = torch.linalg.eigh(covariance)
    targets = (axes * eigenvalues.clamp_min(0).sqrt()) @ axes.T @ whitened
    if problem["target_mean"] is not None:
        targets = targets + torch.tensor(problem["target_mean"], dtype=torch.float64).unsqueeze(1)
    return targets


def answers(config: Mapping) -> Tensor:
    """Return the targets that a run is measured against, M x n."""
    return draw_targets(config["problem"]).T.contiguous()


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> Regression:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem`` (target_covariance, target_mean, samples, dim, bias: the same
    for all), ``weight_decay`` and ``feature_decay``.
    """
    shape = configs[0]["problem"]
    options = {"dtype": torch.float64, "device": device}
    weight_decays = [
        torch.tensor(config["weight_decay"], **options).reshape(1) for config in configs
    ]
    feature_decays = torch.tensor([config["feature_decay"] for config in configs], **options)
    return Regression(
        targets=draw_targets(shape).to(device),
        widths=(shape["dim"],),
        weight_decay=torch.stack(weight_decays),
        # The objective penalises the mean over samples, a deep linear problem the sum.
        feature_decay=feature_decays / shape["samples"],
        bias=shape["bias"],
    )
