"""What theory may ask of the data that an experiment is about."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from collapse.data.dataset import Dataset, prepare


def facts_of(dataset: Dataset, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is measured of the targets that the section ``data``, `choice`, trains on.

    ``class_sizes``, the samples of each class in label order; of a regression ``target_mean`` (n)
    and ``target_covariance`` (n x n, with 1/M).

    Raises
    ------
    InputError
        If the data set cannot give the samples that are chosen.
    """
    targets = prepare(dataset, choice).targets
    if dataset.regression:
        # `cov` gives a single target's variance without axes.
        covariance = np.atleast_2d(np.cov(targets.T, ddof=0))
        return {"target_mean": targets.mean(0), "target_covariance": covariance}
    return {"class_sizes": np.bincount(targets).tolist()}
