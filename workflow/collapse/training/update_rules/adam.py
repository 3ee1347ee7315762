"""Adam (Kingma and Ba 2015)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam with betas 0.9 and 0.999, epsilon 1e-8 and decoupled decay, of parameters by name."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float = 0.0) -> None:
        self._decay = decay
        self._parameters = list(parameters.values())
        self._first = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._second = [torch.zeros_like(parameter) for parameter in self._parameters]
        # Tensors on the device, as the fused and captured update counts there.
        self._steps = [tensor.new_zeros((), requires_grad=False) for tensor in self._parameters]
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
        """Update the parameters by their gradients."""
        adam(
            self._parameters,
            [parameter.grad for parameter in self._parameters],
            self._first,
            self._second,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            # The objective has penalties of its own; this is none of them.
            weight_decay=self._decay,
            decoupled_weight_decay=True,
            eps=1e-8,
            maximize=False,
        )


def make(parameters: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Adam:
    """Return the update of named parameters; of the section ``training`` it reads nothing."""
    return Adam(parameters)
