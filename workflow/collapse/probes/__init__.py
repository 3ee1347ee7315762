"""What is measured of a state: rows of the experiment's table, and points that fit no row.

A probe is a module that its kind names. It offers ``rows(state, settings)``, which yields layer,
metric and value, and may offer ``points(state, settings)``, which returns a frame with a column
``layer`` and columns of its own, or None; `settings` is its section of the config. Columns named
for the run's keys, ``step`` and ``probe`` are the workflow's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from collapse.errors import InputError

Reading = tuple[str, str, float]
"""Layer, metric, value."""


@dataclass(frozen=True)
class State:
    """A state of a run, as probes see it.

    Attributes
    ----------
    config
        The run's config; of a sweep with the decays whose ratio it keeps, not those of this step.
    tensors
        Its variables by name, as its procedure names them.
    features
        N x d; of a problem its variable ``H`` as it is, before any nonlinearity of the objective.
        None where there are no features.
    weights, bias
        Of a linear head: W_1 to W_M (a problem's ``W1``, ``W2``, ...), and the last layer's bias or
        None.
    targets
        N labels, or N x n real targets; None where there are none.
    frame
        What theory says that features and weights are measured against: numbers by class, by name.
    first, last
        Whether it is the first or the last recorded of its run: what does not change, or is large,
        is measured only there.
    held_out
        Returns outputs and targets of samples it was not trained on, or None if there are none.
    network, samples
        The network that it is a state of and its training `collapse.training.samples.Samples`, in
        the order of the targets, or None.
    products
        The products that its features were computed in, see
        `collapse.training.extract.extract_to_measure`: those of further samples are, too.
    history
        What the training of a network says of each epoch up to this one.
    upstream
        Returns what the run that the reference at a path of the config names has dumped.
    memo
        Where a probe leaves what its rows and its points both need.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    features: Tensor | None = None
    weights: Sequence[Tensor] = ()
    bias: Tensor | None = None
    targets: Tensor | None = None
    frame: Mapping[str, np.ndarray] = field(default_factory=dict)
    first: bool = False
    last: bool = False
    held_out: Callable[[], tuple[Tensor, Tensor] | None] = lambda: None
    network: nn.Module | None = None
    samples: Any = None
    products: str = "float32"
    history: pd.DataFrame | None = None
    upstream: Callable[[str], dict[str, np.ndarray]] = lambda _: {}
    memo: dict[tuple, Any] = field(default_factory=dict)

    @property
    def head(self) -> Sequence[Tensor]:
        """The weights of its linear head; a state without one is refused."""
        if not self.weights:
            raise InputError("probes: no linear head found, which a probe of the experiment needs")
        return self.weights

    @property
    def weight(self) -> Tensor:
        """The weight of its linear head on real targets, which has one layer.

        Raises
        ------
        InputError
            If it has no such head, or its targets are labels.
        """
        count, labels = len(self.head), self.targets is not None and self.targets.ndim == 1
        if count > 1 or labels:
            found = "labels" if labels else f"a head of {count} layers"
            raise InputError(
                f"probes: {found} found, needed is a head of one layer on real targets"
            )
        return self.head[0]

    def referred(self, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the features, and their labels, that a probe's reference ``of`` names."""
        place = self.config["probes"].index(settings)
        return self.upstream(f"probes.{place}.of")


def rows(state: State, probes: Sequence[Mapping[str, Any]]) -> Iterator[Reading]:
    """Yield the rows of all probes of a state, in their order."""
    for settings in probes:
        yield from _module(settings).rows(state, settings)


def with_loss(readings: Iterator[Reading], loss: float | None) -> list[Reading]:
    """Return a state's readings with the objective as ``loss``, on layer ``all``.

    A probe that has measured it at the state goes before what a training says of an epoch.
    """
    readings = list(readings)
    if loss is not None and not any(name == "loss" for _, name, _ in readings):
        readings.append(("all", "loss", loss))
    return readings


def points(state: State, probes: Sequence[Mapping[str, Any]]) -> Iterator[pd.DataFrame]:
    """Yield the points of those probes that have any, with a column ``probe``."""
    for settings in probes:
        # A probe need not have points.
        frame = getattr(_module(settings), "points", lambda *_: None)(state, settings)
        if frame is not None:
            yield _checked(frame, settings["kind"])


def _checked(points: pd.DataFrame, probe: str) -> pd.DataFrame:
    """Return a probe's points with its name; refuse columns that are the workflow's."""
    if "layer" not in points:
        raise InputError(f"probe {probe}: its points have no column layer")
    # The workflow adds these when it joins the points of all states.
    for name in ("step", "seed", "probe"):
        if name in points:
            raise InputError(f"probe {probe}: column {name} is the workflow's, name it otherwise")
    return points.assign(probe=probe)


def _module(settings: Mapping[str, Any]) -> Any:
    # By name: a new probe is one new module.
    return import_module(f"{__name__}.{settings['kind']}")
