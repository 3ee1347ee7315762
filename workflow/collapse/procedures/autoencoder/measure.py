"""Measure variational autoencoders: what their latents carry, and what they make of images."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.procedures import JobContext, Measured, Runs, States
from collapse.procedures.autoencoder import MODELS, numbers_of
from collapse.procedures.autoencoder.gaussian import build
from collapse.procedures.autoencoder.images import Images, images_of
from collapse.procedures.network.measure import load
from collapse.progress import Progress
from collapse.training.device import precision
from collapse.training.ensemble import Ensemble
from collapse.upstream import Upstream

ACTIVE = 0.01
"""Share of the prior's variance above which a posterior mean varies (Burda et al. 2016)."""
PASSIVE_VARIANCE = 0.9
"""Share of the prior's variance from which on a latent counts as passive at a sample."""
MIXED = 0.05
"""Share of the samples that may be of the other kind: beyond, a variable is mixed."""
SHOWN = 6
"""Images whose reconstructions are kept."""
# Of the noise of z1 that z2 is measured under, and of sampled representations.
_SEED = 0


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded epoch of each run, on its training images and those held out.

    Points of the probe ``latents`` are the variables of each level, those of ``pictures`` the
    pixels of a few images held out and of what the network makes of them.
    """
    # The device before data and states: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    config = runs[0]["config"]
    images = images_of(dataset, config, device)
    spectrum = list(data_readings(images, config))
    # Loaded anew with each state.
    network = build(MODELS[config["autoencoder"]].widths(config, images.shape), seed=0).to(device)
    progress = Progress(len(runs), unit="run")
    for number, run in enumerate(runs, 1):
        record, history = states.run(run["id"]), states.history_of(run["keys"])
        rows, points = list(training_readings(history.drop(columns=list(run["keys"])))), []
        for step in record["steps"]:
            load(states, network, run["id"], step)
            with torch.inference_mode(), precision("float32"):
                reading = _Reading(Ensemble([network]), run["config"], images, device)
                rows += [(step, *row) for row in reading.rows()]
                points += [frame.assign(step=step) for frame in reading.points()]
        if record["steps"]:
            rows += [(record["steps"][-1], *row) for row in spectrum]
        if record["diverged_at"] is not None:
            rows.append((record["diverged_at"], "all", "diverged", 1.0))
        progress.update(number)
        yield Measured(rows, points)


def training_readings(history: pd.DataFrame) -> Iterator[tuple[int, str, str, float]]:
    """Yield ``loss``, the objective, and its parts by the history's names, of every epoch."""
    kept = history.rename(columns={"objective": "loss"}).drop(columns="step_size")
    for row in kept.to_dict("records"):
        epoch = int(row.pop("epoch"))
        yield from ((epoch, "all", name, value) for name, value in row.items())


class _Reading:
    """What is measured of the networks of a single run as they are now."""

    def __init__(
        self,
        networks: Ensemble,
        config: Mapping[str, Any],
        images: Images,
        device: torch.device,
    ) -> None:
        self._networks, self._config, self._images = networks, config, images
        self._model, self._numbers = MODELS[config["autoencoder"]], numbers_of([config], device)
        generator = torch.Generator().manual_seed(_SEED)
        shape = len(images.train), self._model.noise_dim(config)
        noise = torch.randn(shape, generator=generator).to(device).unsqueeze(0)
        found = self._model.latents(networks, self._numbers, images.train.unsqueeze(0), noise)
        # In float64: variances of what hardly varies.
        self._latents = {
            layer: tuple(values[0].detach().double().cpu() for values in pair)
            for layer, pair in found.items()
        }

    def _scale(self, layer: str) -> float:
        """Return what the std of a level's posterior is measured by: z1 has no fixed prior."""
        return self._config["encoder_std" if layer == "z1" else "prior_std"]

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """Yield all rows of this state."""
        for layer, (mean, std) in self._latents.items():
            yield from latent_readings(layer, mean, std, self._scale(layer))
        yield from held_out_readings(
            self._model, self._networks, self._numbers, self._config, self._images
        )

    def points(self) -> Iterator[pd.DataFrame]:
        """Yield the variables of each level, and pictures."""
        for layer, (mean, std) in self._latents.items():
            frame = variables(mean, std, self._scale(layer))
            yield frame.assign(layer=layer, probe="latents")
        chosen = self._images.test[:SHOWN] if len(self._images.test) else self._images.train[:SHOWN]
        made = {"image": chosen.unsqueeze(0)}
        made |= dict(self._model.pictures(self._networks, chosen.unsqueeze(0), self._images.places))
        for name, values in made.items():
            array = values[0].detach().cpu().numpy()
            image, pixel = np.indices(array.shape)
            flat = {"image": image.ravel(), "pixel": pixel.ravel(), "value": array.ravel()}
            yield (
                pd.DataFrame(flat)
                .astype({"value": float})
                .assign(source=name, layer="all", probe="pictures")
            )


