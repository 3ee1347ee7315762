"""Gradient descent with heavy-ball momentum (Polyak 1964)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd


class SGD:
    """Gradient descent with heavy-ball momentum v = m v + g, m from 0 to below 1, without decay."""

    def __init__(self, parameters: Mapping[str, Tensor], momentum: float) -> None:
        self._parameters = list(parameters.values())
        self._momentum = momentum
        # Zeros instead of PyTorch's first gradient: m 0 + g is the same, and memory is there for a
        # captured step.
        self._buffers = [
            torch.zeros_like(tensor) if momentum else None for tensor in self._parameters
        ]
        buffers_by_name = zip(parameters, self._buffers, strict=True)
        self.state = {f"{name}/momentum": buffer for name, buffer in buffers_by_name if momentum}

    @torch.no_grad()
    def step(self, learning_rate: Tensor) -> None:
        """Update the parameters by their gradients."""
        sgd(
            self._parameters,
            [parameter.grad for parameter in self._parameters],
            self._buffers,
            fused=True,
            # The objective has penalties of its own.
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
