"""A problem over free features as a module, autograd and `torch.optim.SGD`."""

from collections.abc import Callable

import torch
from torch import Tensor

from collapse.capture import captured
from collapse.problems.deep_linear import DeepLinear
from collapse.problems.parameters import Parameters


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
