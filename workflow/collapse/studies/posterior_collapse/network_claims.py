"""What is claimed of autoencoders with ReLU networks on images."""

from collections.abc import Iterator, Mapping

import pandas as pd

from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.posterior_collapse.analysis import rises
from collapse.studies.verdicts import Claim, Decision, lost, missing, short_of

PAPER = "Dang et al. 2024"
BONHEME = "Bonheme & Grzes 2021"
EPOCHS = 100
"""Epochs of the released code, from which on a network that shows no pattern counts against it."""
SAMPLES = 5000
"""The same of images a class."""
NOTHING = 0.01
"""Nats that a rise of a divergence may be where both networks have collapsed."""
FALL = 2 * NOTHING
"""Nats by which a divergence falls at least where it does: a constant one shows nothing."""
CORRELATED = 0.1
"""Difference of absolute correlations that counts."""


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    for name, key, symbol in (
        ("cvae_beta", "beta", "beta"),
        ("cvae_decoder_std", "decoder_std", "the decoder's std"),
    ):
        yield _fewer_units(experiments[name], key, symbol)
        yield _smaller_divergence(experiments[name], key, symbol)
    yield from _levels(experiments["mhvae"])
    yield from _variables(experiments["cvae_beta"])


def _excuses(experiment: Results) -> list[str]:
    samples = experiment.config["data"]["samples_per_class"] or SAMPLES
    epochs = experiment.config["training"]["epochs"]
    return short_of(epochs, EPOCHS, "epochs") + short_of(samples, SAMPLES, "images a class")


def _decide(claim: Claim, experiment: Results, values: pd.Series, **needs: tuple) -> Decision:
    obstacles = lost(len(experiment.values("diverged")))
    for column, wanted in needs.items():
        obstacles += missing(wanted, experiment.metrics[column], column)
    seeds = experiment.config["seeds"]
    return claim.decide(values.dropna(), seeds, obstacles, _excuses(experiment))


def _fewer_units(experiment: Results, key: str, symbol: str) -> Decision:
    rows = experiment.last("active_units", "z").sort_values(key).groupby("seed")["value"]
    # Over the whole grid fewer, and in no step more.
    change = pd.concat([rows.last() - rows.first() + 1, rows.agg(lambda v: v.diff().max())], axis=1)
    claim = Claim(
        f"network_active_units_{key}",
        PAPER,
        "In ReLU networks that complete images from a quarter active units become fewer as "
        f"{symbol} grows.",
        f"largest rise of active_units between neighbouring values of {key}, and their change "
        "over all plus 1, of a seed, is 0 or less",
        0.0,
        2,
        bound="theory",
    )
    needs = {"beta": (0.1, 0.5, 1.0, 2.0), "decoder_std": (0.25, 0.5, 1.0, 2.0)}[key]
    return _decide(claim, experiment, change.max(axis=1, skipna=False), **{key: needs})


def _smaller_divergence(experiment: Results, key: str, symbol: str) -> Decision:
    claim = Claim(
        f"network_kl_{key}",
        PAPER,
        "In ReLU networks that complete images from a quarter the KL divergence falls as "
        f"{symbol} grows, on images held out, until all units have collapsed.",
        f"largest rise of test_KL between neighbouring values of {key}, of a seed, is 0 or less; "
        f"{FALL:g} for one in which it does not fall by that over all",
        NOTHING,
        2,
    )
    needs = {"beta": (0.1, 0.5, 1.0, 2.0), "decoder_std": (0.25, 0.5, 1.0, 2.0)}[key]
    values = rises(experiment.last("test_KL"), key, FALL)
    return _decide(claim, experiment, values, **{key: needs})


def _levels(experiment: Results) -> Iterator[Decision]:
    rows = experiment.last("active_units", "z2")
    largest = rows[["beta_1", "beta_2"]].max()
    least = rows[["beta_1", "beta_2"]].min()

    def at(first: float, second: float) -> pd.Series:
        chosen = rows[(rows["beta_1"] == first) & (rows["beta_2"] == second)]
        return chosen.set_index("seed")["value"]

    grid = {"beta_1": (0.1, 0.5, 2.0), "beta_2": (0.1, 0.5, 2.0)}
    claim = Claim(
        "network_beta_2_first",
        PAPER,
        f"In ReLU networks of two levels on {data_name(experiment.config)} beta_2 collapses z2 and "
        "beta_1 does not: z2 has fewer active units with the largest beta_2 at the least beta_1 "
        "than with the largest beta_1 at the least beta_2.",
        "active units of z2 of the former less those of the latter, of a seed, are below 0",
        -1.0,
        2,
        bound="theory",
    )
    values = at(least["beta_1"], largest["beta_2"]) - at(largest["beta_1"], least["beta_2"])
    yield _decide(claim, experiment, values, **grid)
    claim = Claim(
        "network_kl_beta_2",
        PAPER,
        "At every beta_1 the KL divergence of z2 from its prior falls as beta_2 grows, on images "
        "held out.",
        "largest rise of test_KL_2 between neighbouring values of beta_2, of a seed at a beta_1, "
        f"is 0 or less; {FALL:g} for a seed in which it falls by less than that everywhere",
        0.0,
        2,
        bound="theory",
    )
    held_out = experiment.last("test_KL_2")
    yield _decide(claim, experiment, rises(held_out, "beta_2", FALL, ["beta_1"]), **grid)
    claim = Claim(
        "network_kl_beta_1",
        f"{PAPER}; closed form of linear levels",
        "At every beta_2 it rises as beta_1 grows, as in linear levels.",
        "largest fall of test_KL_2 between neighbouring values of beta_1, of a seed at a beta_2, "
        f"is 0 or less; {FALL:g} for a seed in which it rises by less than that everywhere",
        0.0,
        2,
        bound="theory",
    )
    turned = held_out.assign(value=-held_out["value"])
    yield _decide(claim, experiment, rises(turned, "beta_1", FALL, ["beta_2"]), **grid)


def _variables(experiment: Results) -> Iterator[Decision]:
    def difference(name: str) -> pd.Series:
        keys = experiment.keys
        mean, sampled = (
            experiment.last(f"{kind}_correlation_{name}", "z").set_index(keys)["value"]
            for kind in ("mean", "sampled")
        )
        return (mean - sampled).dropna()

    needs = {"beta": (0.1, 0.5, 1.0, 2.0)}
    claim = Claim(
        "passive_variables",
        BONHEME,
        "Passive variables correlate with others in the posterior means and not in samples.",
        f"{CORRELATED} less the difference of their mean largest correlations, of a run, is below "
        "0",
        0.0,
        2,
    )
    yield _decide(claim, experiment, CORRELATED - difference("passive"), **needs)
    claim = Claim(
        "active_variables",
        BONHEME,
        "Active variables correlate with each other as much in the one as in the other.",
        "|difference of their mean largest correlations|, of a run, is 0",
        CORRELATED,
        2,
    )
    yield _decide(claim, experiment, difference("active").abs(), **needs)
