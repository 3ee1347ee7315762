"""Claims of the paper, decided from the tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
from scipy.stats import spearmanr

from collapse.studies import Results
from collapse.studies.dufm_lowrank.analysis import (
    FOUND,
    found_dnc,
    hidden,
    hyperparameters,
    mean_ranks,
    relative_losses,
)
from collapse.studies.verdicts import Claim, Decision, lost, missing, short_of
from collapse.theory.dufm_lowrank import collapsed_loss

PAPER = "Sukenik et al. 2024"
DERIVED = "closed form derived from its objective"
EXACT = 1e-10
"""Relative distance at which a float64 loss agrees with a closed form."""
SOLVED = 1e-6
"""The same of a minimum that L-BFGS has come to."""
COLLAPSED = 1e-4
"""NC1 ratio below which free features are collapsed: what they begin with is above 1."""
NETWORK_COLLAPSED = 1e-2
"""The same of a network, whose batches keep moving it."""
ENOUGH_EPOCHS = 300
"""Epochs from which on a network that shows no pattern counts against it."""
ENOUGH_STEPS = 60_000
"""The same of steps of descent."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    yield from _closed_forms(experiments)
    yield from _thresholds(experiments)
    yield from _searches(experiments)
    yield from _descent(experiments["descent"])
    yield from _trends(experiments)
    yield from _few_classes(experiments)
    yield from _network(experiments["network"])


def _decided(
    claim: Claim,
    experiments: Mapping[str, Results],
    names: tuple[str, ...],
    values: Callable[..., Sequence[float]],
    **needs: Sequence[float],
) -> Decision:
    """Decide a claim about experiments; `values` is called if this scale has all of them.

    `needs` are values of hyperparameters of the first that there is no verdict without.
    """
    obstacles = [f"no {name} at this scale" for name in names if name not in experiments]
    if obstacles:
        return claim.decide([], 0, obstacles)
    found = [experiments[name] for name in names]
    obstacles = lost(sum(len(each.values("diverged")) for each in found))
    obstacles += _elsewhere(found[0], **needs)
    return claim.decide(values(*found), min(each.config["seeds"] for each in found), obstacles)


def _elsewhere(experiment: Results, **needs: Sequence[float]) -> list[str]:
    """Return, in words, which values of hyperparameters an experiment has in no run."""
    run = {**experiment.config, **experiment.config["problem"]}
    return [
        words
        for name, wanted in needs.items()
        for words in missing(wanted, experiment.metrics.get(name, [run.get(name)]), name)
    ]


def _off_closed_form(experiment: Results, key: str) -> list[float]:
    """Return |L/L* - 1| of what runs start from; a column says how many classes form a graph."""
    found = relative_losses(experiment, first=True)
    errors = []
    for run in found.to_dict("records"):
        values = hyperparameters(experiment, run)
        closed = collapsed_loss(run[key], **values) / collapsed_loss(0, **values)
        errors.append(abs(run["value"] / closed - 1))
    return errors


