"""The linear head W_M ... W_1 of Dang et al. 2023."""

import torch
from torch import nn


class LinearHead(nn.Module):
    """A product of linear layers without nonlinearity: Z = H W_1^T ... W_M^T + b.

    Parameters
    ----------
    dim
        Feature dimension d; W_1 to W_{M-1} are d x d.
    classes
        Number of classes K; W_M is K x d.
    depth
        Number M of layers.
    bias
        Whether the last layer has a bias b, which no penalty touches.

    Notes
    -----
    Layers start orthogonal, as in the released code of the paper, and the bias at PyTorch's
    default, uniform in +-1/sqrt(d).
    """

    def __init__(self, dim: int, classes: int, depth: int, bias: bool) -> None:
        super().__init__()
        hidden = [nn.Linear(dim, dim, bias=False) for _ in range(depth - 1)]
        self.layers = nn.ModuleList([*hidden, nn.Linear(dim, classes, bias=bias)])
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
        """Return the logits, N x K, of features, N x d."""
        for layer in self.layers:
            features = layer(features)
        return features
