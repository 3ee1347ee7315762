"""Claims of the regression paper, decided from the tables."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.regression.analysis import (
    DATA,
    NORMALISED,
    PARTLY,
    chosen,
    covariance,
    indexed,
    samples,
    working_decay,
)
from collapse.studies.regression.closed_form_claims import (
    free_features,
    no_decay,
    norms,
    residuals,
    ufm_networks,
)
from collapse.studies.regression.settings import (
    DERIVED,
    PAPER,
    gate,
    lacking,
    no_decay_above_zero,
    shorter,
)
from collapse.studies.verdicts import Claim, Decision, lost
from collapse.theory.regression import nrc3

FALL = 0.1
"""What NRC1 and NRC2 with decay are at most, of what they are without, to count as collapsed."""
ENDINGS = {"relu": "with a ReLU before W", "linear": "without a ReLU before W"}
SUFFIX = {"relu": "", "linear": "_linear"}
"""The paper's networks have that ReLU; one of the authors' logged runs has none."""
LESS = {"weights": "weights only", "backbone": "all parameters but the bias of the head"}
"""What is decayed instead of all parameters, by the words of `PARTLY`."""
SMALL_NRC3 = 0.01
"""NRC3 that counts as small: the authors' logs end between 5e-5 and 9e-3."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    for name in DATA:
        yield from _weight_decay(name, experiments[name])
    for name, kind in product(DATA, LESS):
        yield from _less_decayed(name, kind, experiments[name], experiments[f"{name}_partly"])
    for name in DATA:
        yield _mean(name, experiments[name], experiments[f"{name}_partly"])
    for name in DATA:
        yield from ufm_networks(name, "ufm", experiments[f"{name}_features"])
        for kind in NORMALISED:
            yield from ufm_networks(name, kind, experiments[f"{name}_noisy"])
    yield from residuals(experiments["reacher"], experiments["reacher_features"])
    for name in ("reacher", "swimmer"):
        yield from norms(name, experiments[f"{name}_norms"])
    yield from free_features(experiments["free_features"])
    yield from no_decay(experiments["no_decay"])
    yield _weakness(experiments["reacher"])


def _by_seed(experiment: Results, metric: str, ending: str) -> pd.Series:
    """Return a metric at the last epoch by seed, of one decay."""
    rows = experiment.last(metric)
    return rows[rows["ending"] == ending].set_index("seed")["value"]


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    # Aligned by seed: a seed that one side lacks, because it diverged, has no ratio.
    return (part / whole).dropna()


def _no_arm(experiment: Results, ending: str) -> list[str]:
    endings = set(experiment.metrics["ending"])
    return [] if ending in endings else [f"no ending {ending} at this scale"]


def _weight_decay(name: str, experiment: Results) -> Iterator[Decision]:
    """Yield the claims about one weight decay on all parameters, as the released code has it."""
    decay = working_decay(experiment)
    # Two arms, whatever range of decays was run.
    strong, none = chosen(experiment, weight_decay=decay), chosen(experiment, weight_decay=0.0)
    seeds, excuses = experiment.config["seeds"], shorter(name, experiment)
    for ending in ENDINGS:
        yield from _collapse(name, strong, none, ending, excuses)
    obstacles = no_decay_above_zero(decay) + _obstacles(name, strong, none, "relu")
    yield from _nrc3(name, strong, none, obstacles, excuses)
    targets = len(covariance(experiment))
    shares = indexed(strong, "explained_variance_ratio")
    shares = shares[(shares["ending"] == "relu") & (shares["index"] <= targets)]
    yield Claim(
        f"{name}_explained_variance",
        PAPER,
        f"With weight decay the first n principal components hold nearly all of the features' "
        f"variance ({name}, n = {targets}).",
        "1 less their share is at most 0.05",
        0.05,
        2,
    ).decide(1 - shares.groupby("seed")["value"].sum(), seeds, obstacles, excuses)
    values = _ratio(*(_by_seed(strong, "NRC1_centred", end) for end in ("linear", "relu")))
    yield Claim(
        f"{name}_last_relu",
        "this project",
        f"Trained as long, centred features collapse further without a ReLU before W ({name}).",
        "NRC1_centred without that ReLU over NRC1_centred with it is at most 1",
        1.0,
        2,
        bound="theory",
    ).decide(
        values,
        seeds,
        [*obstacles, *_no_arm(experiment, "linear"), *gate(_by_seed(strong, "r2", "linear"))],
        excuses,
    )
    values = _ratio(*(_by_seed(strong, "mean_feature_ratio", end) for end in ("linear", "relu")))
    yield Claim(
        f"{name}_relu_mean",
        DERIVED,
        "A ReLU before W keeps the mean of the features from vanishing; without it, and with "
        f"decayed biases, it is smaller ({name}).",
        "norm(mean h)/mean norm(h) without that ReLU over the same with it is below 1",
        1.0,
        2,
        bound="theory",
    ).decide(
        values,
        seeds,
        no_decay_above_zero(decay)
        + [obstacle for end in ENDINGS for obstacle in _obstacles(name, strong, strong, end)],
        excuses,
    )


