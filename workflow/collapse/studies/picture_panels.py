"""What the picture of any experiment shows: its axis, lines and panels, chosen from its tables.

Lines are medians over seeds. They run against the step where there are steps enough to say
something, else against a value of the grid, else over the seeds.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from collapse.grid import format_value
from collapse.plotting import over_seeds
from collapse.studies import Results

MOST_PANELS = 12
"""More would be too small for a page."""
MOST_SYMBOLS = 6
"""Lines of one colour that can still be told apart."""
FIRST = (
    *("loss", "error", "mse", "r2", "NC1", "NC2_ETF", "NC2_OF", "NC2_GOF", "NC3_product"),
    *("NC4", "NRC1", "NRC2", "NRC3", "gamma", "test_mse", "gradient_norm"),
    *("layer_singular_values[i]", "logit_singular_values[i]", "feature_norm[i]", "weight_norm[i]"),
    "explained_variance_ratio[i]",
)
"""Metrics in the order in which they get a panel; then come those that theory predicts, the others
in the order of the table, and last what never changes."""
NULL = "null"
"""How a key of the grid that is null is spelt."""

_NAME = re.compile(r"([^\[]+)(?:\[(.*)\])?")
# The features that the head gets; those of its own layers are H2, H3, ...
_FEATURES, _HEAD = "H1", re.compile(r"H\d+")
_NUMBERED = re.compile(r"\d")
# What entries and layers are called where a step is called so.
_OTHERWISE = {"entry": "index", "layer": "place"}
_SERIES = ["metric", "layer", "entry"]
_RANGE = ["median", "low", "high", "seeds"]
# Of what has no entries, such as a loss.
_NO_ENTRY = -1
# Fewer are a start and an end.
_FEWEST_STEPS = 3
# Below it powers of ten say no more than a linear axis does.
_RATIO = 30


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes
    ----------
    metric
        Its name; ``feature_norm[i]`` of what has entries.
    title
        The name, with the layer where that is not the features.
    against
        What its abscissa is, in words: that of the picture, or entries or layers.
    over
        Whether it shows how something went, not where it ended at the last step.
    lines
        The columns that tell its lines apart.
    rows
        What is drawn: keys, ``metric``, ``layer``, ``entry``, ``against``, ``place``, on that
        abscissa, ``median``, ``low``, ``high``, ``seeds`` and ``predicted``.
    """

    metric: str
    title: str
    against: str
    over: bool
    lines: tuple[str, ...]
    rows: pd.DataFrame

    @property
    def logarithmic(self) -> bool:
        """Whether its values are positive and span more than a decade and a half."""
        values = self.rows[["median", "low", "high", "predicted"]].to_numpy(dtype=float)
        low, high = np.nanmin(values), np.nanmax(values)
        return bool(low > 0 and high >= _RATIO * low)


@dataclass(frozen=True)
class Picture:
    """What is drawn of an experiment.

    Attributes
    ----------
    against
        What the abscissa is: the clock of the steps, a key of the grid, or ``seed``.
    steps
        Whether it is the steps'.
    clock
        What a step is.
    by
        Keys in whose values lines differ: the first by colour, the others by symbol.
    held
        Of each further key the one value that is drawn, in words.
    logarithmic
        Whether the abscissa is.
    panels
        Those that are drawn, the most important first.
    crowded_out
        Metrics for which there is no room, or of these the layers.
    no_curve
        Metrics of which there is no curve: recorded once, matrices, entries or
        layers of every point.
    """

    against: str
    steps: bool
    clock: str
    by: tuple[str, ...]
    held: tuple[str, ...]
    logarithmic: bool
    panels: tuple[Panel, ...]
    crowded_out: tuple[str, ...]
    no_curve: tuple[str, ...]

    @property
    def rows(self) -> pd.DataFrame:
        """All that is drawn, panel by panel."""
        names = [*self.by, *_SERIES, "against", "place", *_RANGE, "predicted"]
        frames = [panel.rows for panel in self.panels] or [pd.DataFrame(columns=names)]
        rows = pd.concat(frames, ignore_index=True)
        # A loss has no entries.
        return rows.assign(entry=rows["entry"].replace(_NO_ENTRY, np.nan))


