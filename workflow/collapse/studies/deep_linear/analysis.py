"""Numbers that figures and claims share: from the tables to what is compared with theory."""

import numpy as np
import pandas as pd

from collapse.studies import Results

HEAD = {False: "bias-free", True: "last-layer bias"}
"""What a head is called, without and with a last-layer bias."""

OF_HEAD = {HEAD[False]: "Without a bias", HEAD[True]: "With a last-layer bias"}
"""How a sentence about a head begins."""

NC2 = {False: "NC2_OF", True: "NC2_ETF"}
"""Which frame the class means converge to, without and with a last-layer bias."""

FRAME = {False: "orthogonal frame", True: "simplex ETF"}
"""What that frame is called."""


def fractions(experiment: Results) -> pd.DataFrame:
    """Return the top logit singular value over sqrt(n) per run and stage, with its scaled decay."""
    keys = [*experiment.keys, "step"]
    size = max(experiment.config["problem"]["class_sizes"])
    rows = experiment.completed(experiment.values("logit_singular_values[0]", "Z")).merge(
        experiment.values("scaled_decay")[[*keys, "value"]], on=keys, suffixes=("", "_decay")
    )
    return rows.assign(value=rows["value"] / np.sqrt(size)).rename(
        columns={"value_decay": "scaled_decay"}
    )[[*keys, "scaled_decay", "value"]]


def excess_losses(experiment: Results) -> pd.DataFrame:
    """Return per run the loss reached and the cross-polytope's, relative to the best ETF's.

    For M = 1 the ETF is the global optimum and `loss_etf` is the closed form `loss`.
    """
    keys = experiment.keys
    rows = experiment.last("loss")[[*keys, "value"]]
    for family in ("loss_etf", "loss_cross_polytope", "loss"):
        rows = rows.merge(
            experiment.predicted(family).rename(columns={"value": family}), on=keys, how="left"
        )
    # Left joins above: which families theory has a loss of depends on depth and classes.
    etf = rows["loss_etf"].fillna(rows["loss"])
    return rows.assign(
        classes=[_classes(sizes) for sizes in rows["class_sizes"]],
        reached=rows["value"] / etf - 1,
        cross_polytope=rows["loss_cross_polytope"] / etf - 1,
    )[[*keys, "classes", "reached", "cross_polytope"]]


def _classes(sizes: str) -> int:
    # Lists are text in tables, their values joined by "-".
    return len(sizes.split("-"))
