"""Claims of the mixup paper about trained networks, decided from the tables."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.mixup.mixed import PAPER_ALPHA, at_alpha, curves, ideal_curves
from collapse.studies.verdicts import Claim, Decision, lost, short_of

PAPER = "Fisher et al. 2024"
ROUNDING = 1e-5
"""Difference of two means in float32 over an epoch that is none."""
ENOUGH_EPOCHS = 200
"""Epochs from which on a network that shows no pattern counts against it; the paper's are more."""
UNCERTAIN = "the paper's own statement was not to be had"

Values = pd.Series
"""A number for each seed."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield the claims about networks."""
    yield from _amplification(experiments)
    yield _mse_is_convex(experiments)
    yield from _geometry(experiments["network_mixup"])
    yield _entropy(experiments["network_mixup"])
    yield from _calibration(experiments)
    yield _earlier_layers(experiments)
    yield from _frozen(experiments)
    yield _fashion(experiments)


def _last(experiment: Results, metric: str, layer: str | None = None) -> Values:
    """Return a metric at the last epoch by seed, at alpha 1 where alpha varies.

    NaN where it is undefined in a run that did not diverge.
    """
    rows = at_alpha(experiment, experiment.last(metric, layer))
    return rows.set_index("seed")["value"].reindex(_seeds(experiment))


def _seeds(experiment: Results) -> np.ndarray:
    """Return the seeds of the runs that did not diverge, at alpha 1 where alpha varies."""
    return at_alpha(experiment, experiment.completed(experiment.metrics))["seed"].unique()


