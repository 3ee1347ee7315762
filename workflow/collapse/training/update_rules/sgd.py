"""Gradient descent with heavy-ball momentum (Polyak 1964)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd


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
        """Update the parameters by their gradients."""
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


def make(parameters: Mapping[str, Tensor], settings: Mapping[str, Any]) -> SGD:
    """Return the update of named parameters with ``momentum`` of the section ``training``."""
    return SGD(parameters, settings["momentum"])
