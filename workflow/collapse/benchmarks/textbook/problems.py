"""One problem over free features by autograd, with `torch.optim` or SciPy."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.nn import functional

from collapse.capture import captured
from collapse.problems.deep_linear import DeepLinear
from collapse.problems.mixup import Mixup
from collapse.problems.parameters import Parameters
from collapse.problems.perturbation import Perturbation


class TextbookProblem:
    """One bias-free MSE problem of a batch, by itself, on all N sample columns.

    Plain gradient descent with heavy-ball momentum. With `penalties_in_loss` autograd
    differentiates the penalties, as in the code released with Dang et al. (2023); else the
    optimiser's decay is their gradient, without their forward pass.
    """

    def __init__(
        self,
        problem: DeepLinear,
        start: Parameters,
        index: int,
        learning_rate: float,
        momentum: float,
        penalties_in_loss: bool = True,
    ) -> None:
        self.targets = problem.targets
        self.features = start.features[index].clone().requires_grad_()
        self.weights = [weight[index].clone().requires_grad_() for weight in start.weights]
        self.decays = [problem.feature_decay[index], *problem.weight_decay[index]]
        # PyTorch's weight decay adds decay * tensor to the gradient, that of decay/2 ||tensor||^2.
        groups: list[dict] = [{"params": self.parameters}]
        if not penalties_in_loss:
            groups = [
                {"params": [tensor], "weight_decay": decay.item()}
                for decay, tensor in zip(self.decays, self.parameters, strict=True)
            ]
        self.penalties_in_loss = penalties_in_loss
        self.optimiser = torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)

    @property
    def parameters(self) -> list[Tensor]:
        """H_1, then W_1 to W_M."""
        return [self.features, *self.weights]

    def step(self) -> None:
        """Take one step of gradient descent."""
        self.optimiser.zero_grad()
        output = self.features
        for weight in self.weights:
            output = weight @ output
        loss = (output - self.targets).square().sum() / (2 * self.targets.shape[1])
        if self.penalties_in_loss:
            for decay, tensor in zip(self.decays, self.parameters, strict=True):
                loss = loss + decay / 2 * tensor.square().sum()
        loss.backward()
        self.optimiser.step()

    def descend(self, steps: int) -> None:
        """Take several steps."""
        for _ in range(steps):
            self.step()

    def captured(self) -> Callable[[], None]:
        """Return the step as the replay of a CUDA graph, from the same start."""
        start = [tensor.detach().clone() for tensor in self.parameters]
        # The optimiser makes its momentum buffers in its first step, and a graph may make nothing.
        self.step()
        buffers = [
            state["momentum_buffer"].zero_()
            for state in self.optimiser.state.values()
            if state.get("momentum_buffer") is not None
        ]
        with torch.no_grad():
            for tensor, before in zip(self.parameters, start, strict=True):
                tensor.copy_(before)
        return captured(self.step, [*self.parameters, *buffers])


def textbook_flow(
    problem: Perturbation, start: Parameters, times: Sequence[float], tolerance: float, index: int
) -> np.ndarray:
    """Return one central-path flow of a batch at times, len(times) x (d N), by SciPy."""
    features = start.features[index]
    count, classes = problem.samples_per_class, problem.classes
    targets = torch.eye(classes, dtype=torch.float64).repeat_interleave(count, 1)
    weight_decay, feature_decay = problem.weight_decay[index], problem.feature_decay[index]
    ridge = count * weight_decay * torch.eye(problem.dim, dtype=torch.float64)

    def objective(h: Tensor) -> Tensor:
        weight = torch.linalg.solve(h @ h.T + ridge, h @ targets.T).T
        fit = (weight @ h - targets).square().sum() + feature_decay * h.square().sum()
        return (fit + count * weight_decay * weight.square().sum()) / 2

    def velocity(_: float, point: np.ndarray) -> np.ndarray:
        h = torch.from_numpy(point).view(features.shape).requires_grad_()
        (slope,) = torch.autograd.grad(objective(h), h)
        return -slope.flatten().numpy()

    found = solve_ivp(
        velocity, (0, times[-1]), features.flatten().numpy(), "DOP853", times, rtol=tolerance,
        atol=tolerance,
    )  # fmt: skip
    return found.y.T


def textbook_minimum(
    problem: Mixup, start: Parameters, tolerance: float, iterations: int, index: int
) -> list[Tensor]:
    """Return features and classifier of one mixup problem of a batch, by `torch.optim.LBFGS`."""
    features = start.features[index].clone().requires_grad_()
    weight = start.weights[0][index].clone().requires_grad_()
    targets, share = problem.targets[index].T, problem.weight[index]
    feature_decay, weight_decay = problem.feature_decay[index], problem.weight_decay[index]
    optimiser = torch.optim.LBFGS(
        [features, weight],
        max_iter=iterations,
        tolerance_grad=tolerance,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        fit = functional.cross_entropy((weight @ features).T, targets, reduction="none")
        penalty = feature_decay / 2 * features.square().sum(0)
        loss = (share * (fit + penalty)).sum() + weight_decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return [features.detach(), weight.detach()]
