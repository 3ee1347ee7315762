"""Claims of the regression paper about free features and networks that are to match them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.analysis import loss_gap, matrix, relative
from collapse.studies.regression.analysis import (
    NORMALISED,
    at_working_decay,
    chosen,
    covariance,
    gram_distance,
    products,
    runs,
    theory_along,
    working_decay,
)
from collapse.studies.regression.settings import (
    DERIVED,
    NOISY,
    PAPER,
    gate,
    lacking,
    no_decay_above_zero,
    shorter,
    shorter_ufm,
)
from collapse.studies.verdicts import Claim, Decision, lost, short_of
from collapse.theory.regression import truncated_gram

STRONG = 1e-2
"""Decay from which a UFM-type network is held against the closed form: the paper's largest."""
PAPER_RANGE = 0.1
"""Largest feature decay of the paper's sweep of norms."""
UNLIKE = {
    "ufm": "",
    "noisy": ", pairs of an expert whose actions are noisy",
    "batchnorm": ", BatchNorm before each ReLU, pairs of an expert whose actions are noisy",
}
"""What is unlike the paper's words in networks with penalised features, by their claims' name."""


def ufm_networks(name: str, kind: str, experiment: Results) -> Iterator[Decision]:
    """Yield the claims about networks of which only W and the features are penalised.

    `kind` is one of `UNLIKE`; but of the first, the experiment has noisy experts.
    """
    noisy, unlike = kind in NORMALISED, UNLIKE[kind]
    data = f"{NOISY}{name}" if noisy else name
    excuses = shorter(data, experiment) if noisy else shorter_ufm(experiment)
    if noisy:
        experiment = chosen(experiment, normalisation=NORMALISED[kind])
    seeds, obstacles = experiment.config["seeds"], lacking(data, experiment)
    gaps = {
        "gram": ("W W^T", gram_distance(experiment)),
        "loss": ("the loss", _relative_to_theory(experiment, "loss", "loss")),
        "mse": ("the squared error", _relative_to_theory(experiment, "mse_sum", "mse_sum")),
    }
    for key, (what, gap) in gaps.items():
        yield Claim(
            f"{name}_{kind}_{key}",
            f"{PAPER}; {DERIVED}",
            "A network of which only W and the features are penalised, with the same decay of "
            f"{STRONG:g} or more and no ReLU before W, reaches {what} of the closed form "
            f"({name}{unlike}).",
            "relative distance to the closed form is 0",
            0.01,
            2,
        ).decide(gap.loc[gap["weight_decay"] >= STRONG, "value"], seeds, obstacles, excuses)
    decay = working_decay(experiment)
    strong, none = chosen(experiment, weight_decay=decay), chosen(experiment, weight_decay=0.0)
    fits = [arm.last("r2")["value"] for arm in (strong, none)]
    obstacles += no_decay_above_zero(decay) + gate(*fits)
    for metric in ("NRC1", "NRC2"):
        values = [arm.last(metric).set_index("seed")["value"] for arm in (strong, none)]
        yield Claim(
            f"{name}_{kind}_{metric}",
            PAPER,
            f"{metric} of such a network collapses at a strong decay "
            f"({decay:g} here) and does not without decay ({name}{unlike}).",
            f"{metric} with decay over {metric} without is at most 0.1",
            0.1,
            2,
        ).decide((values[0] / values[1]).dropna(), seeds, obstacles, excuses)


def _relative_to_theory(experiment: Results, metric: str, predicted: str) -> pd.DataFrame:
    """Return |measured/predicted - 1| at the last step of every run that has a closed form."""
    keys = experiment.keys
    rows = experiment.last(metric).merge(
        experiment.predicted(predicted), on=keys, suffixes=("", "_predicted")
    )
    return rows.assign(value=(rows["value"] / rows["value_predicted"] - 1).abs())[[*keys, "value"]]


def residuals(decayed: Results, penalised: Results) -> Iterator[Decision]:
    """Yield whether residuals are white: under weight decay, and of a UFM-type network."""
    relu = chosen(at_working_decay(decayed), ending="relu")
    for key, kind, experiment, excuses in (
        ("weight_decay", "weight decay on all parameters", relu, shorter("reacher", decayed)),
        ("ufm", "penalised W and features", at_working_decay(penalised), shorter_ufm(penalised)),
    ):
        yield Claim(
            f"residuals_white_{key}",
            PAPER,
            f"After training with {kind} the residuals of all targets are uncorrelated and of one "
            "variance (reacher).",
            "norm of C/norm(C) - I/sqrt(n) is 0, C the covariance of the residuals",
            0.1,
            2,
        ).decide(
            [_colour(matrix(rows, "residual_covariance")) for _, rows in _residuals(experiment)],
            experiment.config["seeds"],
            lacking("reacher", experiment),
            excuses,
        )
    yield _residual_level(penalised)


