"""The picture of any experiment: its metrics, a line for each point of its grid, theory dashed."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator

from collapse.plotting import (
    ONE_COLUMN,
    THEORY,
    TWO_COLUMNS,
    by_rows,
    category_colours,
    decades,
    ordered_colours,
    seed_band,
    seed_points,
)
from collapse.studies import Results
from collapse.studies.picture_panels import Panel, Picture, called, is_number, spelt
from collapse.studies.sentences import UNFINISHED, listed, span

_SYMBOLS = ("o", "s", "^", "D", "v", "P")
# Values of a key that a legend lists: of more it lists some.
_LISTED = 8
_CATEGORIES = 10
# Points of a line that are all shown, and letters of a value in a legend.
_FEW, _LONGEST = 6, 24
# Runs that a caption names.
_NAMED = 5
_HEIGHT = 1.3
# What marks on an axis are multiples of.
_STEPS = (1, 2, 2.5, 5, 10)
_NARROWEST = 1e-3
# Widths in the legend, in inches: of a letter, and of a symbol with its gaps.
_LETTER, _HANDLE = 0.052, 0.45
# Least room behind a panel's name, in inches.
_GAP = 0.03


def draw(picture: Picture, heading: str) -> Figure:
    """Return the figure; the heading says what the experiment is."""
    count = len(picture.panels)
    columns = max(1, count if count < 4 else 3 if count < 7 else 4)
    rows = max(1, -(-count // columns))
    width = ONE_COLUMN if columns < 2 else TWO_COLUMNS
    figure = plt.figure(figsize=(width, _HEIGHT * rows + 0.5))
    look, shared = _Look(picture), None
    for place, panel in enumerate(picture.panels):
        axes = figure.add_subplot(rows, columns, place + 1, sharex=shared if panel.over else None)
        look.draw(axes, panel)
        shared = axes if panel.over and shared is None else shared
        below = picture.panels[place + columns : place + columns + 1]
        if not below or below[0].against != panel.against:
            axes.set_xlabel(panel.against, fontsize=7)
    lines = [heading, *(f"only {text}" for text in picture.held)]
    _head(figure, "\n".join(fill(line, int(width / _LETTER)) for line in lines), look.handles)
    _fit(figure, look.titles)
    return figure


def _fit(figure: Figure, titles: Sequence[Text]) -> None:
    """Make names smaller that would run into the next panel's, or off the figure."""
    # How wide numbers make the room between panels is known once these have their places.
    figure.draw_without_rendering()
    edges = [*(axes.get_window_extent().x0 for axes in figure.axes), figure.bbox.x1]
    for title in titles:
        box = title.get_window_extent()
        room = min(edge for edge in edges if edge > box.x0 + 1) - box.x0 - _GAP * figure.dpi
        title.set_fontsize(title.get_fontsize() * min(1, room / box.width))


def _head(figure: Figure, text: str, handles: Sequence[Sequence[Line2D]]) -> None:
    """Put above the panels what the experiment is, and the legend, if there is any."""
    every = [handle for group in handles for handle in group]
    if not every:
        figure.suptitle(text, x=0.01, ha="left", fontsize=7)
        return
    longest = max(len(handle.get_label()) for handle in every)
    columns = max(1, int(figure.get_figwidth() / (_HANDLE + _LETTER * longest)))
    if len(every) <= columns:
        handles = [every]
    figure.legend(
        **by_rows(handles, columns), title=text, title_fontsize=7, alignment="left",
        loc="outside upper left", borderaxespad=0.2, columnspacing=1.2, handlelength=1.8,
        handletextpad=0.5,
    )  # fmt: skip


