"""Mixup over free features: one for each pair of classes and each mix, under a linear classifier.

Objective of one problem, K classes, y = lambda e_i + (1 - lambda) e_j::

    1/K^2 sum_{i,j} E_lambda[loss(W h_ij, y) + feature_decay/2 ||h_ij||^2]
        + weight_decay/2 ||W||_F^2

with lambda ~ Beta(alpha, alpha) at the nodes of a Gauss quadrature. The loss is cross-entropy, or
half the squared error; there is no bias. W is a given simplex ETF, whose penalty is left out, or
free. The pair (j, i) at 1 - lambda is the pair (i, j) at lambda: pairs i < j stand for both, with
twice the weight. A pair (i, i) has the same label at every lambda, and one feature.

Source: Fisher, Meng, Papyan, "Pushing Boundaries: Mixup's Influence on Neural Collapse" (ICLR 2024,
arXiv 2402.06171), whose theorem takes W for an ETF; the constants are as written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.quadrature import beta_nodes
from collapse.simplex import simplex_etf

# The given classifier is the same for all runs of a shape.
CLASSIFIER_SEED = 0


class Columns(NamedTuple):
    """What the N columns of H are: K of one class, then every node of each pair i < j.

    Attributes
    ----------
    first, second
        Classes i and j, (N,) int64; equal in the first K columns.
    mix
        lambda, the weight of i; 1 in the first K columns.
    weight
        Each column's share of the mean over ordered pairs and lambda, of sum 1.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    mix: NDArray[np.float64]
    weight: NDArray[np.float64]


def columns(problem: Mapping) -> Columns:
    """Return the columns of a config's ``problem`` (``classes``, ``alpha``, ``nodes``)."""
    classes, count = problem["classes"], problem["nodes"]
    mix, share = beta_nodes(problem["alpha"], count)
    pairs = np.array(list(combinations(range(classes), 2)))
    own = np.arange(classes)
    return Columns(
        first=np.concatenate([own, pairs[:, 0].repeat(count)]),
        second=np.concatenate([own, pairs[:, 1].repeat(count)]),
        mix=np.concatenate([np.ones(classes), np.tile(mix, len(pairs))]),
        # Both orders of a pair.
        weight=np.concatenate([np.ones(classes), np.tile(2 * share, len(pairs))]) / classes**2,
    )


def classifier(problem: Mapping) -> Tensor:
    """Return the given simplex ETF, K x d with rows of norm ``classifier_norm``, float64.

    One random rotation for all runs. ``problem`` is the config's section, with ``classes``, ``dim``
    and ``classifier_norm``.
    """
    generator = torch.Generator().manual_seed(CLASSIFIER_SEED)
    shape = problem["dim"], problem["classes"] - 1
    rotation = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64)).Q
    return problem["classifier_norm"] * simplex_etf(rotation)


