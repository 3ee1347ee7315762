"""Heads: linear layers W_M ... W_1 (Dang et al. 2023), or with ReLUs between them.

A linear head of one layer is that of a regression.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from collapse.errors import InputError
from collapse.simplex import simplex_etf


class LinearHead(nn.Module):
    """A product of linear layers without nonlinearity: Z = H W_1^T ... W_M^T + b.

    There are M = `depth` layers. With the feature dimension d = `dim`, W_1 to W_{M-1} have `width`
    rows, or d; W_M has a row for each of the `outputs`, K classes or n targets. Only the last layer
    may have a bias b, which no penalty touches.

    `init` says how the layers start: ``orthogonal``, as in the released code of Dang et al. 2023;
    ``uniform`` in +-1/sqrt(d), PyTorch's default, as a bias does in any case; or ``etf``, a single
    layer whose rows are a simplex ETF of norm 1, for which d >= K - 1. A `frozen` layer, of depth
    1, is a buffer instead of a parameter: it stays as it starts.

    Raises
    ------
    InputError
        If a simplex ETF of K vectors does not fit into d dimensions.
    """

    def __init__(
        self,
        dim: int,
        outputs: int,
        depth: int,
        bias: bool,
        init: str,
        frozen: bool = False,
        width: int | None = None,
    ) -> None:
        super().__init__()
        widths = [dim, *[width or dim] * (depth - 1)]
        hidden = [nn.Linear(*pair, bias=False) for pair in pairwise(widths)]
        self.layers = nn.ModuleList([*hidden, nn.Linear(widths[-1], outputs, bias=bias)])
        # `uniform` is what nn.Linear has drawn already.
        if init == "orthogonal":
            for weight in self.weights:
                nn.init.orthogonal_(weight)
        if init == "etf":
            with torch.no_grad():
                self.layers[0].weight.copy_(_simplex_etf(outputs, dim))
        if frozen:
            weight = self.layers[0].weight.detach()
            del self.layers[0].weight
            self.layers[0].register_buffer("weight", weight)

    @property
    def weights(self) -> list[torch.Tensor]:
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


class ReLUHead(LinearHead):
    """The same layers with a ReLU between each two: Z = W_M relu(... relu(W_1 H)) + b.

    The features themselves have none (Sukenik et al. 2024).
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs, N x K, of features, N x d."""
        *hidden, last = self.layers
        for layer in hidden:
            features = layer(features).relu()
        return last(features)


def build(dim: int, outputs: int, activation: str = "linear", **settings: Any) -> LinearHead:
    """Build the head that a config's section ``head`` describes, on `dim` features."""
    kinds = {"linear": LinearHead, "relu": ReLUHead}
    return kinds[activation](dim, outputs, **settings)


def _simplex_etf(outputs: int, dim: int) -> torch.Tensor:
    """Return a simplex ETF, K x d, in a random rotation."""
    if dim < outputs - 1:
        raise InputError(f"head.init: etf found with {dim} features, needed are {outputs - 1}")
    return simplex_etf(nn.init.orthogonal_(torch.empty(dim, outputs - 1)))
