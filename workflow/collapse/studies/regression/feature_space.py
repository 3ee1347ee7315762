"""Figure: features and the rows of W in space, before and after training."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from collapse.plotting import TWO_COLUMNS, power
from collapse.studies import Results
from collapse.studies.regression.panels import dataset, diverged, heading, line, say
from collapse.studies.regression.snapshots import (
    NO_STATE,
    NONE,
    Snapshot,
    before_and_after,
    one_run,
    phase,
    phase_palette,
    phase_wheel,
)
from collapse.studies.sentences import number

_AXES = ["axis_1", "axis_2", "axis_3"]
_COLUMNS = ["step", "role", "sample", *_AXES, "phase"]
_ROW_COLOUR = "0.1"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    run = one_run(experiments["reacher_features"])
    figure = plt.figure(figsize=(TWO_COLUMNS, 3.0))
    grid = figure.add_gridspec(1, 3, width_ratios=(1, 1, 0.55))
    panels = [figure.add_subplot(grid[place], projection="3d") for place in (0, 1)]
    wheel = figure.add_subplot(grid[2], projection="polar")
    palette = phase_palette()
    snapshots = before_and_after(run, "feature_space")
    states = [_places(snapshot) for snapshot in snapshots]
    for panel in panels[len(states) :]:
        panel.set_axis_off()
        panel.text2D(
            0.5, 0.5, NO_STATE, ha="center", fontsize=6, color="0.4", transform=panel.transAxes
        )
    for panel, snapshot, state in zip(panels, snapshots, states, strict=False):
        _draw_state(panel, state, palette)
        panel.set_title(f"epoch {snapshot.epoch}, $R^2={snapshot.r2:.2f}$", fontsize=7, pad=-4)
    if states:
        phase_wheel(wheel, palette)
    else:
        say(wheel, "")
    diverged(wheel, run)
    decay = power(run.metrics["weight_decay"].iloc[0])
    handles = [
        line(f"a feature; $\\lambda_W=\\lambda_H={decay}$", marker="o", color="0.5", linestyle=""),
        line("a row of $W$", color=_ROW_COLOUR, marker=">"),
    ]
    heading(figure, [run], handles, data=dataset(run))
    return figure, pd.concat([pd.DataFrame(columns=_COLUMNS), *states])


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return NONE
    features = rows[rows["role"] == "feature"]
    squares = (features[_AXES] ** 2).groupby(features["step"]).sum()
    shares = [number(share) for share in squares["axis_3"] / squares.sum(axis=1)]
    return (
        f"Of the squared length of the features drawn a share of {shares[0]} is along the "
        f"direction outside the plane at epoch {squares.index[0]}, and of {shares[-1]} at epoch "
        f"{squares.index[-1]}, where collapse has 0."
    )


def _places(snapshot: Snapshot) -> pd.DataFrame:
    """Return places, features in units of their root mean square norm, W of its longest row."""
    rows = snapshot.points
    phases = pd.Series(phase(snapshot.z))
    of_features = rows["role"] == "feature"
    places = rows[_AXES].to_numpy()
    lengths = np.linalg.norm(places, axis=1)
    unit = np.sqrt(np.mean(lengths[of_features] ** 2)), lengths[~of_features].max()
    places = places / np.where(of_features, *unit)[:, None]
    return rows.assign(
        phase=rows["sample"].map(phases).where(of_features),
        **dict(zip(_AXES, places.T, strict=True)),
    )[_COLUMNS]


def _draw_state(axes: Axes3D, state: pd.DataFrame, palette: ListedColormap) -> None:
    """Draw features as points and the rows of W as arrows, with the plane of those."""
    features = state[state["role"] == "feature"]
    axes.scatter(
        *(features[axis] for axis in _AXES), c=palette(features["phase"]), s=5, linewidth=0,
        depthshade=False,
    )  # fmt: skip
    for _, row in state[state["role"] == "weight"].iterrows():
        ends = [[0, 2 * row[axis]] for axis in _AXES]
        axes.plot(*ends, color=_ROW_COLOUR, linewidth=1.2)
        axes.scatter(*(end[1:] for end in ends), color=_ROW_COLOUR, marker="^", s=14)
        axes.text(*(2.3 * row[axis] for axis in _AXES), f"$w_{row['sample'] + 1}$", fontsize=7)
    reach = 2.5
    plane = np.array([-reach, reach])
    axes.plot_surface(*np.meshgrid(plane, plane), np.zeros((2, 2)), color="0.7", alpha=0.18)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    axes.set(xticks=[], yticks=[], zticks=[])
    axes.text2D(
        1.03, 0.5, r"$\perp$ rows of $W$", transform=axes.transAxes, rotation=90, fontsize=6,
        va="center",
    )  # fmt: skip
    axes.view_init(elev=18, azim=-58)
    # The cube fills more of its panel than it does by itself.
    axes.set_box_aspect(None, zoom=1.12)
