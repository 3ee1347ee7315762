"""Optimisers whose whole state is a dictionary of tensors, for checkpoints without pickles.

They are PyTorch's own fused updates, called as functions: constructing ``torch.optim.Adam``
loads PyTorch's compiler, two seconds that every short training would pay. The learning rate is a
tensor on the parameters' device, so that a captured step can be told another one.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Adam:
    """Adam (Kingma and Ba 2015) with betas 0.9 and 0.999 and epsilon 1e-8, without decay.

    Parameters
    ----------
    parameters
        What is updated, by name.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = list(parameters.values())
        self._first = [torch.zeros_like(each) for each in self._parameters]
        self._second = [torch.zeros_like(each) for each in self._parameters]
        self._steps = [each.new_zeros((), requires_grad=False) for each in self._parameters]
        self.state = {
            f"{name}/{key}": tensor
            for key, tensors in {
                "exp_avg": self._first,
                "exp_avg_sq": self._second,
                "step": self._steps,
            }.items()
            for name, tensor in zip(parameters, tensors, strict=True)
        }

    @torch.no_grad()
    def step(self, learning_rate: Tensor) -> None:
        """Update the parameters by their gradients, and drop these."""
        adam(
            self._parameters,
            [each.grad for each in self._parameters],
            self._first,
            self._second,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        _drop_gradients(self._parameters)


class SGD:
    """Gradient descent with heavy-ball momentum v = m v + g, without decay.

    Parameters
    ----------
    parameters
        What is updated, by name.
    momentum
        m, from 0 to below 1.
    """

    def __init__(self, parameters: Mapping[str, Tensor], momentum: float) -> None:
        self._parameters = list(parameters.values())
        self._momentum = momentum
        self._buffers = [torch.zeros_like(each) if momentum else None for each in self._parameters]
        named = zip(parameters, self._buffers, strict=True)
        self.state = {f"{name}/momentum": buffer for name, buffer in named if momentum}

    @torch.no_grad()
    def step(self, learning_rate: Tensor) -> None:
        """Update the parameters by their gradients, and drop these."""
        sgd(
            self._parameters,
            [each.grad for each in self._parameters],
            self._buffers,
            fused=True,
            weight_decay=0.0,
            momentum=self._momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        _drop_gradients(self._parameters)


def _drop_gradients(parameters: list[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = None


def make(settings: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Adam | SGD:
    """Return the optimiser of named parameters that the config's section ``training`` names."""
    if settings["optimiser"] == "adam":
        return Adam(parameters)
    return SGD(parameters, settings["momentum"])
