"""The deep unconstrained features model (DUFM): free features under L layers with ReLUs between.

Objective of one problem, H (d_1 x N) grouped by class, K classes of n samples, N = K n,
Y = I_K (x) 1_n^T::

    1/(2N) ||W_L relu(W_(L-1) ... relu(W_1 H)) - Y||_F^2
        + sum_l weight_decay_l/2 ||W_l||_F^2 + feature_decay/2 ||H||_F^2

H_1 = H has no ReLU, H_2 = W_1 H_1 to H_L have one each, and there is no bias. Source: Sukenik,
Lampert, Mondelli, "Neural collapse versus low-rank bias: Is deep neural collapse really optimal?"
(NeurIPS 2024, arXiv 2405.14468).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters

_HALVINGS = 200
"""Of an interval of length below 1: more than the digits of float64."""


@dataclass(frozen=True)
class DUFM(Problem):
    """A batch of problems of one shape.

    Attributes
    ----------
    classes, samples_per_class
        K and n.
    widths
        d_1 to d_L.
    weight_decay
        lambda_1 to lambda_L, (B, L).
    feature_decay
        (B,).
    """

    classes: int
    samples_per_class: int
    widths: tuple[int, ...]
    weight_decay: Tensor
    feature_decay: Tensor

    @property
    def batch(self) -> int:
        """The number of problems, B."""
        return len(self.weight_decay)

    @property
    def depth(self) -> int:
        """The number of layers, L."""
        return len(self.widths)

    @property
    def total(self) -> int:
        """The number of samples, N = K n."""
        return self.classes * self.samples_per_class

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """H is d_1 x N, W_l is d_(l+1) x d_l and W_L is K x d_L."""
        rows = (*self.widths[1:], self.classes)
        weights = {
            f"W{layer}": shape
            for layer, shape in enumerate(zip(rows, self.widths, strict=True), 1)
        }  # fmt: skip
        return {"H": (self.widths[0], self.total), **weights}

    @property
    def device(self) -> torch.device:
        """Where the problem's tensors live."""
        return self.weight_decay.device

    @cached_property
    def _targets(self) -> Tensor:
        """Y, K x N."""
        labels = torch.eye(self.classes).to(self.weight_decay)
        return labels.repeat_interleave(self.samples_per_class, 1)

    def draw(self, name: str, generator: torch.Generator, scale: Tensor) -> Tensor:
        """Draw one variable of one problem: variance scale^2 in H, scale^2/d_l in W_l."""
        drawn = super().draw(name, generator, scale)
        return drawn if name == "H" else drawn / drawn.shape[1] ** 0.5

    def select(self, index: slice) -> DUFM:
        """Return the problems of a slice of the batch."""
        decays = self.weight_decay[index], self.feature_decay[index]
        return replace(self, weight_decay=decays[0], feature_decay=decays[1])

    def _outputs(self, parameters: Parameters) -> tuple[list[Tensor], Tensor]:
        """Return the inputs of W_1 to W_L, behind their ReLUs, (B, d_l, N), and Z, (B, K, N)."""
        *hidden, last = parameters.weights
        inputs = [parameters.features]
        for weight in hidden:
            inputs.append((weight @ inputs[-1]).relu())
        return inputs, last @ inputs[-1]

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""
        _, outputs = self._outputs(parameters)
        fit = (outputs - self._targets).square().sum((1, 2)) / self.total
        squares = [weight.square().sum((1, 2)) for weight in parameters.weights]
        penalty = (self.weight_decay * torch.stack(squares, 1)).sum(1)
        return (fit + penalty + self.feature_decay * parameters.features.square().sum((1, 2))) / 2

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the objective's gradient, by one pass back through the layers.

        With R = (Z - Y)/N and D_l = W_l^T D_(l+1) where H_l > 0 (D_(L+1) = R) it is D_(l+1) A_l^T
        + weight_decay_l W_l in W_l, A_l what W_l gets, and W_1^T D_2 + feature_decay H in H.
        """
        inputs, outputs = self._outputs(parameters)
        weights = parameters.weights
        back = (outputs - self._targets) / self.total
        slopes: dict[str, Tensor] = {}
        for layer in range(self.depth, 0, -1):
            weight, entering = weights[layer - 1], inputs[layer - 1]
            decay = self.weight_decay[:, layer - 1].view(-1, 1, 1)
            slopes[f"W{layer}"] = torch.baddbmm(decay * weight, back, entering.mT)
            back = weight.mT @ back
            if layer > 1:
                # What is behind a ReLU is positive exactly where it lets through.
                back = back * (entering > 0)
        slopes["H"] = back + self.feature_decay.view(-1, 1, 1) * parameters.features
        return Parameters(**{name: slopes[name] for name in parameters.named})

    def collapsed(self, edges: int) -> Parameters:
        """Return the stationary scale of a collapsed solution, samples of a class all alike.

        The first `edges` classes are the edges of a complete graph of r vertices, C(r, 2) of them,
        every other class has an axis of its own: deep neural collapse (DNC). With B the r x K
        vertex-edge incidence, the graph's H_2 to H_(L-1) are multiples of B, of rank r, and H_L of
        J - B^T B, whose ReLU is the adjacency of the Kneser graph, strongly regular (SRG) and of
        rank K; W_L inverts it. Reconstructed from the paper's Fig. 1 and its theorem.

        All penalties of a block are equal at its best scale, which makes each factor's norm follow
        from that of its shape.

        Raises
        ------
        InputError
            If the decays leave no such solution but zero.
        """
        blocks = [_graph(edges, self.depth)] if edges else []
        blocks += [[torch.ones(1, 1, dtype=self.dtype)] * (self.depth + 1)] * (self.classes - edges)
        scaled = [self._scaled(block) for block in blocks]
        shapes = [(self.widths[0], self.classes), *list(self.shapes.values())[1:]]
        factors = [
            _block_diagonal([block[number] for block in scaled], shape)
            for number, shape in enumerate(shapes)
        ]
        means, *weights = (factor.to(self.device) for factor in factors)
        return Parameters.of_head(means.repeat_interleave(self.samples_per_class, 2), weights)

    def _scaled(self, shapes: Sequence[Tensor]) -> list[Tensor]:
        """Return the factors of a block, H first, at the best scale of each problem, (B, ., .)."""
        order = self.depth + 1
        # A mean over samples costs what n equal ones do.
        decays = torch.cat(
            [self.samples_per_class * self.feature_decay.view(-1, 1), self.weight_decay], 1
        ).cpu()
        squares = torch.stack([shape.square().sum() for shape in shapes])
        # Each root before the product, which may leave double precision.
        level = (decays * squares).pow(1 / order).prod(1)
        # What the block's own output is held to: its share of the fit.
        output = _largest_root(level * self.classes / len(shapes[-1]), self.depth)
        penalty = (level * output.pow(2 / order)).unsqueeze(1)
        lengths = (penalty / (decays * squares)).sqrt()
        return [
            length.view(-1, 1, 1) * shape
            for length, shape in zip(lengths.unbind(1), shapes, strict=True)
        ]


def _graph(edges: int, depth: int) -> list[Tensor]:
    """Return the shapes of H, W_1 to W_L of classes that are the edges of a complete graph."""
    vertices = round((1 + (1 + 8 * edges) ** 0.5) / 2)
    ends = torch.combinations(torch.arange(vertices))
    incidence = torch.nn.functional.one_hot(ends, vertices).sum(1).T.double()
    left, values, right = torch.linalg.svd(incidence, full_matrices=False)
    # The cheapest two factors of a matrix share its singular values equally.
    first = [values.sqrt().unsqueeze(1) * right, left * values.sqrt()]
    between = [torch.eye(vertices, dtype=torch.float64)] * (depth - 3)
    apart = 0.5 - incidence.T
    kneser = (apart @ incidence).relu()
    return [*first, *between, apart, torch.linalg.inv(kneser)]


def _block_diagonal(blocks: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """Return matrices, (B, ., .) each, along the diagonal of larger ones that end in zeros."""
    whole = blocks[0].new_zeros(len(blocks[0]), *shape)
    row = column = 0
    for block in blocks:
        whole[:, row : row + block.shape[1], column : column + block.shape[2]] = block
        row, column = row + block.shape[1], column + block.shape[2]
    return whole


def _largest_root(level: Tensor, depth: int) -> Tensor:
    """Return the largest a with (1 - a) a^((L-1)/(L+1)) = level, by halving, (B,)."""
    power = (depth - 1) / (depth + 1)
    # The left side rises up to (L-1)/(2L) and falls from there on.
    low = torch.full_like(level, (depth - 1) / (2 * depth))
    if not bool(((1 - low) * low**power >= level).all()):
        raise InputError(
            "start: collapsed found with decays under which only zero is stationary, allowed are"
            " smaller ones"
        )
    high = torch.ones_like(level)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = (1 - middle) * middle**power < level
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return low


def answers(config: Mapping) -> Tensor:
    """Return the labels, N, grouped by class."""
    problem = config["problem"]
    return torch.arange(problem["classes"]).repeat_interleave(problem["samples_per_class"])


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> DUFM:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem`` (classes, samples_per_class, depth, widths: the same for all),
    ``weight_decay``, one number or L, and ``feature_decay``.
    """
    shape, options = configs[0]["problem"], {"dtype": torch.float64, "device": device}
    depth, widths = shape["depth"], shape["widths"]
    decays = [torch.tensor(config["weight_decay"], **options).expand(depth) for config in configs]
    return DUFM(
        classes=shape["classes"],
        samples_per_class=shape["samples_per_class"],
        widths=tuple(widths) if isinstance(widths, list) else (widths,) * depth,
        weight_decay=torch.stack(decays),
        feature_decay=torch.tensor([config["feature_decay"] for config in configs], **options),
    )