def picture(experiment: Results, clock: str) -> Picture:
    """Choose what is drawn of an experiment.

    `clock` is what a step is, ``epoch`` say; where a metric has this name, the steps' places are
    its values.
    """
    table = _Table(experiment, clock)
    panels = [panel for name in table.ranked() for panel in table.panels(name)]
    shown, found = panels[:MOST_PANELS], {panel.metric for panel in panels}
    drawn = {name for panel in shown for name in (panel.metric, panel.title)}
    left = [panel.title if panel.metric in drawn else panel.metric for panel in panels]
    return Picture(
        table.abscissa,
        table.steps,
        clock,
        tuple(table.by),
        tuple(table.held),
        table.logarithmic,
        tuple(shown),
        tuple(name for name in dict.fromkeys(left) if name not in drawn),
        tuple(name for name in table.names if name not in found and name != clock),
    )


class _Table:
    """What an experiment measured, turned to what its picture draws.

    Attributes
    ----------
    by, held
        See `Picture`.
    names
        The metrics of the table in its order, ``name[i]`` for one with entries.
    """

    def __init__(self, experiment: Results, clock: str) -> None:
        *keys, _ = self._keys = experiment.keys
        rows = _spelt(experiment.completed(experiment.metrics), keys)
        rows = rows[rows["metric"] != "diverged"]
        self.names = list(dict.fromkeys(rows["metric"]))
        rows = rows[np.isfinite(rows["value"]) & rows["entry"].notna()].astype({"entry": int})
        varied = [key for key in keys if rows[key].nunique() > 1]
        self._clock, self._against = clock, _against(rows, self._keys, varied)
        self.by, self.held, self._rows = _told_apart(rows, varied, self._against)
        of_point = [key for key in varied if key in (*self.by, self._against)]
        self._rows = self._rows.assign(point=_numbered(self._rows, of_point))
        self._forecast = _spelt(experiment.predictions, keys)

    @property
    def steps(self) -> bool:
        """Whether curves run against the steps."""
        return self._against == "step"

    @property
    def abscissa(self) -> str:
        """What the abscissa is, in words."""
        return self._clock if self.steps else self._against

    def ranked(self) -> list[str]:
        """Return the metrics that have a series, the most important first."""
        values = self._rows.groupby("metric", sort=False)["value"].agg(["min", "max"])
        size = values.abs().max(axis=1)
        constant = values["max"] - values["min"] <= 1e-9 * size
        predicted = set(self._predicted["metric"])

        def rank(name: str) -> tuple[bool, int]:
            place = FIRST.index(name) if name in FIRST else len(FIRST) + (name not in predicted)
            # A constant beside its closed form says something.
            return constant[name] and name not in predicted, place

        return sorted((name for name in values.index if name != self._clock), key=rank)

    def panels(self, name: str) -> Iterator[Panel]:
        """Yield the panels of a metric."""
        layers = _in_order(self._rows.loc[self._rows["metric"] == name, "layer"].unique())
        if name.endswith("]"):
            for layer in layers:
                yield from self._members(name, [layer], "entry")
            return
        # Without numbers they are no sequence, but places that one step passes.
        places = not any(map(_NUMBERED.search, layers))
        listed = len(layers) > 2 and (self._lone or not places)
        profile = list(self._members(name, layers, "layer")) if listed else []
        # Of a lone line the layers are further lines.
        if not (profile and self._lone):
            main = [_FEATURES] if _FEATURES in layers else layers
            for layer in main if len(main) < 3 or places else ():
                yield from self._curves(name, [layer], tuple(self.by))
        # Layers of the head are told in a table; those before it are why they were measured.
        if self._lone or not all(_HEAD.fullmatch(layer) for layer in layers):
            yield from profile

    def _members(self, name: str, layers: Sequence[str], member: str) -> Iterator[Panel]:
        """Yield what is drawn of entries or layers: as lines, or as places at the last step."""
        if self._lone:
            yield from self._curves(name, layers, (member,))
        elif self.steps:
            rows = self._ended
            rows = rows[(rows["metric"] == name) & rows["layer"].isin(layers)]
            rows = rows.assign(place=rows[member])
            yield from self._drawn(rows, member, tuple(self.by), layers)

    def _curves(self, name: str, layers: Sequence[str], lines: tuple[str, ...]) -> Iterator[Panel]:
        rows = self._placed
        rows = rows[(rows["metric"] == name) & rows["layer"].isin(layers)]
        yield from self._drawn(rows, None, lines, layers)

    def _drawn(
        self, rows: pd.DataFrame, member: str | None, lines: tuple[str, ...], layers: Sequence[str]
    ) -> Iterator[Panel]:
        """Yield the panel of rows with a ``place``, if these are two or more.

        Places are on the abscissa of the picture, or those of a `member`.
        """
        against = called(member, self._clock) if member else self.abscissa
        if rows["place"].nunique() < 2 and against != "seed":
            return
        keys = self._keys[:-1]
        table = over_seeds(rows, [*keys, "point", *_SERIES, "place"])
        # In the order of the layers, which is that of the network.
        table = table.iloc[table["layer"].map(list(layers).index).argsort(kind="stable")]
        table = table.merge(self._predicted, on=["point", "metric", "entry"], how="left")
        name = rows["metric"].iloc[0]
        further = "" if len(layers) > 1 or layers[0] in (_FEATURES, "all") else f" ({layers[0]})"
        columns = [*keys, *_SERIES, "against", "place", *_RANGE, "predicted"]
        table = table.assign(against=against)[columns]
        yield Panel(name, f"{name}{further}", against, member is None, lines, table)

    @property
    def _lone(self) -> bool:
        """Whether a panel holds one line, of the whole experiment."""
        return not self.by

    @cached_property
    def _ended(self) -> pd.DataFrame:
        """The rows of every run's last step, metric by metric."""
        rows = self._rows.sort_values("step", kind="stable")
        return rows.drop_duplicates([*self._keys, *_SERIES], keep="last").sort_index()

    @cached_property
    def _placed(self) -> pd.DataFrame:
        """The rows that curves are made of, each with its ``place`` on the abscissa."""
        rows = self._everywhere
        # The start has no place there; a value of the grid would have.
        return rows[rows["place"] > 0] if self.logarithmic else rows

    @cached_property
    def logarithmic(self) -> bool:
        """Whether the places on the abscissa are spaced by factors rather than by differences."""
        places = self._everywhere["place"].drop_duplicates()
        if not is_number(places) or places.lt(0).any() or self._against == "seed":
            return False
        if not self.steps and places.eq(0).any():
            return False
        places = places[places > 0]
        if len(places) < 3:
            return len(places) == 2 and bool(places.max() >= 10 * places.min())
        return bool(4 * places.median() < places.min() + places.max())

    @cached_property
    def _everywhere(self) -> pd.DataFrame:
        """The rows that curves could be made of, those of the start among them."""
        if not self.steps:
            return self._ended.assign(place=self._ended[self._against])
        rows = _held_on(self._rows)
        clock = rows[rows["metric"] == self._clock]
        if clock.empty:
            return rows.assign(place=rows["step"])
        times = clock.groupby(["point", "step"])["value"].median().rename("place")
        return rows.join(times, on=["point", "step"], how="inner")

    @cached_property
    def _predicted(self) -> pd.DataFrame:
        """The closed forms of the points, medians over seeds."""
        points = self._rows[[*self._keys, "point"]].drop_duplicates()
        rows = self._forecast.merge(points, on=self._keys)
        rows = rows.dropna(subset=["entry", "value"]).astype({"entry": int})
        found = rows.groupby(["point", "metric", "entry"])["value"].median()
        return found.rename("predicted").reset_index()


