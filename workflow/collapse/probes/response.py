"""How a perturbation problem's minimiser answers a small change of H_0 (Tirer et al., Thm 4.1).

F = beta/(K n) S^-1, S the second derivatives of the objective with W eliminated, is the derivative
of the minimiser H by H_0.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.probes import Reading, State
from collapse.problems.parameters import Parameters
from collapse.problems.perturbation import Perturbation, build
from collapse.problems.solvers.newton import newton

# The direction of the change is the same for all runs of a shape.
DIRECTION_SEED = 0
TOLERANCE, STEPS = 1e-15, 50


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield the spectrum of F at the minimiser, and of its blocks by class.

    On layer ``H1``: ``response_eigenvalue[i]``, ascending; ``block_singular_value[i]`` of the
    block F_kk of class 0, and ``cross_singular_value[i]`` of F_kl of classes 0 and 1, descending;
    ``first_order_error``, the spectral norm of F - (I - K n/beta (second derivatives of L)), L the
    objective without the distance (Eq. 5).
    """
    if not state.last:
        return
    problem, features = held(state)
    response = _response(problem, features)
    yield from _numbered("response_eigenvalue", torch.linalg.eigvalsh(response))
    dim, count = problem.dim, problem.samples_per_class
    blocks = response.view(dim, problem.classes, count, dim, problem.classes, count)
    for name, other in (("block", 0), ("cross", 1)):
        block = blocks[:, 0, :, :, other].reshape(dim * count, dim * count)
        yield from _numbered(f"{name}_singular_value", torch.linalg.svdvals(block))
    beta = problem.beta.item()
    identity = torch.eye(len(response)).to(response)
    free = problem.hessian(Parameters(H=features))[0] * problem.total - beta * identity
    error = torch.linalg.matrix_norm(response - (identity - free / beta), 2)
    yield "H1", "first_order_error", error.item()


def points(state: State, settings: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return what F leaves of the minimiser's change, for changes of H_0 of several sizes.

    ``size`` is the Frobenius norm of the change of H_0, in a random direction; ``error`` that of
    the minimiser's change less F times it.
    """
    if not state.last:
        return None
    problem, features = held(state)
    response = _response(problem, features)
    generator = torch.Generator().manual_seed(DIRECTION_SEED)
    direction = torch.randn(features.shape, generator=generator, dtype=features.dtype)
    direction = direction / direction.norm()
    errors = []
    for size in settings["sizes"]:
        anchored = problem.posed_at(Parameters(H=problem.anchor + size * direction))
        end = newton(anchored, Parameters(H=features), TOLERANCE, STEPS)
        change = (end.parameters.features[:, -1] - features).flatten()
        errors.append((change - size * response @ direction.flatten()).norm().item())
    return pd.DataFrame({"layer": "H1", "size": settings["sizes"], "error": errors})


def problem_of(state: State, probe: str) -> Perturbation:
    """Return the problem of a state; refuse, in the name of the probe, any other kind."""
    if "beta" not in state.config.get("problem", {}):
        raise InputError(f"probe {probe}: a state of a perturbation problem is needed")
    return build([state.config])


def held(state: State, probe: str = "response") -> tuple[Perturbation, Tensor]:
    """Return the problem held at its H_0, which follows from the minimiser, and the minimiser."""
    problem = problem_of(state, probe)
    if problem.beta is None:
        raise InputError(f"probe {probe}: problem.beta is null, allowed is a number: no H_0")
    features = state.features.T.unsqueeze(0)
    slope = problem.gradient(Parameters(H=features)).features
    anchor = features + problem.total / problem.beta.view(-1, 1, 1) * slope
    return problem.posed_at(Parameters(H=anchor)), features


def _response(problem: Perturbation, features: Tensor) -> Tensor:
    """Return F, symmetric."""
    curvature = problem.hessian(Parameters(H=features))[0]
    inverse = torch.linalg.inv(curvature) * problem.beta.item() / problem.total
    return (inverse + inverse.T) / 2


def _numbered(name: str, values: Tensor) -> Iterator[Reading]:
    return (("H1", f"{name}[{index}]", value) for index, value in enumerate(values.tolist()))
