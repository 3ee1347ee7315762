"""The singular factors of a network's hidden layers: which of them make features collapse."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.metrics.collapse import class_statistics, nc1_ratio
from collapse.metrics.rows import full_precision
from collapse.probes import Reading, State
from collapse.training.extract import extract


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what each hidden layer W = U S V^T does to NC1 of its input x (Beaglehole et al. 2024).

    ``NC1_ratio_input`` is the NC1 ratio tr S_W / tr S_B of x, ``NC1_ratio_right`` that of S V^T x,
    ``NC1_ratio_output`` that of ReLU(W x). The right factor's share of what the layer does is
    ln(input / right) / ln(input / output).
    """
    samples, network = state.samples, state.network
    values = samples.take(slice(None)).flatten(1)
    layers = extract(network, samples, hidden=True)
    for number, linear in enumerate(network.backbone.linear, 1):
        following = layers[f"hidden{number}"]
        # U turns the space, which no trace notices: W x has the ratio of S V^T x.
        with full_precision(values.device):
            turned = values.double() @ linear.weight.detach().double().T
        for place, each in (("input", values), ("right", turned), ("output", following)):
            ratio = nc1_ratio(class_statistics(each, state.targets, least=1))
            # Of features that all coincide there is none.
            if ratio is not None:
                yield f"hidden{number}", f"NC1_ratio_{place}", ratio
        values = following