def _amplification(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    halves = {
        name: _last(experiments[name], "amplification_half", "H1")
        for name in ("network_baseline", "network_mixup", "network_mse_mixup")
    }
    plain, mixed, squares = halves.values()
    source = f"{PAPER}, abstract; closed form derived"
    channels = Claim(
        "channels",
        source,
        "Trained by cross-entropy with mixup, features of mixed samples of two classes lie beyond "
        "the convex combination of both, along the decision boundary: channels.",
        "1 - A(1/2) is below 0",
        0.0,
        3,
        bound="theory",
    )
    convex = Claim(
        "mse_amplification",
        source,
        "Trained by MSE with mixup, they do not lie beyond it.",
        "|A(1/2) - 1| is 0",
        0.15,
        3,
    )
    short = Claim(
        "baseline_amplification",
        source,
        "Trained without mixup, they fall short of it.",
        "A(1/2) - 1 is below 0",
        0.0,
        3,
    )
    order = Claim(
        "amplification_order",
        source,
        "A(1/2) is largest by cross-entropy with mixup, smaller by MSE with mixup, smallest "
        "without mixup.",
        "largest of A(1/2) of MSE less that of cross-entropy, and of the baseline less that of "
        "MSE, by seed, is below 0",
        0.0,
        3,
        bound="theory",
    )
    excess = pd.concat([squares - mixed, plain - squares], axis=1).max(axis=1, skipna=False)
    yield _decided(channels, 1 - mixed, [experiments["network_mixup"]])
    yield _decided(convex, (squares - 1).abs(), [experiments["network_mse_mixup"]])
    yield _decided(short, plain - 1, [experiments["network_baseline"]])
    yield _decided(order, excess, _of(experiments, list(halves)))


def _of(experiments: Mapping[str, Results], names: Sequence[str]) -> list[Results]:
    return [experiments[name] for name in names]


def _mse_is_convex(experiments: Mapping[str, Results]) -> Decision:
    claim = Claim(
        "mse_convex",
        f"{PAPER}, abstract",
        "Trained by MSE with mixup, features of mixed samples are nearer to convex combinations of "
        "the class means than those of cross-entropy with mixup.",
        "R^2 of the convex combination, of cross-entropy less that of MSE, is below 0",
        0.0,
        3,
        bound="theory",
    )
    names = ("network_mixup", "network_mse_mixup")
    crossed, squares = (_last(experiments[name], "convex_r2", "H1") for name in names)
    return _decided(claim, crossed - squares, _of(experiments, names))


def _geometry(experiment: Results) -> Iterator[Decision]:
    for name, metric, statement, expected, tolerance in (
        (
            "same_class_alignment",
            "NC3",
            "With mixup, features of a class align with its row of the classifier.",
            "NC3, the squared distance of the normalised classifier and class means, is 0",
            0.1,
        ),
        (
            "classifier_etf",
            "classifier_ETF",
            "With mixup, the classifier becomes a simplex ETF, which the paper assumes.",
            "distance of its centred Gram matrix from the ETF's, both of norm 1, is 0",
            0.2,
        ),
    ):
        claim = Claim(name, f"{PAPER}, abstract", statement, expected, tolerance, 3)
        yield _decided(claim, _last(experiment, metric, "H1"), [experiment])


def _entropy(experiment: Results) -> Decision:
    excess = experiment.last("least_excess", "all").set_index("seed")["value"]
    claim = Claim(
        "entropy_floor",
        "definition: Gibbs' inequality",
        "The mean training cross-entropy of an epoch is never below the mean entropy of the mixed "
        "labels that it drew, at any alpha.",
        "largest entropy less cross-entropy of any epoch of a run is below 0",
        ROUNDING,
        3,
        bound="theory",
    )
    return _decided(claim, -excess, [experiment], every=True)


def _calibration(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    names = ("network_baseline", "network_mixup")
    for name, metric, statement, expected in (
        (
            "calibration_error",
            "ECE",
            "Mixup lowers the expected calibration error on held-out images.",
            "ECE with mixup less that without is below 0",
        ),
        (
            "confidence_falls",
            "confidence_gap",
            "Mixup lowers the confidence on held-out images, less the accuracy there: signed.",
            "mean confidence less accuracy, with mixup less without, is below 0",
        ),
    ):
        claim = Claim(name, f"{PAPER}; {UNCERTAIN}", statement, expected, 0.0, 3, bound="theory")
        plain, mixed = (_last(experiments[each], metric, "all") for each in names)
        yield _decided(claim, mixed - plain, _of(experiments, names))


def _earlier_layers(experiments: Mapping[str, Results]) -> Decision:
    names = ("network_baseline", "network_mixup")
    claim = Claim(
        "earlier_layers",
        f"{PAPER}, abstract of the preprint",
        "Layers before the last show the pattern too: at each of them mixed features reach further "
        "beyond their convex combination with mixup than without.",
        "largest A(1/2) of a hidden layer without mixup less that with mixup is below 0",
        0.0,
        3,
        bound="theory",
    )
    plain, mixed = (_hidden(experiments[each]) for each in names)
    return _decided(claim, (plain - mixed).max(axis=1, skipna=False), _of(experiments, names))


def _hidden(experiment: Results) -> pd.DataFrame:
    """Return A(1/2) of hidden layers at the last epoch, a column each, by seed."""
    rows = at_alpha(experiment, experiment.last("amplification_half"))
    rows = rows[rows["layer"] != "H1"]
    return rows.pivot(index="seed", columns="layer", values="value").reindex(_seeds(experiment))


def _frozen(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    names = ("network_mixup", "network_fixed_etf")
    source = f"third party's summary of {PAPER}"
    trained, frozen = (_distance(experiments[each]) for each in names)
    yield _decided(
        Claim(
            "fixed_etf_nearer",
            source,
            "A classifier frozen to a simplex ETF brings mixed features nearer to the closed form.",
            "mean |A(lambda) - closed form at the network's own logit gap|, frozen less trained, "
            "is below 0",
            0.0,
            3,
            bound="theory",
        ),
        frozen - trained,
        _of(experiments, names),
    )
    trained, frozen = (_last(experiments[each], "test_accuracy", "all") for each in names)
    yield _decided(
        Claim(
            "fixed_etf_accuracy",
            source,
            "A classifier frozen to a simplex ETF costs no accuracy on held-out images.",
            "test accuracy, trained less frozen, is 0 or less",
            0.01,
            3,
        ),
        trained - frozen,
        _of(experiments, names),
    )


def _distance(experiment: Results) -> Values:
    """Return the mean distance of A(lambda) from the closed form, by seed."""
    found = at_alpha(experiment, experiment.at_last(curves(experiment)))
    ideal = at_alpha(experiment, ideal_curves(experiment, np.sort(found["mix"].unique())))
    keys = ["seed", "mix"]
    gap = (found.set_index(keys)["value"] - ideal.set_index(keys)["value"]).abs()
    return gap.groupby("seed").mean()


def _fashion(experiments: Mapping[str, Results]) -> Decision:
    claim = Claim(
        "fashion_falls_short",
        f"reviews of {PAPER}",
        "On Fashion-MNIST mixed features fall short of the ideal geometry, further than on "
        "CIFAR-10.",
        "mean |A(lambda) - closed form|, on CIFAR-10 less on Fashion-MNIST, is below 0",
        0.0,
        3,
        bound="theory",
    )
    network, fashion = experiments["network_mixup"], experiments.get("network_fashion")
    if fashion is None or network.config["data"]["name"] != "cifar10":
        return claim.decide([], network.config["seeds"], ["no run on CIFAR-10 beside it"])
    return _decided(claim, _distance(network) - _distance(fashion), [network, fashion])


def _decided(
    claim: Claim, values: Values, read: Sequence[Results], every: bool = False
) -> Decision:
    """Decide a claim from a number for each seed of all the experiments that it reads.

    It is about runs at alpha 1, or about those at `every` alpha.
    """
    diverged = [each.values("diverged") for each in read]
    if not every:
        diverged = [at_alpha(each, rows) for each, rows in zip(read, diverged, strict=True)]
    obstacles = lost(sum(map(len, diverged)))
    if not every and not all(PAPER_ALPHA in _alphas(each) for each in read):
        obstacles.append(f"no alpha {PAPER_ALPHA:g}")
    # A seed that diverged on one side has no number.
    values = values.dropna() if obstacles else values
    epochs = min(each.config["training"]["epochs"] for each in read)
    excuses = short_of(epochs, ENOUGH_EPOCHS, "epochs")
    return claim.decide(values, min(each.config["seeds"] for each in read), obstacles, excuses)


def _alphas(experiment: Results) -> set[float]:
    """Return the alphas of its runs; without mixup the one that all others are held against."""
    if "alpha" in experiment.metrics:
        return set(experiment.metrics["alpha"])
    return {experiment.config["input"].get("alpha", PAPER_ALPHA)}
