"""Moving picture: latents go to their closed forms, and some of them to the prior."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import Layer, Scene
from collapse.theory.posterior_collapse import best_std

_CURVE = 120
"""Points of the curve."""


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves: by latent the norm of its decoder column, and its std."""
    norms = np.stack([np.linalg.norm(state["U1"], axis=0) for state in states])
    held = np.log(run.config["problem"]["encoder_std"] or 1.0)
    logs = np.stack([state.get("log_std", np.full(norms.shape[1], held)) for state in states])
    at = np.stack([norms, np.exp(logs)], -1)
    return Scene(
        (Layer("latents", at, np.arange(at.shape[1])),),
        _closed(run, float(norms.max())),
        "closed form by latent, on the curve of the best std",
        axes=("norm of the latent's column of U1", "std of the encoder"),
    )


def _closed(run: Results, reach: float) -> tuple[np.ndarray, ...]:
    """Return a line up to the place of each latent at the minimum, and the curve they end on."""
    closed = run.predictions.set_index("metric")["value"]
    count = run.config["problem"]["latent_dim"]
    names = ("decoder_singular_values", "encoder_std")
    norms, stds = (closed[[f"{name}[{i}]" for i in range(count)]].to_numpy() for name in names)
    across = np.linspace(0, max(reach, norms.max()), _CURVE)
    # A std that is held is not the best one.
    learned = run.config["problem"]["encoder_std"] is None
    curve = [np.stack([across, best_std(across, run.config["problem"])], -1)] if learned else []
    places = zip(norms, stds, strict=True)
    return (*(np.array([(norm, 0), (norm, std)]) for norm, std in places), *curve)
