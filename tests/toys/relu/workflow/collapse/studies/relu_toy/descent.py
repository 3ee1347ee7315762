"""Figure: the loss against the step, and the features at the end."""

import matplotlib.pyplot as plt

from collapse.plotting import THEORY, TWO_COLUMNS


def draw(experiments):
    experiment = experiments["descent"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.2))
    rows = experiment.completed(experiment.values("loss"))
    for _, run in rows.groupby("seed"):
        left.loglog(run["step"].clip(lower=1), run["value"])
    left.axhline(experiment.predicted("loss")["value"].iloc[0], **THEORY)
    left.set(xlabel="step", ylabel="loss")
    points = experiment.points("relu_toy")
    right.scatter(points["first"], points["second"], c=points["label"], s=5)
    right.set(xlabel="$h_1$", ylabel="$h_2$")
    return figure, rows[["seed", "step", "value"]]


def findings(rows):
    return f"The loss ends at {rows['value'].iloc[-1]:.3g}."