def latent_readings(
    layer: str, mean: Tensor, std: Tensor, scale: float
) -> Iterator[tuple[str, str, float]]:
    """Yield how many variables of a level carry something, and how they correlate.

    On layer z, or z1 and z2 of two levels, over all training images, posterior means and stds N x
    d. ``active_units``: variables whose posterior mean has a variance above a hundredth of the
    prior's (Burda et al. 2016), of z1 of its noise's. A variable is passive at an image where its
    posterior variance is above 0.9 of the prior's. Where that is so at all images but a twentieth
    it is one of ``passive_variables``, where at a twentieth at most of ``active_variables``, else
    of ``mixed_variables`` (Bonheme & Grzes 2021; z1, whose std is held, has none of the three).
    ``mean_correlation_passive`` and ``sampled_correlation_passive`` are the means over passive
    variables of the largest absolute correlation with any other variable, of the posterior means
    and of samples of the posterior, ``mean_correlation_active`` and ``sampled_correlation_active``
    of active ones, of which the others are active too; absent where there are less than two
    variables to correlate.
    """
    frame = variables(mean, std, scale)
    yield layer, "active_units", float(frame["active"].sum())
    if layer == "z1":
        return
    for name in ("active", "passive", "mixed"):
        yield layer, f"{name}_variables", float((frame["type"] == name).sum())
    for name in ("passive", "active"):
        chosen = frame[frame["type"] == name]
        for kind in ("mean", "sampled"):
            values = chosen[f"{kind}_correlation"].dropna()
            if len(values):
                yield layer, f"{kind}_correlation_{name}", float(values.mean())


def variables(mean: Tensor, std: Tensor, scale: float) -> pd.DataFrame:
    """Return what each variable of a level carries, from posterior means and stds, N x d.

    ``variable``; ``variance``, the mean of its posterior variance over the prior's, ``scale``
    squared; ``mean_variance``, the variance of its posterior mean over the same; ``active``,
    whether that is above a hundredth; ``passive``, the share of samples where the posterior
    variance is above 0.9 of the prior's; ``type``, active, passive or mixed; and
    ``mean_correlation`` and ``sampled_correlation``, its largest absolute correlation with
    another variable, of an active one with another active one, of means and of samples.
    """
    relative = (std / scale).square()
    spread = mean.var(0, unbiased=False) / scale**2
    share = (relative > PASSIVE_VARIANCE).double().mean(0).numpy()
    types = np.where(share >= 1 - MIXED, "passive", np.where(share <= MIXED, "active", "mixed"))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(_SEED + 1))
    samples = mean + std * noise.double()
    return pd.DataFrame(
        {
            "variable": np.arange(mean.shape[1]),
            "variance": relative.mean(0).numpy(),
            "mean_variance": spread.numpy(),
            "active": (spread > ACTIVE).numpy(),
            "passive": share,
            "type": types,
            "mean_correlation": _correlations(mean, types == "active"),
            "sampled_correlation": _correlations(samples, types == "active"),
        }
    )


def _correlations(values: Tensor, active: np.ndarray) -> np.ndarray:
    """Return the largest absolute correlation of each variable, N x d, with another.

    Of an active one with another active one; NaN where there is none that varies.
    """
    centred = (values - values.mean(0)).numpy()
    norms = np.linalg.norm(centred, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = np.abs(centred.T @ centred / np.outer(norms, norms))
    np.fill_diagonal(table, np.nan)
    table[np.ix_(active, ~active)] = np.nan
    largest = np.where(np.isnan(table), -1, table).max(1)
    return np.where(largest < 0, np.nan, largest)


def held_out_readings(
    model: Any,
    networks: Ensemble,
    numbers: Mapping[str, Tensor],
    config: Mapping[str, Any],
    images: Images,
) -> Iterator[tuple[str, str, float]]:
    """Yield what the objective is made of on images held out.

    On layer ``all``, as means over images with one draw of the noise: ``test_squared_error``,
    summed over the pixels that are reconstructed, and ``test_KL``, of two levels ``test_KL_1`` and
    ``test_KL_2``, in nats.
    """
    if not len(images.test):
        return
    generator = torch.Generator().manual_seed(_SEED + 2)
    shape = len(images.test), model.noise_dim(config)
    noise = torch.randn(shape, generator=generator).to(images.test.device).unsqueeze(0)
    errors, divergences = model.terms(
        networks, numbers, images.test.unsqueeze(0), noise, images.places
    )
    yield "all", "test_squared_error", errors.mean().item()
    for name, values in divergences.items():
        yield "all", f"test_{name}", values.mean().item() / 2


def data_readings(images: Images, config: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield what a linear model knows of the images, at a run's last epoch.

    On layer ``all``: ``data_eigenvalue[i]``, the largest eigenvalues of the covariance of what is
    reconstructed, as many as the first level has latents, descending; of a model that is given a
    quarter of them of their covariance conditional on that by linear regression.
    """
    centred = images.train.double().cpu()
    centred = centred - centred.mean(0)
    moment = centred.T @ centred / len(centred)
    given, wanted = (pixels.cpu() for pixels in images.places)
    left = moment[wanted][:, wanted]
    if len(given):
        known, cross = moment[given][:, given], moment[wanted][:, given]
        left = left - cross @ torch.linalg.pinv(known, hermitian=True) @ cross.T
    values = torch.linalg.eigvalsh(left).flip(0).clamp(min=0)
    for index, value in enumerate(values[: config["latent_dim"]].tolist()):
        yield "all", f"data_eigenvalue[{index}]", value
