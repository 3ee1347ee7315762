"""Claims of the balanced deep-linear paper, decided from the tables."""

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np
import pandas as pd

from collapse.studies import Results
from collapse.studies.analysis import loss_gap, signed_gap
from collapse.studies.deep_linear.analysis import NC2, excess_losses, fractions
from collapse.studies.verdicts import (
    INCONCLUSIVE,
    NOT_REPLICATED,
    REPLICATED,
    Claim,
    Decision,
    lost,
    missing,
    short_of,
)
from collapse.theory.deep_linear import logit_fraction, minimiser, threshold

PAPER = "Dang et al. 2023"
DERIVED = "derived from the objective of Dang et al. 2023"
DEPTHS = (1, 3, 6, 9)
CONVERGED_STEPS = 30_000
"""Steps of the released code: e^-15 in amplitude at its decays."""
WIDTH, RELEASED_SCALE = 2048, 0.1
"""The hidden width of the released README's command, and its initial scale."""
PAPER_EPOCHS = 200
"""Epochs of the released code."""
NETWORKS = {
    "network_mlp": ("MLP", (False, True)),
    "network_width": ("MLP of two further widths", (False, True)),
    "network_conv": ("convolutional network", (True,)),
    "network_vgg": ("VGG16", (True,)),
}
"""How a claim calls them, and which last-layer biases are claimed about."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    yield from _direct(experiments["direct_optimisation"])
    yield _reached_loss(experiments["direct_optimisation"])
    yield from _width(experiments["direct_width"])
    yield _second_solver(experiments["global_optimum"])
    yield from _transitions(experiments["collapse_threshold"])
    for name, (_, heads) in NETWORKS.items():
        # VGG16 may be left out.
        for bias in heads if name in experiments else ():
            yield from _networks(name, experiments[name], bias)
    yield from _cross_entropy(experiments["cross_entropy_depth"])


def _at(rows: pd.DataFrame, depth: int, bias: bool) -> pd.DataFrame:
    return rows[(rows["depth"] == depth) & (rows["bias"] == bias)]


def _diverged(experiment: Results) -> list[str]:
    return lost(len(experiment.values("diverged")))


def _too_short(experiment: Results) -> list[str]:
    return short_of(experiment.config["optimiser"]["steps"], CONVERGED_STEPS, "steps")


def _direct(experiment: Results) -> Iterator[Decision]:
    for bias in (False, True):
        frame = "simplex ETF" if bias else "orthogonal frame"
        for depth in DEPTHS:
            last = _furthest(experiment, bias)
            diverged = len(_at(experiment.values("diverged"), depth, bias))
            yield Claim(
                f"direct_{'etf' if bias else 'of'}_M{depth}",
                PAPER,
                f"Direct optimisation with MSE, {'last-layer bias' if bias else 'bias-free'}, "
                f"M={depth}: NC1, NC2 (features and weights) and NC3 converge to the {frame}.",
                "largest of NC1, NC2_H, NC2_W, NC3 at the last step is 0",
                1e-10,
                5,
            ).decide(
                _at(last, depth, bias)["value"],
                experiment.config["seeds"],
                missing([depth], experiment.metrics["depth"], "M")
                + lost(diverged)
                + _too_short(experiment),
            )


def _furthest(experiment: Results, bias: bool) -> pd.DataFrame:
    """Return the largest of a run's distances to collapse at its last step, with its keys."""
    metrics = ("NC1", NC2[bias], "NC2_W", "NC3_product")
    last = [experiment.last(metric, "H1").set_index(experiment.keys) for metric in metrics]
    # A metric that is missing of a run must not be passed over.
    distances = pd.concat([rows["value"] for rows in last], axis=1).max(axis=1, skipna=False)
    return distances.rename("value").reset_index()


def _width(experiment: Results) -> Iterator[Decision]:
    """Decide about the width of the released README, from its initial scale and a narrower one."""
    width, found = experiment.config["problem"]["widths"], experiment.metrics["depth"].unique()
    obstacles = short_of(width, WIDTH, "columns of each layer") + _too_short(experiment)
    seeds, last = experiment.config["seeds"], _furthest(experiment, bias=False)
    diverged = experiment.values("diverged")
    for depth in DEPTHS:
        rows, gone = (
            table[(table["depth"] == depth) & (table["init_scale"] < RELEASED_SCALE)]
            for table in (last, diverged)
        )
        yield Claim(
            f"direct_width_M{depth}",
            PAPER,
            f"Direct optimisation with MSE at d = {WIDTH}, bias-free, M={depth}, from layers of "
            "the norms they have at d = 64: NC1, NC2 (features and weights) and NC3 converge to "
            "the orthogonal frame.",
            "largest of NC1, NC2_H, NC2_W, NC3 at the last step is 0",
            1e-10,
            3,
        ).decide(rows["value"], seeds, missing([depth], found, "M") + lost(len(gone)) + obstacles)
    yield _released_start(experiment, obstacles + missing(DEPTHS, found, "M"))


