"""Trained networks under five settings of weight decay (Fig. 3): what figure and claims share."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from collapse.grid import tied
from collapse.studies import Results

LOSSES = {
    "mse": ("resnet_mse", "resnet_mse_features"),
    "ce": ("resnet_ce", "resnet_ce_features"),
}
"""Of each loss the experiment that varies the decay of the last layer, FC, and the features'."""
NAMES = {"mse": "MSE", "ce": "cross-entropy"}

ARMS = {
    "baseline": (1, 1),
    "2x FC": (2, 1),
    "2x features": (1, 2),
    "zero FC": (0, 1),
    "zero features": (1, 0),
}
"""Factors of the baseline's decays of FC and of the features."""


def of_loss(experiments: Mapping[str, Results], loss: str) -> Results:
    """Return the experiments of a loss as one, whose runs are named by ``arm`` and ``seed``.

    The baseline has the decay that each of the two does not vary. Runs at other decays are left
    out, and so are arms that were not run.
    """
    last_layer, features = (experiments[name] for name in LOSSES[loss])
    weight = tied(features.config)["weight_decay"]
    backbone = tied(last_layer.config)["backbone_decay"]
    rows = pd.concat([last_layer.metrics, features.metrics])
    metrics = pd.concat(
        rows[
            _equal(rows["weight_decay"], factors[0] * weight)
            & _equal(rows["backbone_decay"], factors[1] * backbone)
        ].assign(arm=name)
        for name, factors in ARMS.items()
        # Twice a decay of 0, or none of it, is the baseline itself.
        if name == "baseline" or (factors[0] - 1) * weight or (factors[1] - 1) * backbone
    )
    keys = ["arm", "seed", "step", "layer", "metric"]
    # Either experiment may have run the baseline.
    metrics = metrics[[*keys, "value"]].drop_duplicates(keys, ignore_index=True)
    seeds = min(last_layer.config["seeds"], features.config["seeds"])
    return replace(last_layer, config=last_layer.config | {"seeds": seeds}, metrics=metrics)


def _equal(values: pd.Series, wanted: float) -> np.ndarray:
    # Relative: decays are small.
    return np.isclose(values, wanted, rtol=1e-9, atol=0)


def log_ratios(experiment: Results) -> pd.DataFrame:
    """Return ln(NC1 of an arm / NC1 of the baseline) of the last epoch, seed by seed and by arm.

    `experiment` is one of `of_loss`; an arm that was not run is a column of NaN.
    """
    last = experiment.last("NC1", "H1").pivot(index="seed", columns="arm", values="value")
    logs = np.log(last.reindex(columns=list(ARMS)))
    return logs.sub(logs["baseline"], axis=0)
