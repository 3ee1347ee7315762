"""The look of every figure: sizes, colours, bands over seeds, theory and floors."""

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib

# Before pyplot, which would look for a display.
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from matplotlib.artist import Artist  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

from collapse.artifacts import (  # noqa: E402
    Provenance,
    canonical_json,
    replacing,
    write_sidecar,
)
from collapse.grid import format_value  # noqa: E402

ONE_COLUMN = 3.3
"""Width of one column, in inches."""
TWO_COLUMNS = 6.8
"""Width of two columns, in inches."""
FLOAT64_FLOOR = 2.0**-52
"""Relative rounding of float64; quadratic metrics such as NC1 have its square."""
FLOAT32_FLOOR = 2.0**-23
"""Relative rounding of float32."""
THEORY = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.0}
"""How every closed form is drawn."""

# Seaborn's palette "colorblind": seaborn itself imports all of scipy.stats, half a second per job.
_COLOUR_BLIND = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)

_STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    # 42 is TrueType.
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in the project's style, whatever the user's own matplotlib settings."""
    with plt.style.context("default"), plt.rc_context(_STYLE):
        yield
        plt.close("all")


def save(figure: Figure, path: Path, suffix: str, provenance: Provenance) -> None:
    """Write a figure with its provenance in the file, and without a date."""
    text = canonical_json(provenance)
    # None leaves out what matplotlib adds of itself: the same figure must be the same bytes.
    metadata = {
        ".pdf": {"Keywords": text, "CreationDate": None},
        ".png": {"Provenance": text, "Software": None},
    }[suffix]
    # In memory first: on a full disk its writers end in errors about themselves.
    drawn = io.BytesIO()
    figure.savefig(drawn, format=suffix[1:], metadata=metadata)
    path.write_bytes(drawn.getvalue())
    # The layout is settled: the next format need not work it out again. With an engine "none" it
    # would still be drawn twice, once for the layout.
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)


def save_all(figure: Figure, paths: Iterable[str], provenance: Provenance) -> None:
    """Write a figure to each path, in the format that its suffix names, with a sidecar."""
    for path in paths:
        with replacing(path) as temporary:
            save(figure, temporary, Path(path).suffix, provenance)
        write_sidecar(path)


PAPER_DEPTHS = (1, 3, 6, 9)
"""Of heads, in Dang et al. 2023."""
# Paler colours of the palette would be lost on white.
_PALEST = 0.12


def ordered_colours(values: Sequence[Any]) -> dict[Any, tuple]:
    """Return one colour per value of an ordered quantity (depth, decay), light to dark."""
    shades = np.linspace(_PALEST, 1.0, len(values))
    return dict(zip(values, matplotlib.colormaps["viridis_r"](shades), strict=True))


def head_colours(depths: Sequence[int]) -> dict[int, tuple]:
    """Return a colour for each depth of a head, M, light to dark, the same in all figures.

    They are evenly spaced at the papers' depths; that of another is between or, of a deeper one,
    beyond these.
    """
    known = sorted({*PAPER_DEPTHS, *[depth for depth in depths if depth > PAPER_DEPTHS[-1]]})
    places = np.interp(depths, known, np.linspace(_PALEST, 1.0, len(known)))
    return dict(zip(depths, map(tuple, matplotlib.colormaps["viridis_r"](places)), strict=True))


def category_colours(values: Sequence[Any]) -> dict[Any, tuple]:
    """Return one colour-blind-safe colour per category."""
    colours = map(matplotlib.colors.to_rgb, itertools.cycle(_COLOUR_BLIND))
    return dict(zip(values, colours, strict=False))


def number(value: float) -> str:
    """Spell a number in mathematics, ``5 10^{-4}``."""
    if value == 0 or 1e-2 <= abs(value) < 1e3:
        return format_value(float(value))
    # The logarithm of a power of ten may fall short of a whole number by rounding.
    exponent = int(np.floor(np.log10(abs(value)) + 1e-9))
    factor = format_value(float(value / 10.0**exponent))
    power = f"10^{{{exponent}}}"
    return power if factor == "1" else rf"{factor}\cdot{power}"


def power(value: float) -> str:
    """Spell a number in mathematics, all powers of ten and all below 1 alike: ``10^{-2}``."""
    if value == 0:
        return "0"
    exponent = int(np.floor(np.log10(abs(value)) + 1e-9))
    factor = format_value(float(value / 10.0**exponent))
    if factor == "1":
        return f"10^{{{exponent}}}"
    return number(value) if exponent >= 0 else rf"{factor}\cdot10^{{{exponent}}}"


def over_seeds(frame: pd.DataFrame, by: Iterable[str], value: str = "value") -> pd.DataFrame:
    """Return median, lowest and highest value over seeds, and their number, by the given keys."""
    groups = frame.groupby(list(by), sort=False, observed=True)[value]
    return groups.agg(median="median", low="min", high="max", seeds="count").reset_index()


def seed_band(axes: Axes, frame: pd.DataFrame, x: str, **line: Any) -> None:
    """Draw the median over seeds as a line and the range over seeds as a band.

    `frame` is a result of `over_seeds` with one row per value of its column `x`; `line` goes to
    ``Axes.plot``.
    """
    frame = frame.sort_values(x)
    (curve,) = axes.plot(frame[x], frame["median"], **line)
    if (frame["seeds"] > 1).any():
        axes.fill_between(
            frame[x], frame["low"], frame["high"], color=curve.get_color(), alpha=0.2, linewidth=0
        )


def seed_points(axes: Axes, frame: pd.DataFrame, x: str, **style: Any) -> None:
    """Draw the median over seeds as points and the range over seeds as bars.

    `frame` is a result of `over_seeds`, drawn against its column `x`; `style` goes to
    ``Axes.errorbar``.
    """
    frame = frame.sort_values(x)
    style = {"fmt": "o", "elinewidth": 0.8} | style
    axes.errorbar(frame[x], frame["median"], yerr=range_bars(frame), **style)


def by_rows(groups: Iterable[Sequence[Artist]], columns: int | None = None) -> dict[str, Any]:
    """Return the handles and columns of a legend that reads row by row.

    Each group begins a row, and another one after every `columns` handles.
    """
    rows = []
    for group in groups:
        width = columns or max(len(group), 1)
        rows += [group[at : at + width] for at in range(0, len(group), width)]
    # Legends are filled column by column: what shows nothing makes rows of one length.
    blank = Line2D([], [], linestyle="", label="")
    handles = [handle for column in zip_longest(*rows, fillvalue=blank) for handle in column]
    return {"handles": handles, "ncols": max(map(len, rows), default=1)}


def range_bars(rows: pd.DataFrame) -> list[pd.Series]:
    """Return the lengths of error bars that reach from the median to the range over seeds."""
    return [rows["median"] - rows["low"], rows["high"] - rows["median"]]


def floor(axes: Axes, value: float, label: str | None = None) -> None:
    """Shade what lies below the floor of the number format."""
    low, high = axes.get_ylim()
    # Room below the floor, so that it shows as an area.
    low = min(low, value / 30)
    axes.axhspan(low, value, color="0.9", linewidth=0, zorder=0)
    axes.set_ylim(low, high)
    if label:
        axes.annotate(
            label, (0.03, value), xycoords=("axes fraction", "data"), fontsize=6, color="0.45",
            va="top", xytext=(0, -2), textcoords="offset points",
        )  # fmt: skip


def error_axis(axes: Axes, top: float) -> None:
    """Make the ordinate that of relative errors in float64, from below its floor up to `top`."""
    axes.set_yscale("log")
    axes.set_ylim(FLOAT64_FLOOR / 10, top)
    axes.set_yticks([1e-15, 1e-10, 1e-5, 1])
    axes.minorticks_off()
    floor(axes, FLOAT64_FLOOR)


_MARKS = ((1, 2, 5), (1, 2, 3, 4, 6, 8), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
"""Multiples of powers of ten that may be labelled within a decade, from few to many."""


def _label_within(axes: Axes, low: float, high: float) -> None:
    """Label the fewest of `_MARKS` of which three lie on a logarithmic ordinate."""
    for marks in _MARKS:
        locator = matplotlib.ticker.LogLocator(subs=marks)
        places = locator.tick_values(low, high)
        if ((low <= places) & (places <= high)).sum() >= 3:
            break
    else:
        # Less than half a power of ten's step: as on a linear axis.
        locator = matplotlib.ticker.MaxNLocator(4)
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))


def decades(axes: Axes, count: int = 5) -> None:
    """Make the ordinate logarithmic, over a decade at least, when all is drawn.

    At most `count` decades are labelled, and more marks within one.
    """
    axes.set_yscale("log")
    # Limits of a linear axis stay where nothing is drawn: every run may have diverged.
    if axes.get_ylim()[0] <= 0:
        axes.set_ylim(0.1, 1)
    low, high = axes.get_ylim()
    # What hardly moves should look like it.
    if high / low < 10:
        middle = np.sqrt(low * high)
        axes.set_ylim(middle / 10**0.5, middle * 10**0.5)
        low, high = axes.get_ylim()
    # Within a decade and a half powers of ten would leave one label, or two; further on still one.
    powers = np.floor(np.log10(high)) - np.ceil(np.log10(low)) + 1
    if high / low < 30 or powers < 2:
        _label_within(axes, low, high)
    else:
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(numticks=count))
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
