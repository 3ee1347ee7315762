"""Trained models as points: their metrics side by side, and how these go with validation loss."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from collapse.studies import Results

LOSS = "validation_loss"
METRICS = (
    "CDNV", "CDNV_2", "log_norm_variance_unweighted", "GNC2_log_variance_unweighted",
    "duality_cosine_mean_unweighted", "duality_cosine_variance_unweighted",
    "duality_product_variance_unweighted", "NC4_held_out", "NC2_ETF_unweighted",
)  # fmt: skip
"""What models are compared by."""
PERMUTATIONS = 20_000
"""Random orders that a p is a share of."""


def models(experiment: Results, *, every_epoch: bool = False) -> pd.DataFrame:
    """Return a row for each model that did not diverge, its metrics as columns.

    With the run's keys and ``step``, the epoch: the last one, or every recorded one but the start.
    """
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["step"] > 0]
    if not every_epoch and len(rows):
        rows = rows[rows["step"] == rows["step"].max()]
    wanted = [LOSS, "classes", "entropy", *METRICS]
    rows = rows[rows["metric"].isin(wanted)]
    keys = [*experiment.keys, "step"]
    table = rows.set_index([*keys, "metric"])["value"].unstack("metric")
    # A metric that no model has is a column all the same.
    return table.reindex(columns=wanted).rename_axis(columns=None).reset_index()


def spearman(first: pd.Series, second: pd.Series) -> float:
    """Return the correlation of the ranks of what both have; NaN of fewer than three."""
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    if len(both) < 3:
        return np.nan
    ranks = both.rank()
    return float(ranks["first"].corr(ranks["second"]))


def partial_effect(values: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """Return Pearson's correlation and its p by permutations, two-sided; NaN of fewer than three.

    p is the share of random orders, the found one among them, whose correlation is as far from 0.
    """
    both = pd.DataFrame({"first": list(values), "second": list(losses)}).dropna().to_numpy()
    if len(both) < 3 or not (np.ptp(both, 0) > 0).all():
        return np.nan, np.nan
    centred = both - both.mean(0)
    first, second = (centred / np.linalg.norm(centred, axis=0)).T
    found = float(first @ second)
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(second, (PERMUTATIONS, 1)), axis=1) @ first
    # Rounding must not tell the found order from itself.
    as_far = np.count_nonzero(np.abs(orders) >= abs(found) - 1e-12)
    return found, (as_far + 1) / (PERMUTATIONS + 1)
