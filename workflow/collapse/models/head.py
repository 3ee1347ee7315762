"""The linear head W_M ... W_1 of Dang et al. 2023; with one layer that of a regression."""

import torch
from torch import nn


class LinearHead(nn.Module):
    """A product of linear layers without nonlinearity: Z = H W_1^T ... W_M^T + b.

    There are M = `depth` layers. With the feature dimension d = `dim`, W_1 to W_{M-1} are d x d;
    W_M has a row for each of the `outputs`, K classes or n targets. Only the last layer may have a
    bias b, which no penalty touches.

    `init` says how the layers start: ``orthogonal``, as in the released code of Dang et al. 2023,
    or ``uniform`` in +-1/sqrt(d), PyTorch's default. The bias starts so in either case.
    """

    def __init__(self, dim: int, outputs: int, depth: int, bias: bool, init: str) -> None:
        super().__init__()
        hidden = [nn.Linear(dim, dim, bias=False) for _ in range(depth - 1)]
        self.layers = nn.ModuleList([*hidden, nn.Linear(dim, outputs, bias=bias)])
        # `uniform` is what nn.Linear has drawn already.
        if init == "orthogonal":
            for weight in self.weights:
                nn.init.orthogonal_(weight)

    @property
    def weights(self) -> list[nn.Parameter]:
        """W_1 to W_M."""
        return [layer.weight for layer in self.layers]

    @property
    def bias(self) -> nn.Parameter | None:
        """The last layer's bias, K, or None."""
        return self.layers[-1].bias

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs, N x K, of features, N x d."""
        for layer in self.layers:
            features = layer(features)
        return features
