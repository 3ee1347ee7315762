"""The toy's claim."""

from collapse.studies.analysis import loss_gap
from collapse.studies.verdicts import Claim


def decide(experiments):
    experiment = experiments["descent"]
    gap = loss_gap(experiment)
    yield Claim(
        "relu_loss", "a toy", "Descent reaches the closed form.", "|L/L* - 1| is 0", 1e-3, 3
    ).decide(gap[gap["step"] == gap["step"].max()]["value"], experiment.config["seeds"])