def _released_start(experiment: Results, obstacles: list[str]) -> Decision:
    """Decide by a count: `Claim.decide` takes runs that diverged for an obstacle."""
    seeds = experiment.config["seeds"]
    claim = Claim(
        "direct_width_start",
        f"released code of {PAPER}",
        f"At d = {WIDTH}, which its README names, gradient descent from the released initial scale "
        f"{RELEASED_SCALE} converges at M = 1, 3, 6, 9.",
        "no run diverges: their number is 0",
        0,
        3,
        bound="theory",
    )
    gone = experiment.values("diverged")
    counts = gone[gone["init_scale"] == RELEASED_SCALE].groupby("depth").size()
    measured = "diverged: " + ", ".join(
        f"{counts.get(depth, 0)} of {seeds} at M={depth}"
        for depth in sorted(experiment.metrics["depth"].unique())
    )
    if seeds < claim.seeds:
        obstacles = [*obstacles, f"{seeds} of {claim.seeds} seeds"]
    if obstacles:
        return claim.row(f"{measured} ({'; '.join(obstacles)})", seeds, INCONCLUSIVE)
    return claim.row(measured, seeds, NOT_REPLICATED if counts.sum() else REPLICATED)


def _reached_loss(experiment: Results) -> Decision:
    gaps = loss_gap(experiment)
    gaps = gaps[gaps["step"] == gaps["step"].max()]
    # A median over all runs would not show that a depth or a head is missing.
    arms = set(zip(gaps["depth"], gaps["bias"], strict=True))
    absent = [] if len(arms) == 2 * len(DEPTHS) else [f"{len(arms)} of 8 depths and heads"]
    return Claim(
        "direct_loss",
        f"{PAPER}; {DERIVED}",
        "The loss that gradient descent reaches equals the closed form of the global optimum at "
        "every depth, with and without bias.",
        "|L - L*| / L* at the last step is 0",
        1e-10,
        5,
    ).decide(
        gaps["value"],
        experiment.config["seeds"],
        absent + _diverged(experiment) + _too_short(experiment),
    )


def _second_solver(experiment: Results) -> Decision:
    rows = signed_gap(experiment)
    # Starts may end in other minima: the best of them is what is compared.
    arms = [key for key in experiment.keys if key != "seed"]
    best = rows.groupby(arms)["gap"].min()
    return Claim(
        "global_optimum",
        f"{PAPER}; {DERIVED}",
        "The closed form is the global optimum: L-BFGS from random starts reaches it and never "
        "goes below.",
        "|smallest L / L* - 1| over starts, per depth and head, is 0",
        1e-10,
        8,
    ).decide(
        best.abs(),
        experiment.config["seeds"],
        missing((1, 3), rows["depth"].unique(), "M") + _diverged(experiment),
    )


def _transitions(experiment: Results) -> Iterator[Decision]:
    fraction, objective = fractions(experiment), experiment.values("loss")
    keys = [*experiment.keys, "step"]
    rows = fraction.merge(objective[[*keys, "value"]], on=keys, suffixes=("", "_objective"))
    # All parameters zero: Z = 0 costs ||Y||^2/(2N) = 1/2 whatever the classes.
    rows = rows.assign(below_zero=rows["value_objective"] < 0.5 * (1 - 1e-9))
    for depth in (1, 2, 3, 6):
        up = rows[(rows["depth"] == depth) & (rows["direction"] == "up")]
        tau = float(threshold(depth))
        gap = _bracket_gap(up, tau)
        absent = missing([depth], up["depth"].unique(), "M") + _diverged(experiment)
        coarse = [] if len(up["scaled_decay"].unique()) >= 20 else ["too few decays"]
        seeds = experiment.config["seeds"]
        yield Claim(
            f"threshold_M{depth}",
            DERIVED,
            f"M={depth}: the non-zero solution is better than zero exactly up to the scaled decay "
            f"tau = {tau:.6g}.",
            "distance of tau from the interval in which the loss comparison flips is 0",
            1e-12,  # the rounding of the decays
            5,
            bound="theory",
        ).decide(gap, seeds, absent + coarse)
        yield _order(depth, up).decide(
            _below_threshold_error(up, depth, tau), seeds, absent + coarse
        )


def _bracket_gap(up: pd.DataFrame, tau: float) -> list[float]:
    """Return per seed the distance of tau from the decays between which zero becomes optimal."""
    gaps = []
    for _, run in up.groupby("seed"):
        alive = run.loc[run["below_zero"], "scaled_decay"]
        dead = run.loc[~run["below_zero"], "scaled_decay"]
        # Without a flip within the sweep the interval is open at that end.
        low = alive.max() if len(alive) else 0.0
        high = dead.min() if len(dead) else np.inf
        gaps.append(max(low - tau, tau - high, 0.0))
    return gaps


