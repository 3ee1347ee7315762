"""What is claimed of linear autoencoders, and of networks in `network_claims`."""

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from collapse.studies import Results
from collapse.studies.posterior_collapse import network_claims
from collapse.studies.posterior_collapse.analysis import (
    away,
    listed,
    released_rule,
    rises,
    single,
)
from collapse.studies.verdicts import Claim, Decision, lost, missing

PAPER = "Dang et al. 2024"
DERIVED = "closed form derived from its objective"
NEAR = 1e-3
"""Distance at which singular values and stds agree with a closed form."""
SOLVED = 1e-6
"""Distance at which a loss does: at a minimum it is the square of the former."""
ROUNDING = 1e-6
"""Rise of a divergence in nats that passes for none."""
_NO_FALL = f"; {NEAR:g} for a seed in which it falls by less than that everywhere"


def decide(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    """Yield one row per claim."""
    yield from _closed_forms(experiments)
    yield from _staircase(experiments)
    yield from _correlation(experiments)
    yield from _hierarchy(experiments)
    yield from network_claims.decide(experiments)


def _decided(
    claim: Claim,
    experiments: Mapping[str, Results],
    name: str,
    values: Callable[[Results], pd.Series],
    **needs: tuple[float, ...],
) -> Decision:
    """Decide a claim about an experiment; `needs` are values of its grid, by column."""
    if name not in experiments:
        return claim.decide([], 0, [f"no {name} at this scale"])
    experiment = experiments[name]
    obstacles = lost(len(experiment.values("diverged")))
    for column, wanted in needs.items():
        obstacles += missing(wanted, experiment.metrics[column], column)
    return claim.decide(values(experiment), experiment.config["seeds"], obstacles)


def _errors(metric: str) -> Callable[[Results], pd.Series]:
    """Return what gives the largest error of a list of numbers of each run away from thresholds."""

    def errors(experiment: Results) -> pd.Series:
        rows = away(experiment, listed(experiment, metric))
        each = (rows["value"] - rows["predicted"]).abs()
        return each.groupby([rows[key] for key in experiment.keys]).max()

    return errors


def _gap(experiment: Results) -> pd.Series:
    rows = single(experiment, "loss")
    return (rows["value"] - rows["predicted"]).abs()


_MODELS = {
    "linear_cvae": ("conditional autoencoder", {"beta": (0.1, 0.5, 1.0, 2.0)}),
    "linear_vae": ("autoencoder", {"beta": (0.1, 0.5, 1.0, 2.0)}),
    "held_encoder": (
        "autoencoder whose encoder's std is held",
        {"beta": (0.1, 0.5, 1.0, 2.0)},
    ),
    "linear_mhvae": ("autoencoder of two levels", {"beta_2": (0.1, 0.5, 1.0, 2.0)}),
}
_LISTS = {
    "linear_cvae": {
        "decoder_singular_values": "the decoder's singular values",
        "encoder_std": "the encoder's stds",
    },
    "linear_vae": {
        "decoder_singular_values": "the decoder's singular values",
        "encoder_std": "the encoder's stds",
    },
    "held_encoder": {
        "decoder_singular_values": "the decoder's singular values",
        "encoder_singular_values": "the encoder's singular values",
    },
    "linear_mhvae": {
        "lambda": "lambda, the singular values of the first encoder,",
        "omega": "omega, the singular values of the second decoder,",
    },
}


def _closed_forms(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    for name, (model, needs) in _MODELS.items():
        for metric, what in _LISTS[name].items():
            yield _decided(
                Claim(
                    f"{name}_{metric}",
                    f"{PAPER}, released code; {DERIVED}",
                    f"In a linear {model} {what} are those of the closed form.",
                    f"largest |{metric} - closed form| of a run away from thresholds is 0",
                    NEAR,
                    3,
                ),
                experiments,
                name,
                _errors(metric),
                **needs,
            )
        yield _decided(
            Claim(
                f"{name}_loss",
                DERIVED,
                f"No start of a linear {model} ends below or above the closed form of the loss.",
                "|L - L*| is 0",
                SOLVED,
                3,
            ),
            experiments,
            name,
            _gap,
            **needs,
        )


def _staircase(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def off(experiment: Results) -> pd.Series:
        rows = single(experiment, "active")
        return (rows["value"] - rows["predicted"]).abs()

    def off_released(experiment: Results) -> pd.Series:
        rows = single(experiment, "active")
        expected = released_rule(experiment, rows["beta"].to_numpy())
        # Of each seed the worst: at most values of beta both rules agree.
        return (rows["value"] - expected).abs().groupby(rows["seed"]).max()

    needs = {"beta": (0.3, 1.3, 1.5, 2.0, 2.2, 3.1, 4.1, 5.4, 7.5)}
    yield _decided(
        Claim(
            "active_units",
            f"{PAPER}; {DERIVED}",
            "In a linear conditional autoencoder as many latents are active as eigenvalues of the "
            "conditional second moment are above beta decoder_std^2, at every beta.",
            "|active - predicted| of a run is 0",
            0.0,
            3,
            bound="theory",
        ),
        experiments,
        "staircase",
        off,
        **needs,
    )
    yield _decided(
        Claim(
            "released_threshold",
            "released code, calculate_lambda_sigma_cvae_beta",
            "As many are active as eigenvalues are at or above sqrt(beta) decoder_std (which the "
            "objective contradicts where beta is not 1).",
            "largest |active - predicted by this rule| of a seed, over beta, is 0",
            0.0,
            3,
            bound="paper",
        ),
        experiments,
        "staircase",
        off_released,
        **needs,
    )


def _correlation(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def along(experiment: Results) -> pd.Series:
        return rises(experiment.last("KL"), "correlation", NEAR)

    def left(experiment: Results) -> pd.Series:
        # Not by the variance that x leaves of y, which no latent has here whatever it encodes.
        rows = experiment.last("KL")
        return rows[rows["correlation"] == 1]["value"]

    def errors(experiment: Results) -> pd.Series:
        rows = away(experiment, single(experiment, "KL"))
        return (rows["value"] - rows["predicted"]).abs()

    yield _decided(
        Claim(
            "correlation_monotone",
            PAPER,
            "The KL divergence of a linear conditional autoencoder falls monotonically as the "
            "correlation of x and y goes to 1, to 0.",
            "largest rise of KL between neighbouring correlations of a seed is 0 or less"
            f"{_NO_FALL}",
            ROUNDING,
            3,
        ),
        experiments,
        "correlation",
        along,
        correlation=(0.0, 0.125, 0.25, 0.5, 1.0),
    )
    yield _decided(
        Claim(
            "correlation_one",
            PAPER,
            "Where x determines y all latents collapse.",
            "KL of all latents at correlation 1, in nats, is 0",
            NEAR,
            3,
        ),
        experiments,
        "correlation",
        left,
        correlation=(1.0,),
    )
    yield _decided(
        Claim(
            "correlation_kl",
            DERIVED,
            "At every correlation the KL divergence is that of the closed form.",
            "|KL - closed form| in nats of a run is 0",
            NEAR,
            3,
        ),
        experiments,
        "correlation",
        errors,
        correlation=(0.0, 0.125, 0.25, 0.5, 1.0),
    )


def _hierarchy(experiments: Mapping[str, Results]) -> Iterator[Decision]:
    def counts(metric: str) -> Callable[[Results], pd.Series]:
        def off(experiment: Results) -> pd.Series:
            rows = away(experiment, single(experiment, metric))
            return (rows["value"] - rows["predicted"]).abs()

        return off

    def rise(experiment: Results) -> pd.Series:
        """Return, by seed and beta_1, how the KL divergence of z2 changes from step to step."""
        return rises(experiment.last("KL_2"), "beta_2", NEAR, ["beta_1"])

    def fall(experiment: Results) -> pd.Series:
        rows = experiment.last("KL_2")
        return rises(rows.assign(value=-rows["value"]), "beta_1", NEAR, ["beta_2"])

    grid = {"beta_1": (0.1, 0.5, 1.0, 2.0), "beta_2": (0.1, 0.5, 1.0, 2.0)}
    for metric, level in (("active", "z1"), ("active_2", "z2")):
        yield _decided(
            Claim(
                f"linear_mhvae_{metric}",
                f"{PAPER}; {DERIVED}",
                f"With two linear levels {level} has as many active latents as the closed form "
                "says, at every beta_1 and beta_2.",
                f"|{metric} - predicted| of a run away from thresholds is 0",
                0.0,
                3,
                bound="theory",
            ),
            experiments,
            "linear_mhvae",
            counts(metric),
            **grid,
        )
    yield _decided(
        Claim(
            "beta_2_collapses_z2",
            PAPER,
            "With two linear levels of which the second has a learned variance, z2 goes towards "
            "collapse as beta_2 grows.",
            "largest rise of KL_2 between neighbouring beta_2, of a seed at a beta_1, is 0 or less"
            f"{_NO_FALL}",
            ROUNDING,
            3,
        ),
        experiments,
        "linear_mhvae",
        rise,
        **grid,
    )
    yield _decided(
        Claim(
            "beta_1_keeps_z2",
            f"{PAPER}; {DERIVED}",
            "As beta_1 grows it does not: z2 then carries more.",
            "largest fall of KL_2 between neighbouring beta_1, of a seed at a beta_2, is 0 or less"
            f"; {NEAR:g} for a seed in which it rises by less than that everywhere",
            ROUNDING,
            3,
        ),
        experiments,
        "linear_mhvae",
        fall,
        **grid,
    )
