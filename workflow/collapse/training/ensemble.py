"""Networks of one shape that train side by side, each on batches of its own."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

# Samples times parameters of a network, up to which a CPU spends longer on the number of calls than
# on what they compute.
SMALL = 1_500_000


class Ensemble:
    """E networks of one shape whose parameters lie stacked along a first axis.

    On a GPU one batched product serves a layer of all of them; on a CPU, where that is slower but
    for small networks and batches, they take turns. A single network is used as it is, without
    that axis.

    The networks lie on one device and are in training mode from here on. A single one is trained in
    place; of several this holds copies.

    Attributes
    ----------
    parameters, buffers
        Tensors by name; (E, ...) of several networks.
    parameter_count
        Numbers in the parameters of one network.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._size = len(networks)
        for network in networks:
            network.train()
        self._network = networks[0]
        self.parameters = dict(self._network.named_parameters())
        self.buffers = dict(self._network.named_buffers())
        if self._size > 1:
            stacked, self.buffers = stack_module_state(list(networks))
            self.parameters = {name: _laid_out(tensor) for name, tensor in stacked.items()}
            # Only the structure of this copy is used: no memory for its values.
            self._network = deepcopy(self._network).to("meta")
        # Of each part of a network its parameters and buffers, by the names that it has for them.
        self._parts = {
            part: tuple(_of_part(part, tensors) for tensors in (self.parameters, self.buffers))
            for part, _ in self._network.named_children()
        }
        self.parameter_count = sum(tensor.numel() for tensor in self._network.parameters())

    def __len__(self) -> int:
        """Return E."""
        return self._size

    @property
    def outputs(self) -> int:
        """K, the outputs of each network."""
        return len(self._network.head.weights[-1])

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers."""
        return self.parameters | self.buffers

    @property
    def normalised(self) -> bool:
        """Whether the features depend on the batch, through BatchNorm of vectors or of images."""
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        return any(isinstance(module, kinds) for module in self._network.modules())

    def features(self, inputs: Tensor) -> Tensor:
        """Return the features, E x B x d, of inputs, E x B x C x H x W."""
        return self.part("backbone", inputs)

    def head(self, features: Tensor) -> Tensor:
        """Return the outputs, E x B x K, of features, E x B x d."""
        return self.part("head", features)

    def part(self, name: str, inputs: Tensor) -> Tensor:
        """Return what a named part of each network makes of its inputs, E x B x ... each."""
        module = getattr(self._network, name)
        if self._size == 1:
            return module(inputs[0]).unsqueeze(0)

        def member(state: tuple[dict[str, Tensor], dict[str, Tensor]], inputs: Tensor) -> Tensor:
            # No parameter is shared between layers: the search for ties is spared.
            return functional_call(module, state, (inputs,), tie_weights=False)

        state = self._parts[name]
        # Together where the number of calls is what costs: on a GPU, or many small networks.
        if inputs.is_cuda or (len(self) > 4 and inputs.shape[1] * self.parameter_count <= SMALL):
            # The parameters' first axis becomes that of a batched product.
            return vmap(member)(state, inputs)
        states = zip(*(self._split(tensors) for tensors in state), strict=True)
        return torch.stack([member(*each) for each in zip(states, inputs, strict=True)])

    def _split(self, tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return one dictionary per network; the gradient of unbound views is one stack."""
        views = {name: tensor.unbind(0) for name, tensor in tensors.items()}
        return [{name: view[index] for name, view in views.items()} for index in range(len(self))]

    def backbone_names(self, weights_only: bool) -> list[str]:
        """Return the names of the backbone's parameters, or of those with 2 dimensions or more."""
        min_dimensions = 2 if weights_only else 0
        return [
            name
            for name, parameter in self._network.named_parameters()
            if name.startswith("backbone.") and parameter.ndim >= min_dimensions
        ]

    def squared_norms(self, names: Sequence[str]) -> Tensor:
        """Return the squared Frobenius norms of named parameters, one row each, (len(names), E)."""
        parameters = [self.parameters[name].detach() for name in names]
        if self._size == 1:
            # One fused call for all tensors.
            return torch.stack(torch._foreach_norm(parameters)).square().unsqueeze(1)
        norms = [
            torch.linalg.vector_norm(stack, dim=tuple(range(1, stack.ndim))) for stack in parameters
        ]
        return torch.stack(norms).square()

    def drop_gradients(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters.values():
            # Not zero: the next backward pass then writes a gradient instead of adding to one.
            parameter.grad = None

    def finite(self) -> Tensor:
        """Return which networks have no NaN or infinity in their parameters, (E,) bool."""
        # A norm whose square overflows counts as infinite.
        return self.squared_norms(list(self.parameters)).isfinite().all(0)

    def member(self, index: int) -> dict[str, Tensor]:
        """Return the parameters and buffers of one network, without the first axis."""
        if self._size == 1:
            return self.state
        return {name: tensor[index] for name, tensor in self.state.items()}


def _of_part(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    named = ((name, tensor) for name, tensor in tensors.items() if name.startswith(prefix))
    return {name.removeprefix(prefix): tensor for name, tensor in named}


def _laid_out(parameter: Tensor) -> Tensor:
    """Return stacked parameters, matrices input by output in memory.

    That is how the batched products of a backward pass write a gradient; otherwise each one would
    be copied into the order of its parameter.
    """
    stacked = parameter.detach()
    if stacked.ndim == 3:
        stacked = stacked.mT.contiguous().mT
    return stacked.requires_grad_()
