"""Figure: what networks make of images as their latents collapse."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.networks import setting
from collapse.studies.sentences import UNFINISHED, number
from collapse.studies.sentences import listed as spoken

_SHOWN = 4
"""Images of each kind."""
_FULL = "posterior"
"""What is made with all that a network sees of an image."""
_BLOCKS = {
    "cvae_beta": ("beta", r"$\beta$", {"posterior": "posterior mean", "prior": "prior mean"}),
    "mhvae": ("beta_2", r"$\beta_2$", {"posterior": "through $z_1$", "second": "through $z_2$"}),
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    points = {name: _points(experiments[name], key) for name, (key, *_) in _BLOCKS.items()}
    rows = 1 + max(table[key].nunique() for table, (key, *_) in
                   zip(points.values(), _BLOCKS.values(), strict=True))  # fmt: skip
    figure = plt.figure(figsize=(TWO_COLUMNS, 0.42 * rows + 0.55))
    halves = figure.subfigures(1, 2, wspace=0.04)
    drawn = []
    for half, (name, (key, symbol, sources)) in zip(halves, _BLOCKS.items(), strict=True):
        table = points[name]
        axes = half.subplots(
            rows,
            1 + 2 * _SHOWN,
            squeeze=False,
            # The first column is for what the rows are.
            gridspec_kw={"width_ratios": [1.1, *[1] * (2 * _SHOWN)]},
        )
        for panel in axes.flat:
            panel.set_axis_off()
        half.suptitle(setting(experiments[name].config), fontsize=6.5, x=0.02, ha="left")
        drawn.append(table.assign(experiment=name))
        if table.empty:
            continue
        given = name == "cvae_beta"
        shape = experiments[name].config["labels"]["image_shape"][1:]
        values = sorted(table[key].unique())
        original = table[(table["source"] == "image") & (table[key] == values[0])]
        _draw_row(axes[0, 1 : 1 + _SHOWN], original, shape, given)
        _label(axes[0, 0], "image")
        for line, value in zip(axes[1:], values, strict=False):
            for start, source in zip((1, 1 + _SHOWN), sources, strict=True):
                here = table[(table["source"] == source) & (table[key] == value)]
                _draw_row(line[start : start + _SHOWN], here, shape, given)
            _label(line[0], f"{symbol}$={value:g}$")
        for start, text in zip((1, 1 + _SHOWN), sources.values(), strict=True):
            above = axes[1, start].annotate(
                text, (0, 1.06), xycoords="axes fraction", fontsize=7, annotation_clip=False
            )
            # It is wider than its column, which it must not widen.
            above.set_in_layout(False)
    return figure, pd.concat(drawn, ignore_index=True)


def _points(experiment: Results, key: str) -> pd.DataFrame:
    """Return the pictures of the first seed, of other keys than this at their least value."""
    rows = experiment.points("pictures")
    columns = [key, "source", "image", "pixel", "value"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    for name in [*experiment.keys, "step"]:
        if name != key:
            # Networks end at one epoch; of those recorded the last is shown.
            chosen = rows[name].max() if name == "step" else rows[name].min()
            rows = rows[rows[name] == chosen]
    return rows[rows["image"] < _SHOWN][columns]


def _draw_row(axes: Sequence[Axes], rows: pd.DataFrame, shape: Any, given: bool) -> None:
    """Draw images side by side; frame the quarter that is given."""
    height, width = shape
    for panel, (_, part) in zip(axes, rows.groupby("image"), strict=False):
        pixels = part.sort_values("pixel")["value"].to_numpy().reshape(height, width)
        panel.imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
        if given:
            corner = (-0.5, height // 2 - 0.5)
            frame = Rectangle(corner, width // 2, height - height // 2, fill=False,
                              edgecolor="tab:red", linewidth=0.5)  # fmt: skip
            panel.add_patch(frame)


def _label(axes: Axes, text: str) -> None:
    axes.text(1, 0.5, text, transform=axes.transAxes, ha="right", va="center", fontsize=7)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    sentences = []
    for name, (key, _, sources) in _BLOCKS.items():
        part = rows[rows["experiment"] == name]
        if part.empty:
            continue
        source = list(sources)[0 if name == "cvae_beta" else 1]
        spreads = _differences(part, key, source)
        texts = [f"{number(value)} at {key} = {at:g}" for at, value in spreads.items()]
        what = "with the posterior mean" if name == "cvae_beta" else "through z2"
        sentences.append(
            "The root mean squared difference of the shown images and of their reconstructions "
            f"{what} is {spoken(texts)}."
        )
    return " ".join(sentences)


def _differences(rows: pd.DataFrame, key: str, source: str) -> pd.Series:
    """Return the root mean squared difference of all shown pixels from the images, by a key."""
    index = [key, "image", "pixel"]
    made, original = (
        rows[rows["source"] == name].set_index(index)["value"] for name in (source, "image")
    )
    difference = made - original.reindex(made.index)
    # Given pixels are the image's own.
    difference = difference[difference != 0] if source == _FULL else difference
    return difference.pow(2).groupby(level=key).mean().pow(0.5).replace(np.nan, 0.0)