def _spelt(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return rows whose metric is split into name and ``entry``; that of a matrix is missing.

    A key that is null, which is no group of pandas', is spelt as text.
    """
    parts = rows["metric"].str.extract(f"^{_NAME.pattern}$")
    entry = pd.to_numeric(parts[1].fillna(str(_NO_ENTRY)), errors="coerce")
    places = parts[1].str.count(",").map({0: "[i]"}).fillna("[i,j]")
    name = parts[0].where(parts[1].isna(), parts[0] + places)
    nulls = {
        key: rows[key].astype(object).where(rows[key].notna(), NULL)
        for key in keys
        if rows[key].isna().any()
    }
    return rows.assign(metric=name, entry=entry, **nulls)


def _against(rows: pd.DataFrame, keys: Sequence[str], varied: Sequence[str]) -> str:
    """Return the column of the abscissa: ``step``, a key of the grid, or ``seed``."""
    steps = rows.groupby(list(keys))["step"].nunique().max()
    if steps >= (_FEWEST_STEPS if varied else 2):
        return "step"
    # A number is a better place than a name; the first of the longest.
    return max(varied, key=lambda key: (is_number(rows[key]), rows[key].nunique()), default="seed")


def is_number(values: pd.Series) -> bool:
    """Return whether values lie on an axis, as names and what is true or false do not."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _told_apart(
    rows: pd.DataFrame, varied: Sequence[str], against: str
) -> tuple[list[str], list[str], pd.DataFrame]:
    """Return the keys in which lines differ, what is said of the others, and the rows drawn.

    The key of most values is the first. While the others make too many symbols, the longest of
    them is held at its first value.
    """
    rest = [key for key in varied if key != against]
    by = sorted(rest, key=lambda key: rows[key].nunique(), reverse=True)
    held = []
    while len(by) > 1 and len(rows[by[1:]].drop_duplicates()) > MOST_SYMBOLS:
        key = by.pop(1)
        value, count = rows[key].iloc[0], rows[key].nunique()
        rows = rows[rows[key] == value]
        held.append(f"{key} = {spelt(value)} of {count} values")
    return by, held, rows