@dataclass(frozen=True)
class Mixup(Problem):
    """A batch of problems of one shape.

    Attributes
    ----------
    targets
        The columns' labels, (B, K, N).
    weight
        The columns' shares of the mean, (B, N).
    feature_decay
        (B,).
    dim
        d.
    loss
        ``ce`` or ``mse``.
    classifier
        The given W, (B, K, d), or None where it is free.
    weight_decay
        (B,), or None where W is given.
    stretch
        (B, N): the features are H times it, column by column; None for H itself.
    """

    targets: Tensor
    weight: Tensor
    feature_decay: Tensor
    dim: int
    loss: str = "ce"
    classifier: Tensor | None = None
    weight_decay: Tensor | None = None
    stretch: Tensor | None = None

    @property
    def batch(self) -> int:
        """The number of problems, B."""
        return len(self.targets)

    @property
    def device(self) -> torch.device:
        """That of the targets."""
        return self.targets.device

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """That of H and, where the classifier is free, of W."""
        classes, total = self.targets.shape[1:]
        free = {"W1": (classes, self.dim)} if self.classifier is None else {}
        return {"H": (self.dim, total), **free}

    def select(self, index: slice) -> Mixup:
        """Return the problems of a slice of the batch."""
        names = (
            "targets", "weight", "feature_decay", "classifier", "weight_decay", "stretch"
        )  # fmt: skip
        held = {name: getattr(self, name) for name in names}
        return replace(self, **{name: t[index] for name, t in held.items() if t is not None})

    def _weights(self, parameters: Parameters) -> Tensor:
        return parameters.weights[0] if self.classifier is None else self.classifier

    def _features(self, parameters: Parameters) -> Tensor:
        features = parameters.features
        return features if self.stretch is None else features * self.stretch.unsqueeze(1)

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""
        weights, features = self._weights(parameters), self._features(parameters)
        logits = weights @ features
        if self.loss == "mse":
            fit = (logits - self.targets).square().sum(1) / 2
        else:
            fit = _cross_entropy(logits, self.targets)
        penalty = self.feature_decay.unsqueeze(1) * features.square().sum(1) / 2
        value = (self.weight * (fit + penalty)).sum(1)
        if self.weight_decay is not None:
            value = value + self.weight_decay * weights.square().sum((1, 2)) / 2
        return value

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return q (W^T (p - y) + feature_decay h) by column and, of a free W, its gradient.

        q is a column's share, p the probabilities, or the logits themselves with MSE.
        """
        weights, features = self._weights(parameters), self._features(parameters)
        logits, share = weights @ features, self.weight.unsqueeze(1)
        output = logits if self.loss == "mse" else logits.softmax(1)
        residual = share * (output - self.targets)
        slope = weights.mT @ residual + self.feature_decay.view(-1, 1, 1) * share * features
        if self.stretch is not None:
            slope = slope * self.stretch.unsqueeze(1)
        if self.classifier is not None:
            return Parameters(H=slope)
        decayed = self.weight_decay.view(-1, 1, 1) * weights
        return Parameters(H=slope, W1=residual @ features.mT + decayed)

    def hessian(self, parameters: Parameters) -> Tensor:
        """Return the second derivatives of each problem in all its variables, (B, V, V).

        Under a given W no two columns have a term in common: each has a block of d x d.
        """
        if self.classifier is None:
            return super().hessian(parameters)
        logits = self.classifier @ self._features(parameters)
        if self.loss == "mse":
            curvature = torch.eye(logits.shape[1]).to(logits).expand(*logits.mT.shape, -1)
        else:
            p = logits.softmax(1).mT
            curvature = p.diag_embed() - p.unsqueeze(3) * p.unsqueeze(2)
        share = self.weight if self.stretch is None else self.weight * self.stretch.square()
        weights = self.classifier.unsqueeze(1)
        blocks = weights.mT @ curvature @ weights
        blocks.diagonal(dim1=2, dim2=3).add_(self.feature_decay.view(-1, 1, 1))
        blocks = blocks * share[:, :, None, None]
        # Of entry a of column c and entry b of column e: 0 unless c = e.
        whole = blocks.permute(0, 2, 3, 1).diag_embed()
        return whole.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)

    def decoupled(
        self, start: Parameters
    ) -> tuple[Mixup, Parameters, Callable[[Parameters], Parameters]]:
        """Return, under a given W, a problem for each column, without its share of the mean."""
        if self.classifier is None:
            return super().decoupled(start)
        batch, total = self.weight.shape

        def columnwise(tensor: Tensor) -> Tensor:
            return tensor.mT.flatten(0, 1).unsqueeze(2)

        def joined(parts: Parameters) -> Parameters:
            return Parameters(H=parts.features.squeeze(2).unflatten(0, (batch, total)).mT)

        parts = replace(
            self,
            targets=columnwise(self.targets),
            weight=self.weight.new_ones(batch * total, 1),
            feature_decay=self.feature_decay.repeat_interleave(total),
            classifier=self.classifier.repeat_interleave(total, 0),
        )
        return parts, Parameters(H=columnwise(start.features)), joined

    def reduced(self, start: Parameters) -> tuple[Mixup, Parameters, Tensor]:
        """Return an equivalent problem in F = H sqrt(q), where one learning rate suits all.

        In H the gradient of a column carries its share q of the mean. In F its penalty is
        feature_decay/2 ||F||^2, and no curvature depends on q.

        Returns
        -------
        problem, start
            In F.
        basis : Tensor
            diag(1/sqrt(q)), (B, N, N), so that H = F @ basis.
        """
        stretch = self.weight.rsqrt()
        inside = start.replaced(H=start.features / stretch.unsqueeze(1))
        return replace(self, stretch=stretch), inside, stretch.diag_embed()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each column, (B, N), of full relative precision near 0 too.

    A logarithm of the sum of exponentials would lose the digits of a probability close to 1: the
    largest class is left out of the sum.
    """
    largest = logits.argmax(1, keepdim=True)
    below = logits - logits.gather(1, largest)
    others = below.exp().scatter(1, largest, 0.0).sum(1)
    return others.log1p() - (targets * below).sum(1)


def answers(config: Mapping) -> None:
    """Return None: a mixed feature has no label."""
    return


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> Mixup:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem`` (classes, dim, loss, classifier, nodes: the same for all; alpha
    and classifier_norm), ``feature_decay`` and, where the classifier is free, ``weight_decay``.
    """
    problems = [config["problem"] for config in configs]
    shape, free = problems[0], problems[0]["classifier"] == "free"

    def column(key: str) -> Tensor:
        return torch.tensor([config[key] for config in configs], dtype=torch.float64, device=device)

    parts = [columns(problem) for problem in problems]
    labels = np.eye(shape["classes"])
    targets = [
        labels[:, part.first] * part.mix + labels[:, part.second] * (1 - part.mix) for part in parts
    ]
    return Mixup(
        targets=torch.from_numpy(np.stack(targets)).to(device),
        weight=torch.from_numpy(np.stack([part.weight for part in parts])).to(device),
        feature_decay=column("feature_decay"),
        dim=shape["dim"],
        loss=shape["loss"],
        classifier=None if free else torch.stack([*map(classifier, problems)]).to(device),
        weight_decay=column("weight_decay") if free else None,
    )