def _closed_forms(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    yield _decided(
        Claim(
            "dnc_and_srg_loss",
            f"{PAPER}, Fig. 1; {DERIVED}",
            "Parameters of DNC and of the SRG solution, at L = 4 and K = 10, have the losses of "
            "the closed forms.",
            "|L/L* - 1| is 0",
            EXACT,
            1,
            bound="theory",
        ),
        experiments,
        ("structures",),
        lambda experiment: _off_closed_form(experiment, "graph_classes"),
        graph_classes=(0, 10),
        depth=(4,),
        classes=(10,),
    )
    yield _decided(
        Claim(
            "srg_loss",
            f"{PAPER}, Fig. 3; {DERIVED}",
            "Parameters of the SRG solution have the loss of the closed form at every depth and "
            "number of classes tried.",
            "|L/L* - 1| is 0",
            EXACT,
            1,
            bound="theory",
        ),
        experiments,
        ("ratio",),
        lambda experiment: _off_closed_form(experiment, "classes"),
        depth=(3, 4, 5),
        classes=(6, 10, 15, 21),
    )


def _thresholds(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def cells(experiment: Results) -> pd.Series:
        found = relative_losses(experiment, first=True)
        # The theorem's cells; without it the only graph is that of 4 vertices at 3 layers.
        below = (found["classes"] >= 10) | (found["depth"] >= 4)
        return (found["value"] - 1).where(below, 1 - found["value"])

    def between(experiment: Results) -> pd.Series:
        found = relative_losses(experiment, first=True)
        below = (found["graph_classes"] >= 10) | (found["depth"] >= 4)
        return (found["value"] - 1)[below]

    def gains(experiment: Results, four: bool) -> pd.Series:
        start, end = (relative_losses(experiment, first) for first in (True, False))
        kept = (start["classes"] == 6) == four
        return (1 - end["value"] / start["value"])[kept]

    yield _decided(
        Claim(
            "table_cells",
            f"{PAPER}, theorem and Fig. 3",
            "The SRG solution is below DNC for L >= 3 and K >= 10, and for L >= 4 and K >= 6, and "
            "above it for L = 3 and K = 6.",
            "largest of L_SRG/L_DNC - 1 in those cells, and of 1 - L_SRG/L_DNC in the other, is "
            "below 0",
            0.0,
            1,
            bound="theory",
        ),
        experiments,
        ("ratio",),
        cells,
        depth=(3, 4, 5),
        classes=(6, 10, 15, 21),
    )
    yield _decided(
        Claim(
            "between_graphs",
            f"{PAPER}, theorem; {DERIVED}",
            "Where K is no number of edges (12) as many classes as are form a graph and the others "
            "an axis each: below DNC with 10 of them at L = 3 and with 6 or 10 at L = 4.",
            "L/L_DNC - 1 is below 0",
            0.0,
            1,
            bound="theory",
        ),
        experiments,
        ("blocks",),
        between,
        classes=(12,),
        depth=(3, 4),
        graph_classes=(6, 10),
    )
    yield _decided(
        Claim(
            "srg_gain",
            "earlier measurement of this project",
            "With 5 vertices or more descent from the SRG solution gains next to nothing.",
            "1 - L after descent / L_SRG is 0",
            0.01,
            1,
        ),
        experiments,
        ("ratio",),
        lambda experiment: gains(experiment, four=False),
        classes=(10, 15, 21),
    )
    yield _decided(
        Claim(
            "four_vertices",
            "earlier measurement of this project",
            "With 4 vertices (K = 6) it is not optimal: descent gains more than a hundredth.",
            "L after descent / L_SRG - 0.99 is below 0",
            0.0,
            1,
        ),
        experiments,
        ("ratio",),
        lambda experiment: 0.01 - gains(experiment, four=True),
        depth=(3, 4, 5),
    )


def _searches(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def near(experiment: Results) -> pd.Series:
        return (relative_losses(experiment)["value"] - 1).abs()

    def shares(experiment: Results) -> list[float]:
        return [(relative_losses(experiment)["value"] < 1 - FOUND).mean()]

    def lower(experiment: Results, graphs: Results) -> list[float]:
        best = relative_losses(experiment)["value"].min()
        found = relative_losses(graphs)
        same = (found["depth"] == 3) & (found["classes"] == 10)
        return list(found["value"][same] / best - 1)

    def best(experiment: Results, key: str) -> pd.Series:
        found = relative_losses(experiment)
        return (found.groupby(key)["value"].min() - 1).abs()

    yield _decided(
        Claim(
            "dnc_local",
            "earlier measurement of this project",
            "DNC is a local minimum also where it is not optimal (L = 4, K = 10): L-BFGS from it "
            "with noise returns.",
            "|L/L_DNC - 1| is 0",
            SOLVED,
            3,
        ),
        experiments,
        ("near_dnc",),
        near,
        depth=(4,),
        classes=(10,),
    )
    yield _decided(
        Claim(
            "search_finds_dnc",
            "earlier measurement of this project",
            "At L = 3 and K = 10 generic starts do not find what is below DNC.",
            "share of starts that end below DNC by a part in a thousand is 0",
            0.1,
            10,
        ),
        experiments,
        ("generic_search",),
        shares,
        depth=(3,),
        classes=(10,),
    )
    yield _decided(
        Claim(
            "search_misses",
            f"{PAPER}, theorem; earlier measurement of this project",
            "Yet descent from the SRG solution ends below the best of them, by more than 5 %.",
            "L from SRG / best L of generic starts - 1 is below -0.05",
            -0.05,
            1,
        ),
        experiments,
        ("generic_search", "ratio"),
        lower,
        depth=(3,),
        classes=(10,),
    )
    for name, key, needed, what in (
        ("two_layers", "classes", (2, 3, 5, 10), "Two layers"),
        ("two_classes", "depth", (3, 4, 5), "Two classes"),
    ):
        yield _decided(
            Claim(
                name,
                f"{PAPER}, by the work before it",
                f"{what} are DNC: the best of generic starts has its loss.",
                f"|least L/L_DNC - 1|, by {key}, is 0",
                SOLVED,
                3,
            ),
            experiments,
            (name,),
            lambda experiment, key=key: best(experiment, key),
            **{key: needed},
        )


def _descent(experiment: Results) -> Iterator[Decision]:
    config = experiment.config
    seeds, obstacles = config["seeds"], lost(len(experiment.values("diverged")))
    solvers = config["optimiser"]
    steps = (solvers if isinstance(solvers, list) else [solvers])[0]["steps"]
    excuses = short_of(steps, ENOUGH_STEPS, "steps")
    classes = config["problem"]["classes"]
    source = f"{PAPER}, Fig. 2"
    elsewhere = _elsewhere(experiment, depth=(4,), classes=(10,), weight_decay=(0.004,))
    ranks = hidden(experiment, "rank").groupby(experiment.keys)["value"].max()
    last = f"H{config['problem']['depth']}"
    behind = experiment.last("rank_rectified", last)["value"]
    ratios = hidden(experiment, "NC1_ratio").groupby(experiment.keys)["value"].max()
    yield Claim(
        "descent_below_dnc",
        source,
        "Gradient descent at the paper's setting (L = 4, K = 10, decays 0.004) ends below DNC.",
        "L/L_DNC - 1 is below 0",
        0.0,
        3,
        bound="theory",
    ).decide(relative_losses(experiment)["value"] - 1, seeds, obstacles + elsewhere, excuses)
    yield Claim(
        "descent_dnc1",
        source,
        "Where gradient descent ends, the variability within classes vanishes in every layer.",
        "largest tr Sigma_W / tr Sigma_B of H_2 to H_L is 0",
        COLLAPSED,
        3,
    ).decide(ratios, seeds, obstacles, excuses)
    yield Claim(
        "descent_rank",
        source,
        "No layer has the rank of the classes before its ReLU.",
        "largest rank of M_2 to M_L, less K - 1, is 0 or less",
        0.0,
        3,
        bound="theory",
    ).decide(ranks - (classes - 1), seeds, obstacles, excuses)
    yield Claim(
        "descent_last_relu",
        f"{PAPER}, Fig. 1",
        "Behind the last ReLU the class means have the rank of the classes.",
        "|rank of relu(M_L) - K| is 0",
        0.0,
        3,
        bound="theory",
    ).decide((behind - classes).abs(), seeds, obstacles, excuses)


def _trends(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def against_decay(experiment: Results) -> list[float]:
        ranks = mean_ranks(experiment).groupby("weight_decay")["value"].mean()
        # Of equal ranks there is none.
        found = spearmanr(ranks.index, ranks).statistic if ranks.nunique() > 1 else 0.0
        return [1 + found]

    def against_width(experiment: Results) -> list[float]:
        shares = found_dnc(experiment).groupby("widths")["value"].mean()
        return [shares.iloc[0] - shares.iloc[-1]]

    yield _decided(
        Claim(
            "rank_falls",
            f"{PAPER}, Fig. 3",
            "The mean rank of the layers falls as the decay grows (L = 4, K = 10).",
            "1 + Spearman's correlation of decay and mean rank over runs is 0",
            0.2,
            3,
        ),
        experiments,
        ("decay",),
        against_decay,
        depth=(4,),
        classes=(10,),
        weight_decay=(0.001, 0.002, 0.004, 0.008, 0.016),
    )
    yield _decided(
        Claim(
            "dnc_with_width",
            f"{PAPER}, Fig. 3",
            "The wider the layers, the likelier descent ends in DNC.",
            "share of runs in DNC at the least width, less that at the largest, is below -0.5",
            -0.5,
            3,
        ),
        experiments,
        ("width",),
        against_width,
        widths=(10, 20, 40, 80),
    )


def _few_classes(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def best(experiment: Results) -> pd.Series:
        return relative_losses(experiment).groupby("classes")["value"].min() - 1

    def all_of(experiment: Results) -> pd.Series:
        return relative_losses(experiment)["value"] - 1

    yield _decided(
        Claim(
            "few_classes",
            f"{PAPER}, Fig. 5",
            "With 4 layers K = 3, 4 and 5 have solutions below DNC too, which the theorem leaves "
            "open.",
            "least L/L_DNC - 1 of all starts, by K, is below -0.001",
            -FOUND,
            10,
        ),
        experiments,
        ("few_classes",),
        best,
        depth=(4,),
        classes=(3, 4, 5),
    )
    yield _decided(
        Claim(
            "fifteen_classes",
            f"{PAPER}, Fig. 6",
            "At K = 15 and L = 7 descent ends below DNC from every start.",
            "L/L_DNC - 1 is below 0",
            0.0,
            3,
            bound="theory",
        ),
        experiments,
        ("fifteen_classes",),
        all_of,
        depth=(7,),
        classes=(15,),
    )


def _network(experiment: Results) -> Iterator[Decision]:
    config = experiment.config
    seeds, obstacles = config["seeds"], lost(len(experiment.values("diverged")))
    excuses = short_of(config["training"]["epochs"], ENOUGH_EPOCHS, "epochs")
    classes, source = len(config["labels"]["classes"]), f"{PAPER}, Fig. 2"
    ratios = hidden(experiment, "NC1_ratio").groupby(experiment.keys)["value"].max()
    ranks = hidden(experiment, "rank").groupby(experiment.keys)["value"].min()
    yield Claim(
        "network_below_dnc",
        source,
        "A network with a ReLU head under the decays of the model ends below DNC's loss.",
        "L/L_DNC - 1 is below 0",
        0.0,
        2,
        bound="theory",
    ).decide(relative_losses(experiment)["value"] - 1, seeds, obstacles, excuses)
    yield Claim(
        "network_dnc1",
        source,
        "The variability within classes vanishes in every layer of its head.",
        "largest tr Sigma_W / tr Sigma_B of H_2 to H_L is 0",
        NETWORK_COLLAPSED,
        2,
    ).decide(ratios, seeds, obstacles, excuses)
    yield Claim(
        "network_rank",
        source,
        "A layer of its head has less than the rank of the classes.",
        "least rank of M_2 to M_L, less K - 1, is 0 or less",
        0.0,
        2,
        bound="theory",
    ).decide(ranks - (classes - 1), seeds, obstacles, excuses)