class _Look:
    """How the lines of a picture look, the same in all its panels.

    Attributes
    ----------
    handles
        What the legend lists: colours, symbols, and what else there is.
    titles
        Names of the panels that are drawn.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture, rows = picture, picture.rows
        self.titles: list[Text] = []
        self._colours = _colours(rows[picture.by[0]]) if picture.by else {}
        further = list(picture.by[1:])
        points = rows[further].drop_duplicates().itertuples(index=False, name=None)
        # Of lines that differ in colour alone there are none.
        self._symbols = dict(zip(points, _SYMBOLS, strict=False)) if further else {}
        self.handles = [self._colour_handles(), self._symbol_handles(), self._other_handles()]

    def _other_handles(self) -> list[Line2D]:
        picture, handles, gradual = self._picture, [], set()
        for member, points in self._own().items():
            word, (names, *others) = called(member, picture.clock), points
            # A colour is a name's only where all panels have the same.
            if others or len(names) > _LISTED or is_number(pd.Series(names)):
                gradual.add(word)
                continue
            colours = ordered_colours(names).items()
            handles += [Line2D([], [], color=c, label=f"{word} {name}") for name, c in colours]
        if gradual:
            word, ends = " or ".join(sorted(gradual)), ordered_colours(("first", "last")).items()
            handles += [Line2D([], [], color=c, label=f"{end} {word}") for end, c in ends]
        if picture.rows["predicted"].notna().any():
            handles.append(Line2D([], [], label="closed form", **THEORY))
        return handles

    def _own(self) -> dict[str, set[tuple]]:
        """Return, of lines that are a panel's own, which entries or layers panels have of them."""
        found = {}
        for panel in self._picture.panels:
            if panel.lines != self._picture.by:
                points = tuple(panel.rows[panel.lines[0]].unique())
                found.setdefault(panel.lines[0], set()).add(points)
        return found

    def _colour_handles(self) -> list[Line2D]:
        values = list(self._colours)
        places = np.linspace(0, len(values) - 1, min(len(values), _LISTED)).round().astype(int)
        return [
            Line2D([], [], color=self._colours[value], label=_named(self._picture.by, [value]))
            for value in (values[place] for place in places)
        ]

    def _symbol_handles(self) -> list[Line2D]:
        keys = self._picture.by[1:]
        return [
            Line2D([], [], color="0.4", marker=symbol, linestyle="", label=_named(keys, point))
            for point, symbol in self._symbols.items()
        ]

    def draw(self, axes: Axes, panel: Panel) -> None:
        """Draw a panel."""
        self.titles.append(axes.set_title(panel.title, loc="left", fontsize=7, pad=3))
        places = panel.rows["place"]
        # What is no number stands in the order of the table.
        names = [] if is_number(places) else list(dict.fromkeys(places))
        rows = panel.rows.assign(place=places.map(names.index) if names else places)
        styles = self._styles(panel)
        lines = _lines(rows, panel.lines)
        for place, (point, line) in enumerate(lines):
            self._draw_line(axes, line, styles[point], bool(names), place)
        predicted = [(line.dropna(subset=["predicted"]), styles[point]) for point, line in lines]
        self._draw_predictions(axes, [pair for pair in predicted if len(pair[0])], panel)
        self._set_abscissa(axes, panel, names)
        if panel.logarithmic:
            decades(axes, 4)
        else:
            _linear(axes)

    def _styles(self, panel: Panel) -> dict[tuple, dict[str, Any]]:
        """Return how each line of a panel looks, by the values of its columns."""
        points = [point for point, _ in _lines(panel.rows, panel.lines)]
        # Lines often lie on each other: the later, thinner ones leave the earlier ones visible.
        widths = np.linspace(1.6, 0.8, len(points))
        if panel.lines == self._picture.by and panel.lines:
            looks = [
                {"color": self._colours[value], "marker": self._symbols.get(tuple(rest), "")}
                for value, *rest in points
            ]
        else:
            colours = ordered_colours(points) if len(points) > 1 else category_colours(points)
            looks = [{"color": colours[point], "marker": ""} for point in points]
        return {
            point: {**look, "linewidth": width}
            for point, look, width in zip(points, looks, widths, strict=True)
        }

    def _draw_line(
        self, axes: Axes, line: pd.DataFrame, style: Mapping[str, Any], named: bool, place: int
    ) -> None:
        """Draw one line with the range over seeds: a band, or bars where places are names."""
        if named or len(line) == 1 or self._picture.against == "seed":
            style = style | {"linestyle": "", "marker": style["marker"] or "o"}
            seed_points(axes, line, "place", fmt="", **style)
            return
        few = len(line) <= _FEW
        # A few symbols tell lines apart, each line's at other places; few points are all shown.
        every = 1 if few else len(line) // 4
        symbols = {
            "marker": style["marker"] or ("o" if few else ""),
            "markevery": (place % every, every),
        }
        seed_band(axes, line, "place", **style | symbols)

    def _draw_predictions(
        self, axes: Axes, lines: Sequence[tuple[pd.DataFrame, Mapping[str, Any]]], panel: Panel
    ) -> None:
        """Draw the closed forms of lines: one number of a run, or one for each place."""
        if not panel.over or any(line["predicted"].nunique() > 1 for line, _ in lines):
            for line, _ in lines:
                line = line.sort_values("place")
                axes.plot(line["place"], line["predicted"], zorder=3, **THEORY)
            return
        values = [line["predicted"].iloc[0] for line, _ in lines]
        # Many have the same: dashes upon dashes would be a beam.
        for value in dict.fromkeys(float(f"{value:.4g}") for value in values):
            axes.axhline(value, zorder=3, **THEORY | {"linewidth": 0.8})
        # All are black: of several a mark says whose each is.
        place = {"transform": axes.get_yaxis_transform(), "clip_on": False}
        for value, (_, style) in zip(values, lines if len(lines) > 1 else (), strict=False):
            axes.plot(1, value, "<", color=style["color"], markersize=3, **place)

    def _set_abscissa(self, axes: Axes, panel: Panel, names: Sequence[Any]) -> None:
        if names:
            axes.set_xticks(range(len(names)), [spelt(name) for name in names])
            axes.set_xlim(-0.5, len(names) - 0.5)
            long = sum(len(spelt(name)) for name in names) > 16
            axes.tick_params(axis="x", rotation=90 if long else 0)
        elif panel.over and self._picture.logarithmic:
            axes.set_xscale("log")
        else:
            whole = pd.api.types.is_integer_dtype(panel.rows["place"])
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=whole, steps=_STEPS))


