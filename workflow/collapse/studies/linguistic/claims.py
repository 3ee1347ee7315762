"""What is claimed of language models, across sizes and at one size."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.linguistic.models import LOSS, models, partial_effect, spearman
from collapse.studies.linguistic.published import CLASSES, EPOCHS, SEEDS, WIDEST
from collapse.studies.verdicts import Claim, Decision, lost, short_of
from collapse.theory.linguistic import etf_floor

PAPER = "Wu & Papyan 2024"
FEW = 12
"""Models that a correlation across sizes needs."""
STRONG = 0.6
"""Correlation of ranks from which on two numbers go together."""
MANY = CLASSES // WIDEST
"""Classes for each feature: at least so many have the paper's models, and at least as many those of
which its word about self-duality is held against."""
CHANCE = 0.1
"""Share of permutations up to which a correlation is no chance."""
_RANKS = "Spearman's correlation of the metric with validation loss over models"
ROUNDING = 1e-9
_TRENDS = {
    "CDNV": ("cdnv", "within-class variability (NC1: CDNV, exponent 1)", STRONG),
    "CDNV_2": ("cdnv_2", "CDNV with exponent 2, that of the released numbers,", STRONG),
    "log_norm_variance_unweighted": (
        "equinorm", "the spread of the class means' lengths (NC2: variance of log norms)", None
    ),
    "GNC2_log_variance_unweighted": (
        "gnc2", "the unevenness of the class means' directions (GNC2: variance of the log kernel)",
        STRONG,
    ),
    "duality_cosine_variance_unweighted": (
        "unc3", "the spread of the cosines of classifier and class means (UNC3)", STRONG
    ),
    "NC4_held_out": (
        "nc4", "the disagreement of classifier and nearest class mean on held-out text (NC4)",
        STRONG,
    ),
}  # fmt: skip
_AT_ONE_SIZE = {
    "NC4_held_out": ("nc4", "the disagreement of classifier and nearest class mean (NC4)"),
    "CDNV_2": ("cdnv_2", "CDNV with exponent 2"),
    "GNC2_log_variance_unweighted": ("gnc2", "the variance of the log kernel (GNC2)"),
}


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    for name in ("grammar", "bible"):
        experiment = experiments[name]
        for metric in _TRENDS:
            yield _trend(experiment, name, metric)
        yield _self_duality(experiment, name)
        yield _floor(experiment, name)
    yield _small_vocabulary(experiments["grammar"])
    yield _entropy(experiments["grammar"])
    for metric in _AT_ONE_SIZE:
        yield _at_one_size(experiments["grammar_seeds"], metric)


def _obstacles(experiment: Results, table: pd.DataFrame, least: int = FEW) -> list[str]:
    reasons = lost(int(experiment.metrics["metric"].eq("diverged").sum()))
    return reasons + ([f"{len(table)} of {least} models"] if len(table) < least else [])


def _excuses(experiment: Results) -> list[str]:
    return short_of(experiment.config["training"]["epochs"], EPOCHS, "epochs")


def _undefined(table: pd.DataFrame, metric: str) -> list[str]:
    """Say in words how many models lack a metric: one that sees no context has most 0/0."""
    count = int(table[metric].isna().sum())
    return [f"undefined in {count}"] if count else []


def _text(experiment: Results) -> str:
    return experiment.config["labels"]["data"]


def _trend(experiment: Results, name: str, metric: str) -> Decision:
    short, text, least = _TRENDS[metric]
    table = models(experiment)
    # That it is strong is this project's word; of one that is weak, that it is no chance.
    if least is None:
        ranks = table[[metric, LOSS]].dropna().rank()
        found = _chance(ranks[metric], ranks[LOSS])
        expected, tolerance = (
            f"p of {_RANKS} by permutations, 1 where its sign is the other, is 0",
            CHANCE,
        )
    else:
        found = least - spearman(table[metric], table[LOSS])
        expected, tolerance = f"{least:g} less {_RANKS} is 0 or less", 0.0
    return Claim(
        f"{short}_{name}",
        f"{PAPER}; strength of its released models' correlations",
        f"Across sizes {text} falls as validation loss does ({_text(experiment)}).",
        expected,
        tolerance,
        2,
    ).decide(
        [] if np.isnan(found) else [found],
        experiment.config["seeds"],
        _obstacles(experiment, table) + _undefined(table, metric),
        _excuses(experiment),
    )


def _chance(values: pd.Series, losses: pd.Series) -> float:
    """Return p of the correlation by permutations; the other sign agrees with nothing: 1."""
    correlation, chance = partial_effect(values, losses)
    return 1.0 if correlation <= 0 else chance


def _self_duality(experiment: Results, name: str) -> Decision:
    table = models(experiment)
    table = table[table["classes"] / table["width"] >= MANY]
    correlation = spearman(table["duality_cosine_mean_unweighted"], table[LOSS])
    return Claim(
        f"no_self_duality_{name}",
        f"{PAPER}; of models with K/d of {MANY} or more, as all of its have",
        f"With {MANY} classes or more for each feature self-duality as such (NC3) does not emerge: "
        "the mean cosine of classifier and class mean does not rise as validation loss falls "
        f"({_text(experiment)}).",
        "minus Spearman's correlation of the mean cosine with validation loss over models is 0 or "
        "less",
        0.0,
        2,
        bound="paper",
    ).decide(
        [] if np.isnan(correlation) else [-correlation],
        experiment.config["seeds"],
        _obstacles(experiment, table),
        _excuses(experiment),
    )


def _small_vocabulary(experiment: Results) -> Decision:
    table = models(experiment)
    table = table[table["classes"] / table["width"] < MANY]
    correlation = spearman(table["duality_cosine_mean_unweighted"], table[LOSS])
    return Claim(
        "self_duality_small_vocabulary",
        "this project",
        f"With fewer than {MANY} classes for each feature, unlike in the paper's models, "
        "self-duality does emerge: the mean cosine of classifier and class mean rises as "
        f"validation loss falls ({_text(experiment)}).",
        f"{STRONG:g} plus Spearman's correlation of the mean cosine with validation loss over "
        "models is 0 or less",
        0.0,
        2,
    ).decide(
        [] if np.isnan(correlation) else [STRONG + correlation],
        experiment.config["seeds"],
        _obstacles(experiment, table),
        _excuses(experiment),
    )


def _floor(experiment: Results, name: str) -> Decision:
    table = models(experiment, every_epoch=True).dropna(subset="NC2_ETF_unweighted")
    sizes = zip(table["width"], table["classes"], strict=True)
    floors = np.array([etf_floor(int(width), int(classes)) for width, classes in sizes])
    return Claim(
        f"etf_floor_{name}",
        "this project, of the paper's library",
        "With more classes than features the ETF error of the class means has a floor above 0 that "
        f"falls with the width, whatever the features: no model is below it ({_text(experiment)}).",
        "floor less NC2_ETF about the unweighted mean is 0 or less, in every epoch of every model",
        ROUNDING,
        2,
        bound="theory",
    ).decide(floors - table["NC2_ETF_unweighted"], experiment.config["seeds"])


def _entropy(experiment: Results) -> Decision:
    table = models(experiment, every_epoch=True).dropna(subset="entropy")
    return Claim(
        "loss_above_entropy",
        "Shannon 1948",
        "No model's validation loss is below what the grammar's own law leaves open of the same "
        f"text, its exact filter's mean surprisal ({_text(experiment)}).",
        "mean surprisal less validation loss, in nats, is 0 or less, in every epoch of every model",
        0.0,
        2,
        bound="theory",
    ).decide(table["entropy"] - table[LOSS], experiment.config["seeds"])


def _at_one_size(experiment: Results, metric: str) -> Decision:
    short, text = _AT_ONE_SIZE[metric]
    table = models(experiment)
    found = _chance(table[metric], table[LOSS])
    return Claim(
        f"{short}_at_one_size",
        PAPER,
        f"At one size, over seeds, a model with a lower validation loss has less of {text} too "
        f"({_text(experiment)}).",
        "p of Pearson's correlation by permutations, 1 where its sign is the other, is 0",
        CHANCE,
        10,
    ).decide(
        [] if np.isnan(found) else [found],
        experiment.config["seeds"],
        _obstacles(experiment, table, 10) + _undefined(table, metric),
        _excuses(experiment) + short_of(experiment.config["seeds"], SEEDS, "seeds"),
    )