def _obstacles(name: str, strong: Results, none: Results, ending: str) -> list[str]:
    """Return what keeps claims about networks of this ending, with decay and without, undecided."""
    fits = (_by_seed(arm, "r2", ending) for arm in (strong, none))
    return [
        *lacking(name, strong),
        *lost(len(none.values("diverged"))),
        *_no_arm(strong, ending),
        *gate(*fits),
    ]


def _collapse(
    name: str, strong: Results, none: Results, ending: str, excuses: list[str]
) -> Iterator[Decision]:
    """Yield whether NRC1 and NRC2 collapse with decay and not without, in both variants."""
    decay = strong.metrics["weight_decay"].iloc[0]
    obstacles = no_decay_above_zero(decay) + _obstacles(name, strong, none, ending)
    for metric in ("NRC1", "NRC2", "NRC1_centred", "NRC2_centred"):
        centred = metric.endswith("centred")
        how = "of centred features" if centred else "as the authors compute it"
        yield Claim(
            f"{name}_{metric}{SUFFIX[ending]}",
            f"{PAPER}; {DERIVED}" if centred else PAPER,
            f"With weight decay ({decay:g} here, the largest that keeps all directions of the "
            f"targets) {metric[:4]}, {how}, collapses in the network {ENDINGS[ending]}, and does "
            f"not without decay ({name}).",
            f"{metric} with decay over {metric} without is at most {FALL:g}",
            FALL,
            2,
        ).decide(
            _ratio(*(_by_seed(arm, metric, ending) for arm in (strong, none))),
            strong.config["seeds"],
            obstacles,
            excuses,
        )


def _nrc3(
    name: str,
    strong: Results,
    none: Results,
    obstacles: Iterable[str],
    excuses: Iterable[str],
) -> Iterator[Decision]:
    """Yield the claims about the form of W W^T."""
    seeds, obstacles, excuses = strong.config["seeds"], list(obstacles), list(excuses)
    with_decay, without_decay = (_by_seed(arm, "NRC3", "relu") for arm in (strong, none))
    yield Claim(
        f"{name}_NRC3",
        PAPER,
        "With weight decay W W^T takes the form Sigma^(1/2) - gamma^(1/2) I for some gamma up to "
        f"lambda_min ({name}, n = {len(covariance(strong))}).",
        f"NRC3 at the minimising gamma is at most {SMALL_NRC3:g}",
        SMALL_NRC3,
        2,
    ).decide(with_decay, seeds, obstacles, excuses)
    yield Claim(
        f"{name}_NRC3_decay",
        PAPER,
        f"W W^T has that form with weight decay, and has not without ({name}).",
        f"NRC3 with decay over NRC3 without is at most {FALL:g}",
        FALL,
        2,
    ).decide(_ratio(with_decay, without_decay), seeds, obstacles, excuses)


