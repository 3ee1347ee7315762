"""The objective of networks: a data term and explicit quadratic penalties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.training import kinds
from collapse.training.ensemble import Ensemble

Decays = float | Sequence[float]


@dataclass(frozen=True)
class Objective:
    """Objective of Dang et al. 2023 (Sec. 3 and 5), over a batch of B of the N samples.

    That of Andriopoulos et al. 2024 (Sec. 3 and 5) is the same with lambda_H / N for lambda_H.

    ``data_term + sum_m lambda_Wm/2 ||W_m||^2 + (N/B) lambda_H/2 ||H_batch||^2
    + lambda/2 ||theta||^2``, squared Frobenius norms. Weighted by B/N, the batches of an epoch
    add up to the objective of the whole training set, so each batch is an unbiased estimate.
    theta is what of the backbone `decayed` says; a bias b of the head is penalised only if that
    says so, by lambda_WM/2 ||b||^2.

    Attributes
    ----------
    loss
        The config's section ``loss``, by whose kind the data term is looked up.
    weight_decay
        lambda_W1 to lambda_WM, or one number for all layers; of several networks also one such
        list each, E x M or E x 1.
    feature_decay
        lambda_H, of the plain sum over all N samples; one number, or one for each network.
    backbone_decay
        lambda of the backbone; one number, or one for each network.
    decayed
        ``all`` parameters of the backbone, or its ``weights``: those with two dimensions or more,
        neither biases nor BatchNorm's; ``all_and_head_bias`` the former and b, as the released code
        of Andriopoulos et al. 2024 has it.
    samples
        N.
    """

    loss: Mapping[str, Any]
    weight_decay: Decays | Sequence[Decays]
    feature_decay: Decays
    backbone_decay: Decays
    decayed: str
    samples: int

    def bind(self, ensemble: Ensemble) -> Penalised:
        """Return the objective of these networks.

        Raises
        ------
        InputError
            If the decays fit neither the networks' number nor that of the head's layers.
        """
        return Penalised(self, ensemble)


class Penalised:
    """An objective of given networks; its decays lie on their device."""

    def __init__(self, objective: Objective, ensemble: Ensemble) -> None:
        self._loss, self._samples, self._ensemble = objective.loss, objective.samples, ensemble
        # Bound here: a step, compiled or not, looks nothing up.
        loss = kinds.load("losses", objective.loss)
        self._data_term, self._error = loss.data_term, loss.error
        # All parameters have one format and device.
        template = next(iter(ensemble.parameters.values())).detach()
        head = [name for name in ensemble.parameters if _is_head_weight(name)]
        backbone = ensemble.backbone_names(weights_only=objective.decayed == "weights")
        size = len(ensemble)
        # A decay for each network and layer, or network.
        layers = _spread("weight_decay", objective.weight_decay, (size, len(head)), template)
        network = _spread("backbone_decay", objective.backbone_decay, (size,), template)
        self._feature_decay = _spread("feature_decay", objective.feature_decay, (size,), template)
        decays = dict(zip(head, layers.unbind(1), strict=True)) | dict.fromkeys(backbone, network)
        if objective.decayed == "all_and_head_bias":
            # Only the last layer has one.
            biases = (name for name in ensemble.parameters if _is_head_bias(name))
            decays |= dict.fromkeys(biases, layers[:, -1])
        # What no network penalises costs a step nothing.
        decays = {name: decay for name, decay in decays.items() if decay.any()}
        self._names = list(decays)
        # None where nothing is penalised: an empty list cannot be stacked.
        self._decays = torch.stack(list(decays.values())) if decays else None
        # Parameters that share one decay in all networks are updated in one call.
        self._shared: dict[float, list[str]] = {}
        self._separate: dict[str, Tensor] = {}
        for name, decay in decays.items():
            if (decay == decay[0]).all():
                self._shared.setdefault(decay[0].item(), []).append(name)
            else:
                self._separate[name] = decay.view(size, *[1] * (ensemble.parameters[name].ndim - 1))

    def terms(self, outputs: Tensor, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the data term and the penalty of the features on a batch, (E,) each.

        Outputs are E x B x K, features E x B x d, targets E x B (labels) or E x B x K.
        """
        batch = targets.shape[1]
        data = self._data_term(outputs, targets, self._loss)
        # N/B: the batch stands for the whole set, over which the penalty sums.
        scale = self._feature_decay * self._samples / (2 * batch)
        return data, scale * features.square().sum((1, 2))

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss's error on a batch, (E,), without a gradient."""
        return self._error(outputs.detach(), targets)

    def penalty(self) -> Tensor:
        """Return the penalties of the parameters, (E,), without a gradient."""
        if self._decays is None:
            return torch.zeros_like(self._feature_decay)
        return (self._ensemble.squared_norms(self._names) * self._decays).sum(0) / 2

    @torch.no_grad()
    def add_penalty_gradient(self) -> None:
        """Add decay times parameter, the gradient of `penalty`, to the parameters' gradients.

        Equal to what autograd makes of the squares, in a few kernels instead of some hundred.
        """
        parameters = self._ensemble.parameters
        for decay, names in self._shared.items():
            values = [parameters[name] for name in names]
            # One fused call for all of a decay.
            torch._foreach_add_([value.grad for value in values], values, alpha=decay)
        for name, decay in self._separate.items():
            parameters[name].grad.addcmul_(parameters[name], decay)


def _is_head_weight(name: str) -> bool:
    return name.startswith("head.layers.") and name.endswith(".weight")


def _is_head_bias(name: str) -> bool:
    return name.startswith("head.layers.") and name.endswith(".bias")


def _spread(name: str, decay: object, shape: tuple[int, ...], template: Tensor) -> Tensor:
    """Return decays in the given shape, in the networks' format and on their device."""
    values = torch.as_tensor(decay, dtype=template.dtype)
    try:
        # A single number stands for all layers and networks, a list for all networks.
        return values.expand(shape).contiguous().to(template.device)
    except RuntimeError:
        raise InputError(
            f"{name}: {tuple(values.shape)} numbers found, allowed is one, or {shape}"
        ) from None