def _linear(axes: Axes) -> None:
    """Set the marks of a linear ordinate, which is no narrower than its numbers can be told."""
    low, high = axes.get_ylim()
    middle, half = (low + high) / 2, (high - low) / 2
    # What hardly moves should look like it.
    half = max(half, _NARROWEST * abs(middle))
    axes.set_ylim(middle - half, middle + half)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=_STEPS, min_n_ticks=3))
    # Without a common factor, which would stand where the title is.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def _lines(rows: pd.DataFrame, columns: Sequence[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """Return the lines of a panel by the values of the columns that tell them apart."""
    return list(rows.groupby(list(columns), sort=False)) if columns else [((), rows)]


def _colours(values: pd.Series) -> dict[Any, tuple]:
    """Return a colour for each value of a key: ordered for numbers, else as categories."""
    found = list(dict.fromkeys(values))
    if is_number(values):
        return ordered_colours(sorted(found))
    return category_colours(found) if len(found) <= _CATEGORIES else ordered_colours(found)


def _named(keys: Sequence[str], values: Sequence[Any]) -> str:
    """Name a point in a legend: lists of one value, or long ones, in short."""
    return _label(keys, [_shortened(spelt(value)) for value in values])


def _shortened(text: str) -> str:
    parts = text.split("-")
    if len(parts) > 2 and len(set(parts)) == 1:
        return f"{len(parts)}x{parts[0]}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _label(keys: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{key} = {spelt(each)}" for key, each in zip(keys, values, strict=False))


def describe(study: str, name: str, config: Mapping[str, Any]) -> str:
    """Return what an experiment is in a line: its name, and how figures name its parts."""
    said = [text for text in config["labels"].values() if isinstance(text, str)]
    return f"{study}, {name}" + (f": {', '.join(said)}" if said else "")


def caption(picture: Picture, experiment: Results, heading: str, table: str) -> str:
    """Return in sentences what is drawn, what came out and what is not drawn.

    `table` is where all numbers are.
    """
    parts = [f"{heading}. {_shown(picture)}", _findings(picture), _diverged(experiment)]
    return "\n\n".join(part for part in [*parts, _not_shown(picture, table)] if part)


def _shown(picture: Picture) -> str:
    """Say what the lines are."""
    sentences = [f"Metrics against ``{picture.against}``, {_over(picture)}."]
    if picture.by:
        colour, *symbols = (f"``{key}``" for key in picture.by)
        signs = [f"{colour} by colour", *([f"{listed(symbols)} by symbol"] if symbols else [])]
        sentences.append(f"Each point of the grid has a line: {', '.join(signs)}.")
    if ended := sorted({f"``{panel.against}``" for panel in picture.panels if not panel.over}):
        sentences.append(f"Against {listed(ended)} are the values at the last step.")
    if picture.held:
        sentences.append(f"Drawn is only {listed(picture.held)}.")
    if picture.rows["predicted"].notna().any():
        sentences.append("Dashed: the closed form of each point.")
    return " ".join(sentences)


def _over(picture: Picture) -> str:
    """Say over how many seeds medians are."""
    counts = picture.rows["seeds"]
    if picture.against == "seed" or counts.empty:
        return "run by run"
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return "of one seed"
    seeds = f"{low} to {high}" if low < high else f"{high}"
    return f"medians over {seeds} seeds with their range"


def _findings(picture: Picture) -> str:
    """Say what the metrics that are curves come to at the last step."""
    found = []
    for panel in picture.panels:
        # Those of entries and layers are many.
        if not panel.over or panel.lines != picture.by:
            continue
        rows = panel.rows
        if picture.steps:
            rows = pd.concat([line.tail(1) for _, line in _lines(rows, panel.lines)])
        text = f"``{panel.title}`` {span(rows['median'])}"
        if rows["predicted"].notna().any():
            text += f" (closed form {span(rows['predicted'].dropna())})"
        found.append(text)
    if not found:
        return "" if picture.panels else UNFINISHED
    return f"At the last step: {'; '.join(found)}."


def _diverged(experiment: Results) -> str:
    """Say which runs diverged and are not drawn."""
    keys, lost = experiment.keys, experiment.values("diverged")
    if lost.empty:
        return ""
    count = len(experiment.metrics[keys].drop_duplicates())
    runs = [_label(keys, run) for run in lost[keys].itertuples(index=False, name=None)]
    named = "; ".join([*runs[:_NAMED], *(["..."] if len(runs) > _NAMED else [])])
    return f"{len(lost)} of {count} runs diverged and are not drawn: {named}."


def _not_shown(picture: Picture, table: str) -> str:
    """Say which metrics of the table have no panel, and where they are."""
    reasons = {
        "no room": picture.crowded_out,
        "recorded once, or a matrix, or entries or layers at every point": picture.no_curve,
    }
    told = [
        f"{', '.join(f'``{name}``' for name in names)} ({reason})"
        for reason, names in reasons.items()
        if names
    ]
    if not told:
        return ""
    return (
        f"Not drawn: {'; '.join(told)}. Their numbers are in the table ``{table}``, and "
        "``collapse describe NAME`` says what each is."
    )
