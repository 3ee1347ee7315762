"""Where claims of the regression paper come from, and what a scale lacks to decide them."""

import pandas as pd

from collapse.studies import Results
from collapse.studies.regression.analysis import samples
from collapse.studies.verdicts import lost, short_of

PAPER = "Andriopoulos et al. 2024"
DERIVED = "derived from the objective of Andriopoulos et al. 2024"
PAPER_TIME = {"reacher": 30_000, "swimmer": 20_000, "hopper": 26_667}
"""Steps times learning rate of the paper's trainings: epochs x ceil(M/256) x 0.01/n (Table 2).

The released objective is 1/n of this project's, a mean over the n targets too.
"""
PAPER_UFM_EPOCHS = 10_000
"""Epochs of the paper's UFM-type trainings."""
PAPER_NOISY_TIME = {"reacher": 19_550, "swimmer": 19_550, "hopper": 13_033}
"""The same as `PAPER_TIME` of the last released script: so many epochs of 100,000 pairs."""
NOISY = "noisy_"
"""What the names of data sets begin with whose expert's actions are noisy."""


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
    """Return, in words, that a training by gradient descent is shorter than the paper's.

    Counted in steps times learning_rate/(1 - momentum), at a constant rate.
    """
    training = experiment.config["training"]
    times = PAPER_NOISY_TIME if name.startswith(NOISY) else PAPER_TIME
    # Rounded up: the last batch of an epoch is a step too.
    batches = -(-samples(experiment) // training["batch_size"])
    pace = training["learning_rate"] / (1 - training["momentum"])
    time = round(training["epochs"] * batches * pace)
    return short_of(time, times[name.removeprefix(NOISY)], "units of training time")


def shorter_ufm(experiment: Results) -> list[str]:
    """Return, in words, that a UFM-type training by Adam is shorter than the paper's."""
    return short_of(experiment.config["training"]["epochs"], PAPER_UFM_EPOCHS, "epochs")
