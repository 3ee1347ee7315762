"""The singular factors of a network's hidden layers: which of them make features collapse."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from collapse.metrics.collapse import class_statistics, nc1_ratio
from collapse.metrics.rows import full_precision
from collapse.probes import Reading, State
from collapse.training.extract import extract


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what every hidden layer W = U S V^T does to NC1 of its input x (Beaglehole et al. 2024).

    ``NC1_ratio_input`` is the NC1 ratio tr S_W / tr S_B of x, ``NC1_ratio_right`` that of S V^T x,
    ``NC1_ratio_output`` that of ReLU(W x). ``right_share`` is the right factor's share of the fall:
    ln(input / right) / ln(input / output). There is none where the layer does not lower NC1.
    """
    samples, network = state.samples, state.network
    values = samples.take(slice(None)).flatten(1)
    layers = extract(network, samples, hidden=True)
    for number, linear in enumerate(network.backbone.linear, 1):
        following = layers[f"hidden{number}"]
        # U turns the space, which no trace notices: W x has the ratio of S V^T x.
        with full_precision(values.device):
            turned = values.double() @ linear.weight.detach().double().T
        ratios = {
            "input": _ratio(values, state.targets),
            "right": _ratio(turned, state.targets),
            "output": _ratio(following, state.targets),
        }
        layer = f"hidden{number}"
        for place, ratio in ratios.items():
            # Of features that all coincide there is none.
            if ratio is not None:
                yield layer, f"NC1_ratio_{place}", ratio
        share = right_share(*ratios.values())
        if share is not None:
            yield layer, "right_share", share
        values = following


def right_share(before: float | None, right: float | None, after: float | None) -> float | None:
    """Return ln(before / right) / ln(before / after), None where there is no fall to share."""
    # Zero, too, has no logarithm.
    if not (before and right and after) or after >= before:
        return None
    return math.log(before / right) / math.log(before / after)


def _ratio(values: Tensor, labels: Tensor) -> float | None:
    return nc1_ratio(class_statistics(values, labels, least=1))
