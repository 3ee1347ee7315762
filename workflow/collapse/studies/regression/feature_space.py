"""Figure: features and the rows of W in space, before and after training."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from collapse.plotting import TWO_COLUMNS, number
from collapse.studies import Results
from collapse.studies.regression.analysis import at_working_decay, chosen, covariance, whitened
from collapse.studies.regression.panels import (
    dataset,
    diverged,
    endings_of,
    heading,
    line,
    say,
)
from collapse.studies.regression.phase import by_sample, phase, phase_palette, phase_wheel

_NAME = "reacher_features"
_AXES = ["axis_1", "axis_2", "axis_3"]
_ROW_COLOUR = "0.1"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = at_working_decay(experiments[_NAME])
    # Of the runs that did not diverge, if there are any.
    left = experiment.completed(experiment.points("feature_space"))["seed"]
    seeds = left if len(left) else experiment.metrics["seed"]
    experiment = chosen(experiment, seed=seeds.min(), ending=endings_of([experiment])[0])
    figure = plt.figure(figsize=(TWO_COLUMNS, 3.0))
    grid = figure.add_gridspec(1, 3, width_ratios=(1, 1, 0.55))
    panels = [figure.add_subplot(grid[place], projection="3d") for place in (0, 1)]
    wheel = figure.add_subplot(grid[2], projection="polar")
    palette = phase_palette()
    states = _states(experiment)
    for panel in panels[len(states) :]:
        panel.set_axis_off()
        panel.text2D(
            0.5, 0.5, "not two targets, or all diverged", ha="center", fontsize=6, color="0.4",
            transform=panel.transAxes,
        )  # fmt: skip
    for panel, state in zip(panels, states, strict=False):
        _draw_state(panel, state, palette)
        r2 = experiment.values("r2").set_index("step")["value"].get(state["step"].iloc[0], np.nan)
        panel.set_title(f"epoch {state['step'].iloc[0]}, $R^2={r2:.2f}$", fontsize=7, pad=-4)
    if states:
        phase_wheel(wheel, palette)
    else:
        say(wheel, "")
    diverged(wheel, experiment)
    decay = number(experiment.metrics["weight_decay"].iloc[0])
    handles = [
        line(f"a feature; $\\lambda_W=\\lambda_H={decay}$", marker="o", color="0.5", linestyle=""),
        line("a row of $W$", color=_ROW_COLOUR, marker=">"),
    ]
    heading(figure, [experiment], handles, data=dataset(experiment))
    return figure, pd.concat([pd.DataFrame(columns=["step", "role", *_AXES]), *states])


def _states(experiment: Results) -> list[pd.DataFrame]:
    """Return places, and the phase of their samples, at the first and the last step."""
    target_covariance = covariance(experiment)
    if len(target_covariance) != 2:
        return []
    places = experiment.completed(experiment.points("feature_space"))
    residuals = experiment.points("residuals")
    states = []
    for step, rows in places.groupby("step"):
        targets = by_sample(residuals[residuals["step"] == step], "target")
        phases = pd.Series(phase(whitened(targets, target_covariance)))
        rows = rows.assign(phase=rows["sample"].map(phases).where(rows["role"] == "feature"))
        states.append(_in_units(rows)[["step", "role", "sample", *_AXES, "phase"]])
    return [states[0], states[-1]] if states else []


def _in_units(rows: pd.DataFrame) -> pd.DataFrame:
    """Return features in units of their root mean square norm, and W of its longest row."""
    places = rows[_AXES].to_numpy()
    lengths = np.linalg.norm(places, axis=1)
    of_features = (rows["role"] == "feature").to_numpy()
    unit = np.sqrt(np.mean(lengths[of_features] ** 2)), lengths[~of_features].max()
    return rows.assign(
        **dict(zip(_AXES, (places / np.where(of_features, *unit)[:, None]).T, strict=True))
    )


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
        1.0, 0.55, r"$\perp$ rows of $W$", transform=axes.transAxes, rotation=90, fontsize=6
    )
    axes.view_init(elev=18, azim=-58)
    # The cube fills more of its panel than it does by itself.
    axes.set_box_aspect(None, zoom=1.12)
