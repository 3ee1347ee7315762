"""Figure: residuals of two targets before and after training, coloured by the whitened target."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, number
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.regression.analysis import (
    at_working_decay,
    chosen,
    covariance,
    products,
    runs,
    whitened,
)
from collapse.studies.regression.panels import (
    dataset,
    diverged,
    endings_of,
    heading,
    line,
    say,
)
from collapse.studies.regression.phase import by_sample, phase, phase_palette, phase_wheel

_LENGTHS = (1, 2)
"""Lengths of the whitened target whose circles are drawn."""
_CIRCLE = THEORY | {"linewidth": 0.8}


@dataclass(frozen=True)
class _State:
    """A run at a step: residuals and whitened targets of single samples, and what is annotated."""

    epoch: int
    residuals: np.ndarray
    z: np.ndarray
    correlation: float
    ratio: float
    r2: float


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_name = {name: _one_run(experiments[name]) for name in ("reacher", "reacher_features")}
    figure = plt.figure(figsize=(TWO_COLUMNS, 4.9))
    axes = np.array(
        [
            [figure.add_subplot(2, 3, 1), figure.add_subplot(2, 3, 2)],
            [figure.add_subplot(2, 3, 4), figure.add_subplot(2, 3, 5)],
        ]
    )
    palette = phase_palette()
    figure_rows = []
    for row, (name, experiment) in zip(axes, by_name.items(), strict=True):
        rows = _draw_row(row, experiment, palette)
        figure_rows += [table.assign(data=name) for table in rows]
        diverged(row[1], experiment)
    level = _level(by_name["reacher_features"])
    phase_wheel(figure.add_subplot(2, 3, 3, projection="polar"), palette)
    states = _states(by_name["reacher_features"])
    if states and level:
        figure_rows.append(_compare(figure.add_subplot(2, 3, 6), states[-1], level, palette))
    handles = [line(r"theory: $e=-\sqrt{c}\,z$, of length $\sqrt{c}$ and $2\sqrt{c}$", **_CIRCLE)]
    heading(figure, by_name.values(), handles, data=dataset(by_name["reacher"]))
    # Without any state there would be nothing to join.
    return figure, pd.concat([pd.DataFrame(), *figure_rows], ignore_index=True)


def _draw_row(row: np.ndarray, experiment: Results, palette: ListedColormap) -> list:
    """Draw one run at its first and last step; return what is drawn."""
    states = _states(experiment)
    if not states:
        for panel in row:
            say(panel, "fewer than two targets, or all diverged")
    level = _level(experiment)
    decay = number(experiment.metrics["weight_decay"].iloc[0])
    where = (
        r"$W$, $h$: $\lambda_W=\lambda_H" if level else r"all parameters: $\lambda_{\mathrm{WD}}"
    )
    for panel, state in zip(row, states, strict=False):
        _scatter(panel, state, palette)
        panel.set_title(
            f"{where}={decay}$\nepoch {state.epoch}, $R^2={state.r2:.2f}$\n"
            f"correlation ${state.correlation:.2f}$, eigenvalue ratio {state.ratio:.2f}",
            loc="left", fontsize=7,
        )  # fmt: skip
    if states and level:
        _circles(row[1], level)
    return [_rows(state) for state in states]


def _level(experiment: Results) -> float:
    """Return c, the product of the decays of W and of the features."""
    return float(products(experiment, experiment.values("r2"))["c"].max())


def _one_run(experiment: Results) -> Results:
    """Return the first seed at the largest decay, with a ReLU before W if there is such a run."""
    experiment = at_working_decay(experiment)
    ending = endings_of([experiment])[0]
    return chosen(experiment, ending=ending, seed=experiment.metrics["seed"].min())


def _states(experiment: Results) -> list[_State]:
    """Return the run at its first and last step; nothing where there is but one target."""
    target_covariance = covariance(experiment)
    if len(target_covariance) < 2:
        return []
    moments = {
        run["step"]: matrix(rows, "residual_covariance")
        for run, rows in runs(experiment, "residual_covariance", every_step=True)
    }
    fits = experiment.values("r2").set_index("step")["value"]
    states = []
    for step, rows in experiment.completed(experiment.points("residuals")).groupby("step"):
        moment = moments[step]
        spectrum = np.linalg.eigvalsh(moment)
        states.append(
            _State(
                epoch=step,
                residuals=by_sample(rows, "residual"),
                z=whitened(by_sample(rows, "target"), target_covariance),
                correlation=moment[0, 1] / np.sqrt(moment[0, 0] * moment[1, 1]),
                ratio=spectrum[-1] / spectrum[0],
                r2=fits.get(step, np.nan),
            )
        )
    return [states[0], states[-1]] if states else []


def _scatter(axes: Axes, state: _State, palette: ListedColormap) -> None:
    """Draw the second residual against the first."""
    first, second = state.residuals[:, 0], state.residuals[:, 1]
    axes.scatter(first, second, c=palette(phase(state.z)), s=7, linewidth=0)
    # Square and around zero, so that angles and circles look like what they are.
    reach = 1.35 * np.abs(state.residuals[:, :2]).max()
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.locator_params(nbins=4)
    axes.set_xlabel(r"residual $e_1$")
    axes.set_ylabel(r"residual $e_2$")


def _circles(axes: Axes, level: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 200)
    for length in _LENGTHS:
        radius = length * np.sqrt(level)
        axes.plot(radius * np.cos(angles), radius * np.sin(angles), **_CIRCLE)


def _compare(axes: Axes, state: _State, level: float, palette: ListedColormap) -> pd.DataFrame:
    """Draw each residual against its closed form -sqrt(c) z; return the closed form."""
    predicted = -np.sqrt(level) * state.z
    for output in range(2):
        axes.scatter(
            predicted[:, output], state.residuals[:, output], c=palette(phase(state.z)), s=7,
            linewidth=0,
        )  # fmt: skip
    reach = 1.1 * max(np.abs(predicted).max(), np.abs(state.residuals).max())
    axes.plot([-reach, reach], [-reach, reach], **_CIRCLE)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.locator_params(nbins=4)
    axes.set_xlabel(r"closed form $-\sqrt{c}\,z_j$")
    axes.set_ylabel("residual $e_j$")
    # In units of sqrt(c), the length that theory gives the residual of a whitened target of 1.
    error = np.sqrt(np.mean((state.residuals - predicted) ** 2) / level)
    axes.set_title(
        rf"epoch {state.epoch}, both targets" + "\n" + rf"rms difference ${error:.2g}\,\sqrt{{c}}$",
        loc="left", fontsize=7,
    )  # fmt: skip
    return _rows(_State(state.epoch, predicted, state.z, np.nan, np.nan, np.nan)).assign(
        data="reacher_features", series="theory"
    )


def _rows(state: _State) -> pd.DataFrame:
    names = {"residual": state.residuals, "z": state.z}
    columns = {
        f"{name}_{output + 1}": values[:, output]
        for name, values in names.items()
        for output in range(2)
    }
    return pd.DataFrame({"step": state.epoch, **columns, "series": "measured"})
