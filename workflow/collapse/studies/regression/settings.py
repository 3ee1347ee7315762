"""Where claims of the regression paper come from, and what a scale lacks to decide them."""

import pandas as pd

from collapse.studies import Results
from collapse.studies.regression.analysis import samples
from collapse.studies.verdicts import lost, short_of

PAPER = "Andriopoulos et al. 2024"
CODE = "released code of Andriopoulos et al. 2024"
DERIVED = "derived from the objective of Andriopoulos et al. 2024"
PAPER_TIME = {"reacher": 60_000, "swimmer": 40_000, "hopper": 80_000}
"""Steps times learning rate of the paper's trainings: epochs x ceil(M/256) x 0.01 (Table 2)."""
PAPER_UFM_EPOCHS = 10_000
"""Epochs of the paper's UFM-type trainings."""


def lacking(name: str, experiment: Results) -> list[str]:
    """Return, in words, what keeps an experiment from a verdict about its data set."""
    data = experiment.config["data"]["name"]
    other = [] if data == name else [f"{data} in place of {name}"]
    return other + lost(len(experiment.values("diverged")))


def gate(*fits: pd.Series) -> list[str]:
    """Return, in words, that a network is no better than a constant: then NRC says nothing."""
    return [] if all((fit > 0).all() for fit in fits) else ["R2 is not above 0 in every run"]


def no_decay_above_zero(decay: float) -> list[str]:
    """Return, in words, that nothing is decayed, if that is so."""
    return [] if decay > 0 else ["no weight decay above 0 at this scale"]


def shorter(name: str, experiment: Results) -> list[str]:
    """Return, in words, that a training under weight decay is shorter than the paper's.

    Counted in steps times learning_rate/(1 - momentum), at a constant rate.
    """
    training = experiment.config["training"]
    # Rounded up: the last batch of an epoch is a step too.
    batches = -(-samples(experiment) // training["batch_size"])
    pace = training["learning_rate"] / (1 - training["momentum"])
    time = round(training["epochs"] * batches * pace)
    return short_of(time, PAPER_TIME[name], "units of training time")


def shorter_ufm(experiment: Results) -> list[str]:
    """Return, in words, that a UFM-type training is shorter than the paper's."""
    return short_of(experiment.config["training"]["epochs"], PAPER_UFM_EPOCHS, "epochs")
