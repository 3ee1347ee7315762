"""Claims about networks of a small and a large start."""

import math
from collections.abc import Iterator

import pandas as pd

from collapse.studies import Results
from collapse.studies.deep_rfm.starts import STARTS, by_layer, falls, of_start
from collapse.studies.verdicts import Claim, Decision, lost, short_of

PAPER = "Beaglehole et al. 2024"
SAMPLES = 5000
"""Samples of each class that the released code trains on."""
HALF = 0.5
FACTOR = 20
"""By which the NC1 ratio of a small start is to be lower than that of a large one."""
LEARNT = 0.02
"""Training error up to which a network has learnt its data."""


def decide(experiment: Results) -> Iterator[Decision]:
    """Yield one row per claim."""
    yield _in_each_layer(experiment)
    yield _over_all_layers(experiment)
    yield _start(experiment)
    yield _ansatz(experiment)


def _in_each_layer(experiment: Results) -> Decision:
    table = falls(experiment, "small")
    # Raising NC1 less than the ReLU does lowers nothing.
    excess = (table["rest"].clip(lower=0) - table["right"]).groupby(table["seed"])
    claim = Claim(
        "right_factor_in_each_layer",
        PAPER,
        "In networks of a small start the right singular factor of every hidden layer lowers NC1 "
        "(tr S_W / tr S_B) by more than its ReLU does: its share of the fall is above one half.",
        "largest fall of ln(NC1_ratio) at the ReLU, or 0 where it rises there, less that at the "
        "right factor, of all hidden layers of a seed, is below 0",
        0.0,
        3,
        bound="theory",
    )
    return _decide(claim, experiment, excess.agg(lambda each: each.max(skipna=False)), "small")


def _over_all_layers(experiment: Results) -> Decision:
    sums = falls(experiment, "small").groupby("seed")[["right", "rest"]].sum()
    claim = Claim(
        "right_factor_over_all_layers",
        PAPER,
        "In networks of a small start the right singular factors of all hidden layers together do "
        "more than half of the fall of NC1 from the images to the features.",
        "sum over hidden layers of the falls of ln(NC1_ratio) at the ReLUs less those at the right "
        "factors, or the opposite of the sum of both where that is larger, of a seed, is below 0",
        0.0,
        3,
        bound="theory",
    )
    # The larger of rest - right and -(rest + right): of a rise there is no half.
    return _decide(claim, experiment, sums["rest"].abs() - sums["right"], "small")


def _start(experiment: Results) -> Decision:
    rows = experiment.last("NC1_ratio", "H1")
    small, large = (of_start(rows, start).set_index("seed")["value"] for start in STARTS)
    claim = Claim(
        "small_start",
        PAPER,
        "A network collapses from a small start, and not from a large one: NC1 (tr S_W / tr S_B) "
        f"of its features is {FACTOR} times lower.",
        f"{FACTOR} times NC1_ratio from the small start over that from the large one is below 1",
        1.0,
        3,
    )
    return _decide(claim, experiment, (FACTOR * small / large).dropna(), *STARTS)


def _ansatz(experiment: Results) -> Decision:
    rows = of_start(experiment.at_last(by_layer(experiment, "NFA")), "small")
    claim = Claim(
        "neural_feature_ansatz",
        PAPER,
        "In networks of a small start W^T W of every hidden layer is correlated with the AGOP of "
        "the network by that layer's input.",
        "1/2 less the smallest correlation of all hidden layers of a seed, at the last epoch, is "
        "below 0",
        0.0,
        3,
    )
    return _decide(claim, experiment, HALF - rows.groupby("seed")["value"].min(), "small")


def _decide(claim: Claim, experiment: Results, values: pd.Series, *starts: str) -> Decision:
    """Decide a claim about networks of these starts, from its statistic by seed."""
    rows = {start: of_start(experiment.metrics, start) for start in starts}
    obstacles = [f"no {start} start at this scale" for start, part in rows.items() if part.empty]
    diverged = sum(part["metric"].eq("diverged").sum() for part in rows.values())
    errors = experiment.last("error", "all")
    if any((of_start(errors, start)["value"] > LEARNT).any() for start in starts):
        obstacles.append(f"training error above {LEARNT:.0%}")
    samples = experiment.config["data"]["samples_per_class"] or math.inf
    excuses = short_of(samples, SAMPLES, "samples a class")
    return claim.decide(
        values, experiment.config["seeds"], obstacles + lost(int(diverged)), excuses
    )