def _residual_level(penalised: Results) -> Decision:
    # c by the run's keys, as `_residuals` names the runs.
    strong = products(penalised, penalised.last("r2")).set_index(penalised.keys)["c"]
    return Claim(
        "residuals_level",
        f"{PAPER}; {DERIVED}",
        "The covariance of a UFM-type network's residuals is c I (reacher).",
        "relative distance to c I is 0",
        0.05,
        2,
    ).decide(
        [
            relative(moment, strong[tuple(run.values())] * np.eye(len(moment)))
            for run, rows in _residuals(at_working_decay(penalised))
            for moment in [matrix(rows, "residual_covariance")]
        ],
        penalised.config["seeds"],
        lacking("reacher", penalised),
        shorter_ufm(penalised),
    )


def _residuals(experiment: Results) -> Iterator[tuple[dict, pd.DataFrame]]:
    return runs(experiment, "residual_covariance")


def _colour(moment: np.ndarray) -> float:
    """Return how far a covariance is from a multiple of the identity."""
    return float(
        np.linalg.norm(moment / np.linalg.norm(moment) - np.eye(len(moment)) / len(moment) ** 0.5)
    )


def norms(name: str, experiment: Results) -> Iterator[Decision]:
    """Yield the claims about the norms of the rows of W as the feature decay grows."""
    seeds = experiment.config["seeds"]
    excuses = short_of(experiment.config["training"]["epochs"], 1000, "epochs")
    row_norms = _row_norms(experiment)
    few = [] if row_norms["feature_decay"].nunique() >= 9 else ["fewer than 9 feature decays"]
    obstacles = lacking(name, experiment) + few
    alive = row_norms[(row_norms["predicted"] > 0) & (row_norms["feature_decay"] >= STRONG)]
    yield Claim(
        f"{name}_norms",
        f"{PAPER}; {DERIVED}",
        f"The norms of the rows of W follow the closed form for feature decays of {STRONG:g} and "
        f"more ({name}).",
        "|norm over predicted norm - 1| is 0",
        0.05,
        1,
    ).decide((alive["value"] / alive["predicted"] - 1).abs(), seeds, obstacles, excuses)
    sweep = row_norms[row_norms["feature_decay"] <= PAPER_RANGE]
    for key, rows, where in (
        ("monotone", row_norms, "at all feature decays"),
        ("monotone_to_0.1", sweep, f"up to {PAPER_RANGE:g}, the end of the paper's sweep"),
    ):
        yield Claim(
            f"{name}_norms_{key}",
            PAPER,
            f"The norms of the rows of W grow with the feature decay, {where} ({name}).",
            "largest fall of a norm from one decay to the next, relative, is 0",
            0.01,
            1,
        ).decide(_falls(rows), seeds, obstacles, excuses)
    yield Claim(
        f"{name}_norms_peak",
        DERIVED,
        "The norm of W peaks where the closed form does, each direction at sqrt(c) = sigma/2, and "
        f"vanishes beyond ({name}).",
        "decades between the feature decays of the measured and of the predicted peak: 0",
        0.0,
        1,
        bound="theory",
    ).decide(_peak_distances(row_norms), seeds, obstacles, excuses)


def _peak_distances(row_norms: pd.DataFrame) -> list[float]:
    """Return per seed the decades between the decays at which W is largest, and should be."""
    # The norm of W as a whole: its square is the sum of the rows'.
    total = row_norms.assign(value=row_norms["value"] ** 2, predicted=row_norms["predicted"] ** 2)
    total = total.groupby(["seed", "feature_decay"])[["value", "predicted"]].sum().reset_index()
    return [
        abs(
            np.log10(group.loc[group["value"].idxmax(), "feature_decay"])
            - np.log10(group.loc[group["predicted"].idxmax(), "feature_decay"])
        )
        for _, group in total.groupby("seed")
    ]


def _row_norms(experiment: Results) -> pd.DataFrame:
    """Return seed, feature_decay, row, and each row's measured and predicted norm."""
    entries, targets = [], covariance(experiment)
    for run, rows in runs(experiment, "gram"):
        weight, feature = run["weight_decay"], run["feature_decay"]
        if not weight * feature:
            continue
        (theory,) = theory_along(targets, [weight], [feature])
        lengths = np.sqrt(np.diag(matrix(rows, "gram")))
        for row, (value, gram) in enumerate(zip(lengths, np.diag(theory["gram"]), strict=True)):
            entries.append({**run, "row": row, "value": value, "predicted": np.sqrt(gram)})
    return pd.DataFrame(entries, columns=[*experiment.keys, "row", "value", "predicted"])


