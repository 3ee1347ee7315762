"""The minimiser of a perturbation problem beside the gradient flow at time 1/beta (Eq. 4)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from collapse.errors import InputError
from collapse.metrics.measure import study_metrics
from collapse.probes import Reading, State
from collapse.probes.response import held
from collapse.problems.parameters import Parameters
from collapse.problems.solvers.flow import gradient_flow


def rows(state: State, settings: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield the distance of the minimiser from the flow that starts at H_0, at time 1/beta.

    On layer ``H1``: ``flow_gap``, its Frobenius norm; ``flow_gap_order``, what beta^2 times it
    tends to as beta grows, 1/2 ||J V|| with V the flow's velocity at H_0 and J its derivative; and
    of the flow's features ``flow_NC1`` and ``flow_NC1_ratio``.
    """
    if not state.last:
        return
    problem, features = held(state, "flow_gap")
    free = replace(problem, beta=None, anchor=None)
    start = Parameters(H=problem.anchor)
    time = 1 / problem.beta.item()
    path = gradient_flow(free, start, [time], settings["tolerance"])
    if not path.valid.all():
        raise InputError(
            "probe flow_gap: the objective at H_0 is not finite, allowed: a larger beta"
        )
    flow = path.state(-1).features
    yield "H1", "flow_gap", torch.linalg.vector_norm(features - flow).item()
    velocity = -free.speed * free.gradient(start).features.flatten()
    bend = free.speed * free.hessian(start)[0] @ velocity
    yield "H1", "flow_gap_order", bend.norm().item() / 2
    for name, value in study_metrics(flow[0].T.contiguous(), state.targets, least=1).items():
        if name in ("NC1", "NC1_ratio") and value is not None:
            yield "H1", f"flow_{name}", value