def called(member: str, clock: str) -> str:
    """Return what entries or layers are called beside the clock of the steps."""
    return _OTHERWISE[member] if member == clock else member


def spelt(value: object) -> str:
    """Spell a value of the grid as folders and tables do."""
    return format_value(value.item() if isinstance(value, np.generic) else value)


def _numbered(rows: pd.DataFrame, columns: Sequence[str]) -> pd.Series | int:
    """Return which group of equal values each row is of."""
    return rows.groupby(list(columns), sort=False).ngroup() if columns else 0


def _in_order(layers: Sequence[str]) -> list[str]:
    """Return layers from the first hidden one to the last of the head, by their numbers.

    Layers of other letters are in the order of the table.
    """
    parts = {layer: re.fullmatch(r"(.*?)(\d*)", layer).groups() for layer in layers}
    found = [letters for letters, _ in parts.values()]

    def place(layer: str) -> tuple[bool, int, int]:
        letters, digits = parts[layer]
        return bool(_HEAD.fullmatch(layer)), found.index(letters), int(digits or 0)

    return sorted(layers, key=place)


def _held_on(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in which a run that ended before the others keeps its last values.

    Solvers end each at a step of its own: medians over those that go on would jump. Steps at which
    a run that goes on is not recorded are left out.
    """
    series = ["point", *_SERIES]
    wide = rows.set_index([*series, "step", "seed"])["value"].unstack("seed").sort_index()
    by_series = wide.groupby(level=series)
    gap = wide.isna() & by_series.bfill().notna()
    filled = by_series.ffill()[~gap.any(axis=1)]
    long = filled.stack().rename("value").dropna().reset_index()
    keys = rows.drop(columns=[*_SERIES, "step", "seed", "value"]).drop_duplicates("point")
    return long.merge(keys, on="point")