def _falls(rows: pd.DataFrame) -> list[float]:
    """Return the largest relative fall between neighbouring decays of each row and seed."""
    falls = []
    for _, group in rows.sort_values("feature_decay").groupby(["seed", "row"]):
        values = group["value"].to_numpy()
        steps = 1 - values[1:] / values[:-1]
        # A fall, not a rise: where the norm only grows it is 0.
        falls.append(float(max(0.0, *steps)) if len(steps) else 0.0)
    return falls


def free_features(experiment: Results) -> Iterator[Decision]:
    """Yield the claims about the minimum over free features."""
    seeds, obstacles = experiment.config["seeds"], lost(len(experiment.values("diverged")))
    last = experiment.last("loss")
    gap = experiment.at_last(loss_gap(experiment))["value"]
    grams = gram_distance(experiment)
    for key, what, values, tolerance in (
        ("loss", "the loss", gap, 1e-9),
        ("gram", "W W^T", grams["value"], 1e-4),
    ):
        yield Claim(
            f"free_features_{key}",
            f"{PAPER}; {DERIVED}",
            f"L-BFGS from random starts reaches {what} of the closed form with correlated targets, "
            f"on both sides of every threshold, with a bias and without ({len(last)} runs).",
            "relative distance to the closed form is 0",
            tolerance,
            3,
        ).decide(values, seeds, obstacles)
    between, ours = _between(experiment)
    for key, source, formula, values in (
        ("paper", PAPER, "the paper's formula, the first columns of the root of A", between),
        ("derived", DERIVED, "Q diag(r) Q^T", ours),
    ):
        yield Claim(
            f"gram_between_thresholds_{key}",
            source,
            "With c between the eigenvalues of the covariance of correlated targets W W^T at the "
            f"minimum is {formula}.",
            "relative distance of the best minimum found to the formula is 0",
            1e-3,
            3,
        ).decide(values, seeds, obstacles if values else [*obstacles, "no c between eigenvalues"])


def _between(experiment: Results) -> tuple[list[float], list[float]]:
    """Return the distances of W W^T to both formulas, for c between the eigenvalues."""
    truncated, whole = [], []
    theory = {
        tuple(values): matrix(group, "gram")
        for values, group in experiment.predictions.groupby(experiment.keys)
    }
    # Results hold several problems: each has a covariance of its own.
    covariances = {
        name: covariance(chosen(experiment, target_covariance=name))
        for name in experiment.metrics["target_covariance"].unique()
    }
    for run, rows in runs(experiment, "gram"):
        target_covariance = covariances[run["target_covariance"]]
        feature = experiment.config["feature_decay"]
        eigenvalues = np.linalg.eigvalsh(target_covariance)
        if eigenvalues[0] < run["weight_decay"] * feature < eigenvalues[-1]:
            gram = matrix(rows, "gram")
            paper = truncated_gram(target_covariance, run["weight_decay"], feature)
            truncated.append(relative(gram, paper))
            whole.append(relative(gram, theory[tuple(run.values())]))
    return truncated, whole


def no_decay(experiment: Results) -> Iterator[Decision]:
    """Yield what remains of the start without any decay."""
    seeds = experiment.config["seeds"]
    rows, losses = experiment.last("NRC1"), experiment.last("loss")["value"]
    obstacles = lost(len(experiment.values("diverged")))
    obstacles += [] if (losses < 1e-12).all() else ["loss above 1e-12"]
    scales = sorted(experiment.metrics["init_scale"].unique())
    large = rows.loc[rows["init_scale"] == scales[-1], "value"]
    small = rows.loc[rows["init_scale"] == scales[0], "value"]
    # A smaller scale may have left out the largest start, and then tests less than the claim.
    reached = [] if scales[-1] >= 1 else [f"no start of scale 1, at most {scales[-1]:g}"]
    yield Claim(
        "no_decay_no_collapse",
        PAPER,
        "Without any decay the loss goes to zero and the features do not collapse (starts of "
        f"scale {scales[-1]:g}).",
        "0.1 over NRC1 at the end is below 1",
        1.0,
        5,
    ).decide(0.1 / large, seeds, obstacles + reached)
    reached = [] if scales[0] <= 0.03 else [f"no start of scale 0.03, at least {scales[0]:g}"]
    yield Claim(
        "no_decay_small_start",
        DERIVED,
        "Without any decay the start decides: features that start small do collapse in part "
        f"(starts of scale {scales[0]:g}).",
        "NRC1 at the end is at most 0.1",
        0.1,
        5,
    ).decide(small, seeds, obstacles + reached)
