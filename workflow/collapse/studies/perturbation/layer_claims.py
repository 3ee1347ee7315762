"""Claims about the hidden layers of real networks, decided from the tables."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.perturbation.layers import by_depth, held_near
from collapse.studies.verdicts import Claim, Decision, lost, short_of

PAPER = "Tirer et al. 2023"
LAYERS = 10
"""Hidden layers of the network of Fig. 2."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    for name, source, text in (
        ("layerwise", f"{PAPER}, Fig. 2", "trained layer by layer"),
        ("end_to_end", f"{PAPER}, App. E.2 (mentioned)", "trained end to end"),
    ):
        yield from _depth(experiments[f"{name}_mlp"], name, source, text)
    yield from _intermediate(experiments["intermediate_features"])


def _depth(experiment: Results, name: str, source: str, text: str) -> Iterator[Decision]:
    for metric in ("NC1", "NC1_ratio"):
        table = by_depth(experiment, metric)
        diverged = lost(len(experiment.values("diverged")))
        runs = [run for _, run in table.groupby(experiment.keys, dropna=False)]
        layers = min((len(run) for run in runs), default=0)
        yield Claim(
            f"{name}_{metric.lower()}",
            source,
            f"Of a network {text}, {metric} of the features falls from hidden layer to hidden "
            "layer.",
            "1 + rank correlation of depth and metric of a run is 0",
            0.1,
            3,
        ).decide(
            [1 + _rank_correlation(run["depth"], run["value"]) for run in runs],
            experiment.config["seeds"],
            diverged + short_of(layers, LAYERS, "layers"),
        )


def _rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Return Spearman's rank correlation, NaN where either does not vary."""
    return first.rank().corr(second.rank())


def _intermediate(experiment: Results) -> Iterator[Decision]:
    seeds, obstacles = experiment.config["seeds"], lost(len(experiment.values("diverged")))
    runs = ["from_layer", "seed"]
    ratios = held_near(experiment, "NC1_ratio")
    change = np.log(ratios["minimiser"] / ratios["start"]).groupby([ratios[key] for key in runs])
    yield Claim(
        "intermediate_nc1_ratio",
        f"{PAPER}, Corollary 3.2; on features of a network it is an extension of this project",
        "The minimiser held near a hidden layer's features has a smaller NC1_ratio than they have.",
        "largest ln(NC1_ratio out / in) of a run over all beta is below 0",
        0.0,
        3,
        bound="theory",
    ).decide(change.max(), seeds, obstacles)
    for metric, sign, text, nearer in (
        ("CKA", -1, "CKA", "rise"),
        ("procrustes", 1, "Procrustes distance", "fall"),
    ):
        table = held_near(experiment, metric).dropna(subset=["minimiser"])
        gain = sign * (table["minimiser"] - table["start"])
        last = sorted(set(ratios["from_layer"]) - set(table["from_layer"]))
        ends = [f"no layer after {layer}" for layer in last]
        yield Claim(
            f"intermediate_{metric.lower()}",
            "extension of this project, not in the paper",
            "At some beta the minimiser held near a hidden layer's features is nearer to the "
            f"network's next layer, by {text}, than they are.",
            f"least change of the {text}, a {nearer} counted as below 0, of a run over all beta is "
            "below 0",
            0.0,
            3,
        ).decide(gain.groupby([table[key] for key in runs]).min(), seeds, obstacles + ends)
