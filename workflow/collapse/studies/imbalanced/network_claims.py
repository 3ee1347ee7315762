"""Claims of the imbalanced case about trained networks."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.analysis import by_class, signed_gap
from collapse.studies.imbalanced.analysis import (
    DERIVED,
    PAPER,
    TO_BALANCED,
    decays,
    depths_missing,
    runs_lost,
    weight_decays,
)
from collapse.studies.verdicts import Claim, Decision, short_of
from collapse.theory.frame import lengths
from collapse.theory.imbalanced import predict

DEPTHS = (1, 3, 6)
PAPER_EPOCHS = 12_000
"""Epochs of the released code."""
ZERO = 0.1
"""Own mean logit below which a class of a trained network counts as collapsed; its label's is 1."""
CLEARLY_ALIVE = 0.2
"""Predicted logit from which a class is expected above `ZERO`; those between do not count."""
NEAR = 0.01
"""Relative distance to a closed form up to which the objective of a network counts as there."""


def network_mlp(experiment: Results) -> Iterator[Decision]:
    """Yield the claims of the MLP on an imbalanced set of images."""
    seeds, epochs = experiment.config["seeds"], experiment.config["training"]["epochs"]
    errors = experiment.last("error", "all")["value"]
    obstacles = depths_missing(experiment, DEPTHS) + runs_lost(experiment)
    obstacles += [] if (errors <= 0.02).all() else ["training error above 2 %"]
    shorter = short_of(epochs, PAPER_EPOCHS, "epochs")
    for label, metric, tolerance in (
        ("NC1", "NC1", 0.1),
        ("NC2_W", "NC2_W_GOF", 0.5),
        ("NC2_H", "NC2_GOF", 0.5),
        ("NC3", "NC3_GOF", 0.5),
        ("duality", "duality_GOF", 0.5),
    ):
        rows = experiment.completed(experiment.values(metric, "H1")).sort_values("step")
        rows = rows[rows["step"] > 0]
        # The start itself says nothing of training: the first epoch is the reference.
        by_run = rows.groupby(experiment.keys)["value"]
        yield Claim(
            f"network_mlp_{label}",
            PAPER,
            "A trained MLP with a bias-free linear head of M = 1, 3, 6 layers on unequal classes "
            f"moves towards the general orthogonal frame of its decays: {label} falls.",
            f"{label} at the last epoch over {label} at the first is at most {tolerance:g}",
            tolerance,
            2,
        ).decide(by_run.last() / by_run.first(), seeds, obstacles, shorter)
    ratios = [
        experiment.last(general, "H1").set_index(experiment.keys)["value"]
        / experiment.last(balanced, "H1").set_index(experiment.keys)["value"]
        for general, balanced in TO_BALANCED.items()
    ]
    yield Claim(
        "network_mlp_nearer",
        PAPER,
        "The trained MLP ends nearer to the general orthogonal frame than to the orthogonal frame "
        "of equal lengths, in weights, class means and their product.",
        "largest distance to the general frame over that to the balanced one is below 1",
        1.0,
        2,
        bound="theory",
    ).decide(pd.concat(ratios, axis=1).max(axis=1, skipna=False), seeds, obstacles, shorter)
    yield from _minima(experiment, shorter)


def _minima(experiment: Results, shorter: list[str]) -> Iterator[Decision]:
    """Yield the claims of where the objective ends: at its optimum, or at a local minimum."""
    seeds, gaps = experiment.config["seeds"], signed_gap(experiment)
    for depth in DEPTHS:
        yield Claim(
            f"network_mlp_optimum_M{depth}",
            DERIVED,
            f"M={depth}: the trained MLP ends at the global optimum that free features have.",
            f"|objective at the last epoch / closed form - 1| is at most {NEAR:g}",
            NEAR,
            2,
        ).decide(
            gaps.loc[gaps["depth"] == depth, "gap"].abs(),
            seeds,
            depths_missing(experiment, (depth,)) + runs_lost(experiment, depth),
            shorter,
        )
    yield Claim(
        "network_mlp_minimum",
        DERIVED,
        "Where it ends is a minimum of the model: the optimum, or a local minimum of fewer "
        "directions than classes, which merges or loses the smallest.",
        "|objective / (closed form of the r strongest directions) - 1| for the best r up to the "
        f"number of classes is at most {NEAR:g}",
        NEAR,
        2,
    ).decide(
        _distances(experiment),
        seeds,
        depths_missing(experiment, DEPTHS) + runs_lost(experiment),
        shorter,
    )


def _distances(experiment: Results) -> list[float]:
    """Return how far each run's objective ends from the nearest optimum of 1 to K directions."""
    sizes = experiment.at_last(by_class(experiment, "class_size"))
    # They are the same for all runs.
    class_sizes = sizes.groupby("class")["class_size"].first().astype(int).tolist()
    model = {"class_sizes": class_sizes, "bias": experiment.config["head"]["bias"]}
    found = []
    for depth, ends in experiment.last("loss").groupby("depth"):
        weights, feature = decays(experiment.config, depth)
        model |= {"depth": int(depth), "weight_decay": weights, "feature_decay": feature}
        # Through a layer of width r go the r strongest directions.
        widths = range(1, len(class_sizes) + 1)
        losses = np.array([predict(**model, widths=width)["loss"] for width in widths])
        found += abs(ends["value"].to_numpy()[:, None] / losses - 1).min(1).tolist()
    return found


def network_shuttle(experiment: Results) -> Decision:
    """Decide which classes of Shuttle collapse."""
    rows = experiment.at_last(by_class(experiment, "own_logit"))
    wrong = []
    for name, weights in weight_decays(experiment.config).items():
        classes = rows[rows["weight_decay"] == name]
        total = classes.groupby("class")["class_size"].first().sum()
        feature = experiment.config["feature_decay"]
        predicted = lengths(classes["class_size"].to_numpy(), total, weights, feature)
        logits = predicted.weights * predicted.features
        # A class whose predicted logit is small but not zero may look either way.
        decisive = (logits == 0) | (logits > CLEARLY_ALIVE)
        misjudged = ((classes["value"] < ZERO) != (logits == 0)) & decisive
        wrong.append(misjudged.groupby(classes["seed"]).sum())
    arms = len(rows["weight_decay"].unique())
    return Claim(
        "shuttle_collapse",
        DERIVED,
        "In an MLP trained on Shuttle exactly the classes below the critical size of the run's own "
        "decays collapse (those that theory leaves nearly zero are not counted).",
        f"classes whose own mean logit is on the wrong side of {ZERO:g}: 0",
        0,
        2,
    ).decide(
        pd.concat(wrong),
        experiment.config["seeds"],
        ([] if experiment.config["data"]["name"] == "shuttle" else ["other data than Shuttle"])
        + ([] if arms >= 3 else [f"{arms} of 3 decays"])
        + runs_lost(experiment),
    )
