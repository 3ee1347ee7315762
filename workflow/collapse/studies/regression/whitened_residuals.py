"""Figure: residuals of two targets before and after training, coloured by the whitened target."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, power
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.regression.analysis import products, runs
from collapse.studies.regression.panels import (
    WEIGHT_DECAY,
    dataset,
    diverged,
    heading,
    line,
    say,
    trained,
)
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

_LENGTHS = (1, 2)
"""Lengths of the whitened target whose circles are drawn."""
_CIRCLE = THEORY | {"linewidth": 0.8}
_DECAYED = {
    "reacher": ("decay of all parameters", WEIGHT_DECAY),
    "reacher_features": ("decay of $W$ and $h$ only", r"\lambda_W=\lambda_H"),
}
"""Of each row of panels the experiment, what is decayed in it, and the decay's symbol."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_name = {name: one_run(experiments[name]) for name in _DECAYED}
    figure = plt.figure(figsize=(TWO_COLUMNS, 5.6))
    palette = phase_palette()
    figure_rows = []
    for place, (name, run) in zip((1, 4), by_name.items(), strict=True):
        panels = [figure.add_subplot(2, 3, place), figure.add_subplot(2, 3, place + 1)]
        snapshots = before_and_after(run, "residuals")
        tables = _draw_row(panels, run, snapshots, palette)
        text = f"{_training(name, run)}\n{panels[0].get_title('left')}"
        panels[0].set_title(text, loc="left", fontsize=7)
        if name == "reacher":
            phase_wheel(figure.add_subplot(2, 3, 3, projection="polar"), palette)
        elif snapshots:
            tables.append(
                _compare(figure.add_subplot(2, 3, 6), snapshots[-1], _level(run), palette)
            )
        figure_rows += [table.assign(data=name) for table in tables]
        diverged(panels[1], run)
    handles = [line(r"theory: $e=-\sqrt{c}\,z$, circles of $\|z\|=1$ and $2$", **_CIRCLE)]
    heading(figure, [], handles, data=dataset(by_name["reacher"]))
    # Without any state there would be nothing to join.
    return figure, pd.concat([pd.DataFrame(), *figure_rows], ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return NONE
    sentences = [
        f"Under {words.replace('$', '')}, before and after training, the residuals' correlation is "
        f"{_change(states, 'correlation')} and the ratio of the eigenvalues of their second "
        f"moments {_change(states, 'eigenvalue_ratio')}; white residuals have 0 and 1."
        for name, (words, _) in _DECAYED.items()
        for states in [rows[(rows["data"] == name) & (rows["series"] == "measured")]]
        if len(states)
    ]
    theory = rows[rows["series"] == "theory"]
    if len(theory):
        sentences.append(_distance(rows, theory))
    return " ".join(sentences)


def _change(states: pd.DataFrame, column: str) -> str:
    first, last = (number(states[column].iloc[place]) for place in (0, -1))
    return f"{first} and {last}"


def _distance(rows: pd.DataFrame, theory: pd.DataFrame) -> str:
    """Say how far the residuals of the penalised features are from the closed form."""
    columns = ["residual_1", "residual_2"]
    states = rows[(rows["series"] == "measured") & rows["data"].isin(theory["data"])]
    # The snapshot after training is drawn last.
    measured = states[columns].to_numpy()[-len(theory) :]
    error, size = (
        np.sqrt(np.mean(values**2)) for values in (measured - theory[columns], theory[columns])
    )
    return (
        "After training the latter's residuals differ from the closed form by "
        f"{number(100 * error / size)} % of its root mean square."
    )


def _training(name: str, run: Results) -> str:
    """Say of a row of panels what was trained and what was decayed."""
    decayed, symbol = _DECAYED[name]
    decay = power(run.metrics["weight_decay"].iloc[0])
    parts = [f"{decayed}, ${symbol}={decay}$", trained([run.config]), run.note]
    return "; ".join(part for part in parts if part)


def _draw_row(
    panels: list[Axes], run: Results, snapshots: list[Snapshot], palette: ListedColormap
) -> list[pd.DataFrame]:
    """Draw one run before and after training; return what is drawn."""
    if not snapshots:
        for panel in panels:
            say(panel, NO_STATE)
        return []
    moments = {
        state["step"]: matrix(rows, "residual_covariance")
        for state, rows in runs(run, "residual_covariance", every_step=True)
    }
    tables = []
    for panel, snapshot in zip(panels, snapshots, strict=True):
        moment = moments[snapshot.epoch]
        spectrum = np.linalg.eigvalsh(moment)
        correlation = moment[0, 1] / np.sqrt(moment[0, 0] * moment[1, 1])
        ratio = spectrum[-1] / spectrum[0]
        _scatter(panel, snapshot, palette)
        panel.set_title(
            f"epoch {snapshot.epoch}, $R^2={snapshot.r2:.2f}$\n"
            f"correlation ${correlation:.2f}$, eigenvalue ratio {ratio:.2f}",
            loc="left", fontsize=7,
        )  # fmt: skip
        table = _rows(snapshot, snapshot.residuals).assign(series="measured")
        tables.append(table.assign(r2=snapshot.r2, correlation=correlation, eigenvalue_ratio=ratio))
    if level := _level(run):
        _circles(panels[1], level)
    return tables


def _level(run: Results) -> float:
    """Return c, the product of the decays of W and of the features."""
    return float(products(run, run.values("r2"))["c"].max())


def _scatter(axes: Axes, snapshot: Snapshot, palette: ListedColormap) -> None:
    """Draw the second residual against the first."""
    axes.scatter(*snapshot.residuals.T, c=palette(phase(snapshot.z)), s=7, linewidth=0)
    _square(axes, 1.2 * np.abs(snapshot.residuals).max())
    axes.set_xlabel(r"residual $e_1$")
    axes.set_ylabel(r"residual $e_2$")


def _square(axes: Axes, reach: float) -> None:
    """Make a panel square and around zero, so that angles and circles look like what they are."""
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.locator_params(nbins=4)


def _circles(axes: Axes, level: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 200)
    for length in _LENGTHS:
        radius = length * np.sqrt(level)
        axes.plot(radius * np.cos(angles), radius * np.sin(angles), **_CIRCLE)


def _compare(axes: Axes, snapshot: Snapshot, level: float, palette: ListedColormap) -> pd.DataFrame:
    """Draw each residual against its closed form -sqrt(c) z; return the closed form."""
    predicted = -np.sqrt(level) * snapshot.z
    for closed, residuals in zip(predicted.T, snapshot.residuals.T, strict=True):
        axes.scatter(closed, residuals, c=palette(phase(snapshot.z)), s=7, linewidth=0)
    reach = 1.1 * max(np.abs(predicted).max(), np.abs(snapshot.residuals).max())
    axes.plot([-reach, reach], [-reach, reach], **_CIRCLE)
    _square(axes, reach)
    axes.set_xlabel(r"closed form $-\sqrt{c}\,z_j$")
    axes.set_ylabel("residual $e_j$")
    # In units of sqrt(c), the length that theory gives the residual of a whitened target of 1.
    error = np.sqrt(np.mean((snapshot.residuals - predicted) ** 2) / level)
    axes.set_title(
        rf"epoch {snapshot.epoch}, both targets" + "\n"
        rf"rms difference ${power(float(f'{error:.2g}'))}\,\sqrt{{c}}$",
        loc="left", fontsize=7,
    )  # fmt: skip
    return _rows(snapshot, predicted).assign(series="theory")


def _rows(snapshot: Snapshot, residuals: np.ndarray) -> pd.DataFrame:
    columns = {
        f"{name}_{output + 1}": values[:, output]
        for name, values in (("residual", residuals), ("z", snapshot.z))
        for output in range(2)
    }
    return pd.DataFrame({"step": snapshot.epoch, **columns})
