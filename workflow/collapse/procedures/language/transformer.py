"""A causal transformer with the LayerNorm before each part (pre-LN), as GPT-2 and GPT-Neo are."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from collapse.models.head import LinearHead
from collapse.models.network import Network

START = 0.02
"""Standard deviation of weights and embeddings at the start, that of GPT-2."""


class Block(nn.Module):
    """Causal self-attention and an MLP of two layers, each behind a LayerNorm, each added."""

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_width), nn.GELU(approximate="tanh"), nn.Linear(mlp_width, width)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return what it makes of values, B x L x d."""
        values = values + self.out(self._attended(self.joint(self.attention_norm(values))))
        return values + self.mlp(self.mlp_norm(values))

    def _attended(self, joint: Tensor) -> Tensor:
        """Return the attended values, B x L x d, of queries, keys and values, B x L x 3d."""
        # Each B x heads x L x d/heads.
        parts = (
            part.unflatten(-1, (self._heads, -1)).transpose(-2, -3) for part in joint.chunk(3, -1)
        )
        found = functional.scaled_dot_product_attention(*parts, is_causal=True)
        return found.transpose(-2, -3).flatten(-2)


class Transformer(nn.Module):
    """Tokens and their places embedded, blocks, and a last LayerNorm; no dropout.

    The features of a position depend on the tokens up to it, and on no later one.

    Parameters
    ----------
    vocabulary, context
        V, and L, the longest input.
    width, depth, heads, mlp_width
        d, the number of blocks, their attention heads, which divide d, and of their MLPs.
    """

    def __init__(
        self, vocabulary: int, context: int, width: int, depth: int, heads: int, mlp_width: int
    ) -> None:
        super().__init__()
        self.dim = width
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, mlp_width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # What a block adds is smaller the more of them there are (Radford et al. 2019).
                into = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=START / (2 * depth) ** 0.5 if into else START)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the features of all positions, (B L) x d, of tokens, B x L."""
        values = self.tokens(tokens) + self.places.weight[: tokens.shape[-1]]
        # The faster kernels add the gradients of a GPU in another order each time.
        with sdpa_kernel(SDPBackend.MATH):
            values = self.blocks(values)
        return self.norm(values).flatten(0, 1)


def build(config: Mapping[str, Any], vocabulary: int, seed: int) -> Network:
    """Build a language model on the CPU, initialised from `seed` alone.

    From ``width``, ``depth``, ``heads``, ``mlp_width`` (None: 4 width) and ``data.context`` of an
    experiment's config. The head is a matrix W, V x d, without a bias, and not the embedding's.
    """
    width = config["width"]
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` would seed the GPUs too.
        torch.default_generator.manual_seed(seed)
        backbone = Transformer(
            vocabulary, config["data"]["context"], width, config["depth"], config["heads"],
            config["mlp_width"] or 4 * width,
        )  # fmt: skip
        head = LinearHead(width, vocabulary, depth=1, bias=False, init="uniform")
        nn.init.normal_(head.weights[0], std=START)
    return Network(backbone, head)
