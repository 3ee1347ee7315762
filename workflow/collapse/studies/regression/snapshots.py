"""One run before and after training, its samples coloured by the angle of the whitened target."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from collapse.studies import Results
from collapse.studies.regression.analysis import at_working_decay, chosen, covariance, whitened
from collapse.studies.regression.panels import endings_of

NO_STATE = "not two targets, or all diverged"
"""What a panel says where there is no snapshot."""
NONE = "No run of two targets reached its end."
"""What a caption says there."""


@dataclass(frozen=True)
class Snapshot:
    """A run at a step.

    Attributes
    ----------
    points
        Its rows of the probe that is drawn.
    residuals, z
        Of single samples, a row each: targets less outputs, and whitened targets.
    """

    epoch: int
    points: pd.DataFrame
    residuals: np.ndarray
    z: np.ndarray
    r2: float


def one_run(experiment: Results) -> Results:
    """Return the first run at the working decay, with a ReLU before W if there is such a run.

    Of those that did not diverge, if there are any.
    """
    experiment = at_working_decay(experiment)
    experiment = chosen(experiment, ending=endings_of([experiment])[0])
    left = experiment.completed(experiment.metrics)
    seeds = (left if len(left) else experiment.metrics)["seed"]
    return chosen(experiment, seed=seeds.min())


def before_and_after(run: Results, probe: str) -> list[Snapshot]:
    """Return a run at its first and last step; nothing where there are not two targets."""
    target_covariance = covariance(run)
    if len(target_covariance) != 2:
        return []
    residuals = run.points("residuals")
    fits = run.values("r2").set_index("step")["value"]
    snapshots = []
    for step, points in run.completed(run.points(probe)).groupby("step"):
        of_step = residuals[residuals["step"] == step]
        z = whitened(by_sample(of_step, "target"), target_covariance)
        r2 = fits.get(step, np.nan)
        snapshots.append(Snapshot(step, points, by_sample(of_step, "residual"), z, r2))
    return [snapshots[0], snapshots[-1]] if snapshots else []


def by_sample(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column of a run's residuals as an array, a row per sample, a column per output."""
    return rows.pivot(index="sample", columns="output", values=column).to_numpy()


def phase_palette() -> ListedColormap:
    """Return a cyclic palette of one lightness."""
    # All of scipy.stats comes with it: only where it is used.
    import seaborn

    return ListedColormap(seaborn.husl_palette(256, s=0.95, l=0.6))


def phase(z: np.ndarray) -> np.ndarray:
    """Return the angle of z as a share of the circle."""
    return np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi) % 1


def phase_wheel(axes: Axes, palette: ListedColormap) -> None:
    """Draw which colour stands for which angle of z."""
    edges = np.linspace(0, 2 * np.pi, 257)
    axes.pcolormesh(edges, [0.65, 1.0], np.arange(256)[None], cmap=palette)
    axes.set(ylim=(0, 1.15), yticks=[])
    axes.set_xticks(np.arange(4) * np.pi / 2, ["$z_1$", "$z_2$", "$-z_1$", "$-z_2$"], fontsize=7)
    axes.tick_params(pad=-5)
    axes.grid(False)
    axes.spines["polar"].set_visible(False)
    axes.annotate(
        "colour:\nangle of\n" + r"$z=\Sigma^{-1/2}(y-\bar y)$", (0.5, 0.5), ha="center",
        va="center", fontsize=6, xycoords="axes fraction",
    )  # fmt: skip
