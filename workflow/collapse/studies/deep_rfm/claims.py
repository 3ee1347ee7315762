"""What is claimed of deep recursive feature machines, and of networks in `mlp_claims`."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.deep_rfm import mlp_claims
from collapse.studies.deep_rfm.layers import ends, falls
from collapse.studies.networks import data_name
from collapse.studies.verdicts import Claim, Decision, lost, missing, short_of

PAPER = "Beaglehole et al. 2024"
CODE = f"{PAPER}, released code"
LAYERS = 8
"""Layers of the released notebook, which a verdict needs."""
COLLAPSED = 1e-2
"""NC1 ratio of the last features over that of the inputs below which they count as collapsed."""
KEPT = 2.0
"""Factor by which the NC1 ratio may fall where it is said not to."""
_ABLATIONS = {
    "identity": "without a projection (M = I)",
    "shuffled": "with the AGOP's eigenvalues in a random basis",
}


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    for name, short in (("rfm", "images"), ("rfm_digits", "digits")):
        experiment = experiments[name]
        yield _collapse(experiment, short)
        for projection, text in _ABLATIONS.items():
            yield _ablation(experiment, short, projection, text)
        yield _geometry(experiment, short)
        yield _projection(experiment, short)
        yield _projection_in_span(experiment, short)
        yield _accuracy(experiment, short)
    yield _fourier(experiments["rfm_digits"])
    yield from mlp_claims.decide(experiments["mlp"])


def _short(experiment: Results) -> list[str]:
    return short_of(experiment.config["depth"], LAYERS, "layers")


def _obstacles(experiment: Results, *projections: str, feature_map: str = "relu") -> list[str]:
    """Return, in words, which runs that a claim needs diverged or are no part of the grid."""
    rows = experiment.metrics[experiment.metrics["feature_map"] == feature_map]
    if rows.empty:
        return [f"no {feature_map} features at this scale"]
    rows = rows[rows["projection"].isin(projections)]
    diverged = int(rows["metric"].eq("diverged").sum())
    return lost(diverged) + missing(projections, rows["projection"], "projection")


def _collapse(experiment: Results, short: str) -> Decision:
    ratios = ends(experiment, "NC1_ratio", "relu", "agop")
    return Claim(
        f"agop_collapse_{short}",
        f"{PAPER}; depth of its released notebook",
        f"Layers of kernel regression, AGOP and random ReLU features collapse {_of(experiment)}: "
        "NC1 (tr S_W / tr S_B) falls to a hundredth.",
        "NC1_ratio of the last layer's features over that of the inputs is 0",
        COLLAPSED,
        3,
    ).decide(
        ratios["output"] / ratios["input"],
        experiment.config["seeds"],
        _obstacles(experiment, "agop"),
        _short(experiment),
    )


def _ablation(experiment: Results, short: str, projection: str, text: str) -> Decision:
    ratios = ends(experiment, "NC1_ratio", "relu", projection)
    return Claim(
        f"{projection}_no_collapse_{short}",
        f"{PAPER}; the shuffled basis is this project's",
        f"Layers of kernel regression {text} do not collapse {_of(experiment)}: it is the AGOP's "
        "directions that do it.",
        "NC1_ratio of the inputs over that of the last layer's features is below 2",
        KEPT,
        3,
    ).decide(
        ratios["input"] / ratios["output"],
        experiment.config["seeds"],
        # Fewer layers would have less to keep.
        _obstacles(experiment, projection) + _short(experiment),
    )


def _geometry(experiment: Results, short: str) -> Decision:
    ratios = ends(experiment, "NC2_ETF", "relu", "agop")
    return Claim(
        f"agop_nc2_{short}",
        PAPER,
        f"With the AGOP the class means of {_of(experiment)} come nearer to a simplex ETF.",
        "NC2_ETF of the last layer's features over that of the inputs is below 1",
        1.0,
        3,
        bound="theory",
    ).decide(
        ratios["output"] / ratios["input"],
        experiment.config["seeds"],
        _obstacles(experiment, "agop"),
        _short(experiment),
    )


def _projection(experiment: Results, short: str) -> Decision:
    return Claim(
        f"projection_{short}",
        PAPER,
        "In every layer the projection by the AGOP lowers NC1 (tr S_W / tr S_B) of "
        f"{_of(experiment)} at least as much as the random features do.",
        "largest fall of ln(NC1_ratio) at the features, or 0 where it rises there, less that at "
        "the projection, of all layers of a seed, is 0 or less",
        0.0,
        3,
        bound="theory",
    ).decide(
        _excess(experiment, "NC1_ratio"),
        experiment.config["seeds"],
        _obstacles(experiment, "agop") + _short(experiment),
    )


def _projection_in_span(experiment: Results, short: str) -> Decision:
    return Claim(
        f"projection_in_span_{short}",
        f"{PAPER}, with NC1 of Papyan, Han & Donoho 2020",
        "In every layer the projection by the AGOP lowers NC1 = tr(S_W S_B^+)/K of "
        f"{_of(experiment)}, variance in the span of the class means alone, at least as much as "
        "the random features do; the paper does not say it of this measure.",
        "largest fall of ln(NC1) at the features, or 0 where it rises there, less that at the "
        "projection, of all layers of a seed, is 0 or less",
        0.0,
        3,
        bound="theory",
    ).decide(
        _excess(experiment, "NC1"),
        experiment.config["seeds"],
        _obstacles(experiment, "agop") + _short(experiment),
    )


def _excess(experiment: Results, metric: str) -> pd.Series:
    """Return the largest difference of both falls of a seed over its layers; NaN if one is.

    Features that raise the metric count as 0: what raises it less lowers nothing.
    """
    table = falls(experiment, metric)
    return (
        (table["map"].clip(lower=0) - table["projection"])
        .groupby("seed")
        .agg(lambda each: each.max(skipna=False))
    )


def _accuracy(experiment: Results, short: str) -> Decision:
    errors = experiment.completed(experiment.values("error", "all"))
    arms = ("agop", *_ABLATIONS)
    return Claim(
        f"accuracy_{short}",
        "this project",
        f"The fit tells the arms apart nowhere: kernel regression makes no error on the training "
        f"samples of {_of(experiment)} at any layer, with the AGOP or without.",
        "largest training error of all layers and arms of a seed is 0",
        0.0,
        3,
    ).decide(
        errors.groupby("seed")["value"].max(),
        experiment.config["seeds"],
        _obstacles(experiment, *arms),
    )


def _fourier(experiment: Results) -> Decision:
    found = {
        projection: ends(experiment, "NC1_ratio", "fourier", projection)
        for projection in ("agop", *_ABLATIONS)
    }
    changes = {name: np.log(table["output"] / table["input"]) for name, table in found.items()}
    # Down with it, up without.
    worst = pd.concat([changes["agop"], -changes["identity"], -changes["shuffled"]], axis=1)
    return Claim(
        "fourier_direction",
        CODE,
        f"With random Fourier features, too, NC1 of {_of(experiment)} falls with the AGOP and not "
        "in its ablations.",
        "largest of ln(NC1_ratio of the last features / of the inputs) with the AGOP and of its "
        "opposite in both ablations, of a seed, is below 0",
        0.0,
        3,
        bound="theory",
    ).decide(
        worst.max(axis=1, skipna=False),
        experiment.config["seeds"],
        _obstacles(experiment, *found, feature_map="fourier") + _short(experiment),
    )


def _of(experiment: Results) -> str:
    return data_name(experiment.config)
