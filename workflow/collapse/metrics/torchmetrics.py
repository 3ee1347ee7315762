"""Collapse metrics as a `torchmetrics.Metric`, which Lightning logs, resets and synchronises.

Needs the package torchmetrics, of the extra ``notebooks``.
"""

from math import nan
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from collapse.errors import InputError
from collapse.metrics.checks import check_features, check_label_range, check_labels, widened_head
from collapse.metrics.measure import every_class_metric
from collapse.metrics.streaming import add_to_sums, statistics_of_sums

SUMS = ("counts", "totals", "squares", "scatter")
"""States, see `collapse.metrics.streaming.add_to_sums`."""


class _Shared:
    """A module of the network's, no part of the metric's own: copies of the metric share it."""

    def __init__(self, module: nn.Module | None) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        # Where the network is copied with its metric, the copy's head, if that came first.
        return _Shared(memo.get(id(self.module), self.module))


class NeuralCollapse(Metric):
    """Every collapse metric but NC4, of features that are seen once.

    Parameters
    ----------
    classes, dim : int
        K and d.
    shift : Tensor, optional
        d, the point about which sums are taken; default 0. The same on every process. Worth giving
        where features lie far from 0 and close together, such as the mean of an earlier epoch.
    head : Linear, optional
        The classifier, of K x d, as it is when metrics are computed.
    kwargs
        Those of `torchmetrics.Metric`.

    Raises
    ------
    InputError
        A shape, format or label is another.

    Notes
    -----
    Sums are float64, d x d of them: `update` costs b d^2. Of NC1 = 1e-8 the relative error is about
    1e-8 times the squared distance of the features from `shift` over that of the class means from
    each other: at 100 times their distance give one. NC4 needs every sample a second time,
    with the class means known: `collapse.metrics.Batches`.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(
        self,
        classes: int,
        dim: int,
        shift: Tensor | None = None,
        head: nn.Linear | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if classes < 2 or dim < 1:
            raise InputError(f"classes, dim: found {classes}, {dim}, allowed are from 2 and from 1")
        weight = getattr(head, "weight", None)
        if head is not None and (weight is None or weight.shape != (classes, dim)):
            raise InputError(f"head: allowed is a Linear with a weight of {classes} x {dim}")
        shapes = {"counts": (classes,), "totals": (classes, dim), "squares": (classes,)}
        for name, shape in (shapes | {"scatter": (dim, dim)}).items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        shift = torch.zeros(dim) if shift is None else torch.as_tensor(shift)
        if shift.shape != (dim,):
            raise InputError(f"shift: shape {tuple(shift.shape)}, allowed is ({dim},)")
        # A state, not a buffer: these follow the network to other number formats.
        self.add_state("shift", shift.detach().to(torch.float64), dist_reduce_fx="max")
        self._head = _Shared(head)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add features, b x d, with their labels, b from 0 to K-1."""
        features, labels = torch.as_tensor(features), torch.as_tensor(labels)
        check_features(features)
        if features.shape[1] != len(self.shift):
            raise InputError(
                f"features: {features.shape[1]} columns, allowed are {len(self.shift)}"
            )
        labels = check_labels(labels, len(features)).to(features.device)
        check_label_range(labels, len(self.counts))
        sums = self._sums()
        add_to_sums(sums, features.detach(), labels, self.shift)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics as `measure` names them, scalars.

        NaN where one is undefined: of all as long as a class has not two samples, or where a
        feature is NaN or infinite.
        """
        head = self._head.module
        weight, bias = (None, None) if head is None else (head.weight.detach(), head.bias)
        weight, bias = widened_head(
            weight, None if bias is None else bias.detach(), self.counts.device
        )
        sums = self._sums()
        complete = bool((self.counts >= 2).all() and self.scatter.isfinite().all())
        if not complete:
            # Of which nothing is defined.
            sums = {name: torch.full_like(sum_, name == "counts") for name, sum_ in sums.items()}
        values = every_class_metric(statistics_of_sums(sums, self.shift, weight, bias))
        if not complete:
            values = dict.fromkeys(values)
        device = self.counts.device
        return {
            name: torch.tensor(nan if value is None else value, dtype=torch.float64, device=device)
            for name, value in values.items()
        }

    def _sums(self) -> dict[str, Tensor]:
        """Return the sums, float64 also where a network was cast that holds this."""
        for name in ("shift", *SUMS):
            setattr(self, name, getattr(self, name).to(torch.float64))
        return {name: getattr(self, name) for name in SUMS}
