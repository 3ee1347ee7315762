"""Moving picture: the residuals of two targets become white as W and the features are trained."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import Layer, Scene
from collapse.studies.regression.analysis import covariance, whitened
from collapse.studies.regression.snapshots import by_sample, phase

_LENGTHS = (1, 2)
"""Lengths of the whitened target whose circles are drawn."""
_SECTORS = 6
_TURN = np.linspace(0, 2 * np.pi, 97)


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves: residuals of single samples in the plane of the first two targets."""
    rows = run.at_last(run.points("residuals"))
    last, centred = by_sample(rows, "residual"), by_sample(rows, "target")
    outputs = [_outputs(state, len(last)) for state in states]
    # The targets, of which the table has the deviations alone, are the last outputs less these.
    residuals = np.stack([found - (outputs[-1] - last) for found in outputs])
    angles = phase(_plane(whitened(centred, covariance(run))))
    sectors = np.floor(_SECTORS * angles).astype(int) % _SECTORS
    level = np.sqrt(run.config["weight_decay"] * run.config["feature_decay"])
    circle = level * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
    return Scene(
        (Layer("residuals", _plane(residuals), sectors),),
        tuple(length * circle for length in _LENGTHS),
        "theory of whitened targets of length 1 and 2",
    )


def _outputs(state: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return the outputs of a state, count x n, for as many evenly spaced samples as residuals."""
    outputs = state["W1"] @ state["H"]
    places = np.arange(count) * outputs.shape[1] // count
    return outputs.T[places] + state.get("bias", 0.0)


def _plane(values: np.ndarray) -> np.ndarray:
    """Return the first two of the last axis; of one the second is 0."""
    missing = max(0, 2 - values.shape[-1])
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])[..., :2]