def _less_decayed(name: str, kind: str, experiment: Results, partly: Results) -> Iterator[Decision]:
    """Yield whether NRC1 and NRC2 collapse where not all parameters are decayed, see `LESS`."""
    decay, none = working_decay(experiment), chosen(experiment, weight_decay=0.0)
    seeds = min(results.config["seeds"] for results in (experiment, partly))
    strong, unlike = _at_decay(name, kind, partly, decay)
    for ending, metric in product(ENDINGS, ("NRC1", "NRC2")):
        yield Claim(
            f"{name}_{kind}_{metric}{SUFFIX[ending]}",
            DERIVED,
            f"With weight decay ({decay:g} here) on {LESS[kind]}, {metric} as the authors compute "
            f"it collapses in the network {ENDINGS[ending]} ({name}).",
            f"{metric} with decay over {metric} without any is at most {FALL:g}",
            FALL,
            2,
        ).decide(
            _ratio(*(_by_seed(arm, metric, ending) for arm in (strong, none))),
            seeds,
            unlike or _obstacles(name, strong, none, ending),
            shorter(name, partly),
        )


def _at_decay(name: str, kind: str, partly: Results, decay: float) -> tuple[Results, list[str]]:
    """Return the runs of a kind at another experiment's decay, and in words that there are none."""
    strong = chosen(partly, decayed=PARTLY[kind], weight_decay=decay)
    # An experiment of its own, which may have been run at other decays.
    missing = f"no weight decay {decay:g} on {LESS[kind]} in {name}_partly"
    unlike = [] if len(strong.metrics) else [missing]
    return strong, unlike + no_decay_above_zero(decay)


def _mean(name: str, experiment: Results, partly: Results) -> Decision:
    """Decide what biases that are not decayed leave."""
    decay = working_decay(experiment)
    strong = chosen(experiment, weight_decay=decay)
    less, unlike = _at_decay(name, "weights", partly, decay)
    return Claim(
        f"{name}_biases_mean",
        DERIVED,
        "Biases that are not decayed let the features keep a mean outside the row space of W, "
        "which NRC1 of uncentred features counts; decaying them too removes it (no ReLU before W, "
        f"{name}).",
        f"NRC1 with decayed biases over NRC1 without, both under decay, is at most {FALL:g}",
        FALL,
        2,
    ).decide(
        _ratio(*(_by_seed(results, "NRC1", "linear") for results in (strong, less))),
        min(results.config["seeds"] for results in (experiment, partly)),
        unlike or _obstacles(name, strong, less, "linear"),
        shorter(name, partly),
    )


def _weakness(experiment: Results) -> Decision:
    """Decide that NRC3 says little for two targets: one free number fits the only other one."""
    target_covariance = covariance(experiment)
    obstacles = lacking("reacher", experiment)
    values: list[float] = []
    if len(target_covariance) == 2:
        # W W^T with Sigma's axes and eigenvalues 1 and ratio: its scale drops out of NRC3.
        eigenvalues, axes = np.linalg.eigh(target_covariance)
        least = np.sqrt(eigenvalues[1] / eigenvalues[0])
        gammas = eigenvalues[0] * np.linspace(0, 1, 200_001)[:-1] ** 2
        for ratio in least * np.geomspace(1, 100, 9):
            gram = (axes * [1.0, ratio]) @ axes.T
            values.append(float(np.nanmin(nrc3(gram, target_covariance, gammas))))
    row = Claim(
        "NRC3_two_targets",
        DERIVED,
        "With two targets NRC3 is a weak test: for every W W^T with Sigma's axes whose eigenvalue "
        "ratio is at least that of Sigma^(1/2) some gamma makes it zero (Reacher's covariance, "
        "nine ratios up to a hundred times that).",
        "NRC3 at the best of 200,000 gammas is 0",
        1e-8,
        2,
    ).decide(values, experiment.config["seeds"], obstacles)
    row["measured"] = f"{row['measured']}; M = {samples(experiment)}"
    return row