def _order(depth: int, up: pd.DataFrame) -> Claim:
    if depth == 1:
        text = "M=1: the transition is continuous: the singular value goes to zero at tau."
    else:
        jump = (depth - 1) / depth
        text = (
            f"M={depth}: the transition is of first order: sigma/sqrt(n) falls from "
            f"{jump:.4g} to 0 at tau."
        )
    return Claim(
        f"transition_M{depth}",
        DERIVED,
        text,
        "largest |measured - closed form| of sigma/sqrt(n) over decays below tau is 0",
        1e-3,
        5,
    )


def _below_threshold_error(up: pd.DataFrame, depth: int, tau: float) -> pd.Series:
    below = up[up["scaled_decay"] < tau]
    theory = logit_fraction(minimiser(below["scaled_decay"].to_numpy(), depth), depth)
    return below.assign(error=(below["value"] - theory).abs()).groupby("seed")["error"].max()


def _networks(name: str, experiment: Results, bias: bool) -> Iterator[Decision]:
    network, _ = NETWORKS[name]
    head = "with a last-layer bias" if bias else "bias-free"
    # With training errors left a network has not reached what the claims are about.
    errors, epochs = experiment.last("error", "all"), experiment.config["training"]["epochs"]
    unfinished = [] if (errors["value"] <= 0.02).all() else ["training error above 2 %"]
    shorter = short_of(epochs, PAPER_EPOCHS, "epochs")
    gaps = _gaps(experiment, bias)
    for label, tolerance in (("NC1", 0.1), ("NC2", 0.5), ("NC3", 0.5)):
        ratios = _fall(experiment, label, bias)
        depths = ratios.index.get_level_values("depth")
        absent = missing(DEPTHS, depths, "M")
        # Without that head there are no depths either: the head is what is to be said.
        if bias not in set(experiment.metrics["bias"]):
            absent = [f"no head {head} at this scale" if bias else f"no {head} head at this scale"]
        yield Claim(
            f"{name}_{'etf' if bias else 'of'}_{label}",
            PAPER,
            f"The features of a trained {network} with a linear head of M = 1, 3, 6, 9 layers, "
            f"{head} (MSE), follow the theory: {label} falls towards 0.",
            f"{label} at the last epoch over {label} at the first is at most {tolerance:g}",
            tolerance,
            2,
        ).decide(
            ratios,
            experiment.config["seeds"],
            absent + gaps + _diverged(experiment) + unfinished,
            shorter,
        )


def _of_head(rows: pd.DataFrame, bias: bool) -> pd.DataFrame:
    return rows[rows["bias"] == bias]


def _gaps(experiment: Results, bias: bool) -> list[str]:
    """Return, in words, that runs of the grid are missing: a table may be joined of fewer."""
    runs = _of_head(experiment.metrics, bias)[experiment.keys].drop_duplicates()
    lacking = prod(runs[key].nunique(dropna=False) for key in runs) - len(runs)
    return [f"{lacking} runs missing"] if lacking else []


def _fall(experiment: Results, label: str, bias: bool) -> pd.Series:
    """Return a metric's last value over its first, per run that did not diverge."""
    metric = {"NC1": "NC1", "NC2": NC2[bias], "NC3": "NC3_product"}[label]
    rows = experiment.completed(experiment.values(metric, "H1"))
    rows = _of_head(rows, bias).sort_values("step")
    by_run = rows.groupby(["depth", *(key for key in experiment.keys if key != "depth")])["value"]
    return by_run.last() / by_run.first()


def _cross_entropy(experiment: Results) -> Iterator[Decision]:
    losses = excess_losses(experiment)
    for depth in (1, 2, 3):
        rows = losses[losses["depth"] == depth]
        absent = missing((4, 6, 10), rows["classes"].unique(), "K") + _diverged(experiment)
        claim = Claim(
            f"ce_etf_M{depth}",
            f"{PAPER} (abstract)",
            f"With cross-entropy the global solutions are simplex ETFs, M={depth} (K = 4, 6, 10).",
            "no point below the best ETF: largest relative drop below its loss is 0",
            1e-6,
            10,
        )
        yield _lowest_loss(claim, rows, experiment.config["seeds"], absent)


def _lowest_loss(claim: Claim, rows: pd.DataFrame, seeds: int, absent: list[str]) -> Decision:
    """Decide by the lowest loss found: one point below the ETF refutes, at any scale.

    `Claim.decide` would ask for enough seeds first.
    """
    if rows.empty:
        return claim.row("; ".join(["no run", *absent]), seeds, INCONCLUSIVE)
    drops = (-rows.groupby("classes")["reached"].min()).clip(lower=0)
    measured = "largest drop " + ", ".join(
        f"{100 * drop:.3g} % at K={count}" for count, drop in drops.items()
    )
    if drops.max() > claim.tolerance:
        return claim.row(measured, seeds, NOT_REPLICATED)
    if absent or seeds < claim.seeds:
        reasons = [*absent, *([] if seeds >= claim.seeds else [f"{seeds} of {claim.seeds} seeds"])]
        return claim.row(f"{measured} ({'; '.join(reasons)})", seeds, INCONCLUSIVE)
    return claim.row(measured, seeds, REPLICATED)
