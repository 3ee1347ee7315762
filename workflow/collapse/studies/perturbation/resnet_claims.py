"""Claims of the perturbation paper about trained networks, decided from the tables."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from collapse.studies import Results
from collapse.studies.perturbation.resnet import ARMS, LOSSES, NAMES, log_ratios, of_loss
from collapse.studies.verdicts import Claim, Decision, lost, missing, short_of

SOURCE = "Tirer et al. 2023, Fig. 3"
PAPER_EPOCHS = 200
"""Epochs of the code of Zhu et al. 2021, on which the paper builds."""
LEARNT = 0.02
"""Training error from which on a network is in the phase that the claims are about."""


def resnets(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield the claims about each loss."""
    for loss in LOSSES:
        experiment = of_loss(experiments, loss)
        ratios = log_ratios(experiment)
        yield _direction(loss, experiment, ratios)
        yield _asymmetry(loss, experiment, ratios)
        # Of cross-entropy only the paper says it.
        if loss == "ce":
            yield _last_layer(experiment, ratios)


def _direction(loss: str, experiment: Results, ratios: pd.DataFrame) -> Decision:
    changes = pd.concat([ratios["2x features"], -ratios["zero features"]], axis=1)
    claim = Claim(
        f"resnet_{loss}_direction",
        SOURCE,
        f"Doubling the weight decay of a network's features ({NAMES[loss]}) takes its features "
        "closer to collapse, leaving it out takes them further.",
        "largest of ln(NC1 of 2x features / baseline) and its opposite at zero features, at the "
        "last epoch of a seed, is below 0",
        0.0,
        3,
        bound="theory",
    )
    arms = ("baseline", "2x features", "zero features")
    return _decide(claim, _largest(changes), experiment, arms)


def _asymmetry(loss: str, experiment: Results, ratios: pd.DataFrame) -> Decision:
    moved = ratios.abs()
    pairs = (("2x FC", "2x features"), ("zero FC", "zero features"))
    excess = pd.concat([moved[last] - moved[features] for last, features in pairs], axis=1)
    claim = Claim(
        f"resnet_{loss}_asymmetry",
        SOURCE,
        f"The weight decay of the features ({NAMES[loss]}) moves a network's collapse more than "
        "that of the last layer, FC, does: doubled as well as left out.",
        "largest of |ln(NC1 of FC arm / baseline)| less that of the features' arm, of 2x and of "
        "zero, at the last epoch of a seed, is below 0",
        0.0,
        3,
        bound="theory",
    )
    return _decide(claim, _largest(excess), experiment, tuple(ARMS))


def _last_layer(experiment: Results, ratios: pd.DataFrame) -> Decision:
    changes = ratios["2x FC"].dropna()
    claim = Claim(
        "resnet_ce_last_layer",
        SOURCE,
        "With cross-entropy doubling the weight decay of the last layer, FC, sometimes takes a "
        "network's features closer to collapse too.",
        "smallest ln(NC1 of 2x FC / baseline) of all seeds, at the last epoch, is below 0: closer "
        f"in {(changes < 0).sum()} of {len(changes)} seeds",
        0.0,
        3,
        bound="theory",
    )
    # "Sometimes": one seed is enough.
    return _decide(claim, changes.nsmallest(1), experiment, ("baseline", "2x FC"))


def _largest(values: pd.DataFrame) -> pd.Series:
    """Return the largest value of each seed; NaN where one is."""
    return values.max(axis=1, skipna=False)


def _decide(claim: Claim, values: pd.Series, experiment: Results, arms: Sequence[str]) -> Decision:
    """Decide a claim of these arms from its statistic by seed, NaN where an arm is missing."""
    rows = experiment.metrics[experiment.metrics["arm"].isin(arms)]
    diverged, config = rows["metric"].eq("diverged"), experiment.config
    errors = experiment.last("error", "all")
    unlearnt = errors["arm"].isin(arms) & (errors["value"] > LEARNT)
    obstacles = missing(arms, rows["arm"].unique(), "arm") + lost(int(diverged.sum()))
    obstacles += ["training error above 2 %"] if unlearnt.any() else []
    shorter = short_of(config["training"]["epochs"], PAPER_EPOCHS, "epochs")
    # With an obstacle NaN is an arm that was not run; else a metric that a run lacks counts.
    values = values.dropna() if obstacles else values
    return claim.decide(values, config["seeds"], obstacles, shorter)
