"""Colours of samples by the angle of their whitened target, for two targets."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap


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
