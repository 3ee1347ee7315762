"""Claims of the mixup paper about its model, features that are free, decided from the tables."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.verdicts import Claim, Decision, lost
from collapse.theory.mixup import coordinates

PAPER = "Fisher et al. 2024"
DERIVED = "closed form derived from its model"
SOLVED = 1e-8
"""Relative distance at which Newton's minimiser in float64 agrees with a closed form."""
DESCENT = 1e-3
"""The same where gradient descent has taken the steps of its config."""
GROWTH = 0.15
"""Relative distance of a slope between two decays from its limit at no decay."""

Found = pd.DataFrame
"""The columns of the last states, with what the closed form says of each."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield the claims about free features."""
    yield from _fixed(experiments["fixed_classifier"], experiments["fixed_classifier_mse"])
    yield from _free(experiments)


def _closed_form(experiment: Results) -> Found:
    """Return the last states' columns with u and v of the closed form.

    At the norm that the classifier has in each run.
    """
    rows = experiment.completed(experiment.points("mixed_columns"))
    norms = experiment.last("classifier_norm")[[*experiment.keys, "value"]]
    norm = rows[experiment.keys].merge(norms, how="left")["value"].to_numpy()
    problem, decay = experiment.config["problem"], rows["feature_decay"].to_numpy()
    place = problem["classes"], norm, decay, rows["mix"].to_numpy(), problem["loss"]
    u, v = coordinates(*place)
    return rows.assign(u_closed=u, v_closed=v)


def _error(found: Found) -> pd.Series:
    """Return the largest distance of u and v from the closed form, over its largest, by run."""
    distance = np.maximum(abs(found["u"] - found["u_closed"]), abs(found["v"] - found["v_closed"]))
    runs = [found["feature_decay"], found["seed"]]
    return distance.groupby(runs).max() / found["u_closed"].groupby(runs).max()


def _lost(*experiments: Results) -> list[str]:
    return lost(sum(len(each.values("diverged")) for each in experiments))


def _fixed(crossed: Results, squared: Results) -> Iterator[Decision]:
    found, seeds = _closed_form(crossed), crossed.config["seeds"]
    same = found["first"] == found["second"]
    obstacles = _lost(crossed)
    for name, chosen, statement in (
        (
            "same_class",
            same,
            "For a classifier fixed to a simplex ETF, features of pairs of one class lie along its "
            "row, with the logit gap t of t (e^t + K - 1) = kappa K, whatever lambda.",
        ),
        (
            "different_classes",
            ~same,
            "Features of pairs of two classes are a (u w_i + v w_j), with u and v of the closed "
            "form, at every lambda.",
        ),
    ):
        yield Claim(
            f"model_{name}",
            f"{PAPER}, theorem; {DERIVED}",
            statement,
            "largest distance of u and v from the closed form, over the largest u of a run, is 0",
            SOLVED,
            3,
        ).decide(_error(found[chosen]), seeds, obstacles)
    yield Claim(
        "model_plane",
        f"{PAPER}, theorem; {DERIVED}",
        "Features of mixed pairs have no component outside the span of the classifier, and the "
        "logits of all other classes are equal.",
        "largest of the share of a feature's norm outside it, and of the spread of other logits "
        "over u, is 0",
        SOLVED,
        3,
    ).decide(_outside(found), seeds, obstacles)
    yield _growth(found, seeds, obstacles)
    squares = _closed_form(squared)
    yield Claim(
        "model_mse_convex",
        f"{PAPER}, abstract; {DERIVED}",
        "With MSE features are exact convex combinations of those of both classes.",
        "largest distance of u and v from lambda t and (1 - lambda) t, over t, is 0",
        SOLVED,
        3,
    ).decide(_convexity(squares), squared.config["seeds"], _lost(squared))


def _outside(found: Found) -> pd.Series:
    runs = [found["feature_decay"], found["seed"]]
    spread = found["spread"].groupby(runs).max() / found["u"].groupby(runs).max()
    return np.maximum(spread, found["off_plane"].groupby(runs).max())


def _convexity(found: Found) -> pd.Series:
    """Return how far u and v are from straight lines between those of one class, by run."""
    runs = [found["feature_decay"], found["seed"]]
    gap = found["u"].where(found["first"] == found["second"]).groupby(runs).transform("mean")
    straight = found["mix"] * gap, (1 - found["mix"]) * gap
    distance = np.maximum(abs(found["u"] - straight[0]), abs(found["v"] - straight[1])) / gap
    return distance.groupby(runs).max()


def _growth(found: Found, seeds: int, obstacles: list[str]) -> Decision:
    """Decide whether features grow as log(1/feature_decay): their logit gap by 1 for each e."""
    gap = found[found["first"] == found["second"]].groupby(["seed", "feature_decay"])["u"].mean()
    table = gap.unstack().sort_index(axis=1)
    smallest = table.columns[:2].to_numpy(dtype=float)
    obstacles = [*obstacles, *([] if len(smallest) == 2 else ["one feature decay"])]
    slopes = pd.Series(dtype=float)
    if len(smallest) == 2:
        logs = np.log(smallest)
        slopes = (table[smallest[0]] - table[smallest[1]]) / (logs[1] - logs[0])
    return Claim(
        "model_growth",
        DERIVED,
        "Without decay of the features the minimum is not attained: their logit gap grows as "
        "log(1/feature_decay).",
        "|slope of t against log(1/feature_decay) between the two smallest - 1| is 0",
        GROWTH,
        3,
    ).decide((slopes - 1).abs(), seeds, obstacles)


def _free(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    names = {
        "free_classifier": ("", "L-BFGS and Newton", SOLVED),
        "free_classifier_mse": ("_mse", "L-BFGS and Newton, MSE", SOLVED),
        "free_descent": ("_descent", "gradient descent", DESCENT),
    }
    for name, (suffix, how, tolerance) in names.items():
        experiment = experiments[name]
        seeds, obstacles = experiment.config["seeds"], _lost(experiment)
        yield Claim(
            f"free_etf{suffix}",
            "numerical evidence of this project; the paper assumes it",
            f"A free classifier ends as a simplex ETF ({how}, from random starts).",
            "distance of its centred Gram matrix from the ETF's, both of norm 1, is 0",
            tolerance,
            3,
        ).decide(experiment.last("classifier_ETF")["value"], seeds, obstacles)
        yield Claim(
            f"free_balance{suffix}",
            DERIVED,
            f"Its norm is the one at which the penalties balance ({how}): weight_decay K m^2 = "
            "feature_decay E||h||^2.",
            "|norm of its rows / balanced norm - 1| is 0",
            tolerance,
            3,
        ).decide(_imbalance(experiment), seeds, obstacles)
        yield Claim(
            f"free_features{suffix}",
            DERIVED,
            f"Its features are then those of the closed form at that norm ({how}).",
            "largest distance of u and v from the closed form, over the largest u of a run, is 0",
            tolerance,
            3,
        ).decide(_error(_closed_form(experiment)), seeds, obstacles)


def _imbalance(experiment: Results) -> pd.Series:
    rows = experiment.last("classifier_norm").merge(
        experiment.predicted("classifier_norm"), on=experiment.keys, suffixes=("", "_balanced")
    )
    return (rows["value"] / rows["value_balanced"] - 1).abs()
