"""The replications: per study its figures, its claims and what they read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.artifacts import read_table
from collapse.errors import InputError
from collapse.grid import format_value, tied

TABLES = ("metrics", "predictions", "samples")
"""The files that figures and claims read of an experiment."""


@dataclass(frozen=True)
class Plot:
    """A figure of a study, which the module of its name draws.

    It `reads` the tables of these experiments; the caption says what is drawn and what its symbols
    mean, in whole sentences. What was measured the module's ``findings`` says.
    """

    reads: tuple[str, ...]
    caption: str


@dataclass(frozen=True)
class Moving:
    """The moving picture of a study, whose module ``moving`` makes points of a run's states.

    Attributes
    ----------
    experiment
        That of the run.
    run
        Its keys as tables have them. Of runs that have as many of these the first is shown.
    curves
        What moves along.
    caption
        What is drawn and by which projection, in whole sentences.
    """

    experiment: str
    run: Mapping[str, Any]
    curves: "tuple[Curve, ...]"
    caption: str


@dataclass(frozen=True)
class Curve:
    """A metric that moves along, of a layer (``all``: of none), under a label.

    `predicted` names the closed form that it goes to, if there is one.
    """

    metric: str
    label: str
    layer: str = "H1"
    predicted: str | None = None


@dataclass(frozen=True)
class Results:
    """What figures and claims see of an experiment.

    Attributes
    ----------
    config
        Its resolved config, with ``grid`` and ``seeds``.
    metrics
        Its tidy table: keys, ``seed``, ``step``, ``layer``, ``metric``, ``value``.
    predictions
        The closed forms: the same keys, ``metric``, ``value``.
    samples
        What fits no scalar row, such as points: the same keys, ``step``, ``layer``, ``probe``,
        the kind of probe that made the row, and the columns of all probes.
    note
        What a figure has to say of values that it does not show; mostly empty.
    """

    config: dict[str, Any]
    metrics: pd.DataFrame
    predictions: pd.DataFrame
    samples: pd.DataFrame
    note: str = ""

    @property
    def keys(self) -> list[str]:
        """Columns that name a run, the seed last."""
        # Whatever the grid varies: columns are in the order in which the table was written.
        return [c for c in self.metrics if c not in ("step", "layer", "metric", "value")]

    def values(self, metric: str, layer: str | None = None) -> pd.DataFrame:
        """Return the rows of one metric (of one layer)."""
        rows = self.metrics[self.metrics["metric"] == metric]
        return rows if layer is None else rows[rows["layer"] == layer]

    def points(self, probe: str) -> pd.DataFrame:
        """Return the rows of one kind of probe, without the columns that only others fill."""
        rows = self.samples[self.samples["probe"] == probe]
        # Of no rows no column has a value: an empty table keeps them all.
        return rows.loc[:, rows.notna().any() | rows.empty]

    def predicted(self, metric: str) -> pd.DataFrame:
        """Return keys and ``value`` of one predicted number."""
        rows = self.predictions[self.predictions["metric"] == metric]
        return rows.drop(columns="metric")

    def completed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of runs that did not diverge."""
        diverged = self.values("diverged")
        # Mostly none did, and looking for the keys of every row takes time.
        if diverged.empty:
            return rows
        lost = diverged.set_index(self.keys).index
        return rows[~rows.set_index(self.keys).index.isin(lost)]

    def last(self, metric: str, layer: str | None = None) -> pd.DataFrame:
        """Return one metric at the last recorded step of every run that did not diverge."""
        return self.at_last(self.completed(self.values(metric, layer)))

    def at_last(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return those of the rows that are of the last recorded step of their run.

        Not the last among them: what is undefined in the end has no row there, and the value that
        it had before is not its last.
        """
        last = rows[self.keys].merge(self._last_steps, on=self.keys, how="left")["step"]
        return rows[rows["step"].to_numpy() == last.to_numpy()]

    @cached_property
    def _last_steps(self) -> pd.DataFrame:
        """Return keys and last ``step`` of every run."""
        # A key may be null, which groupby would leave out.
        return self.metrics.groupby(self.keys, dropna=False, as_index=False)["step"].max()


@dataclass(frozen=True)
class Study:
    """The replication of one paper.

    Attributes
    ----------
    objective
        The objective in one line, units included.
    axes
        Dotted config paths that its figures and claims tell apart.
    claims_read
        Experiments whose tables its claims are decided from.
    own_axes
        Further paths that they tell apart in single experiments, by experiment.
    optional
        Experiments that a config may leave out: figures and claims then do without.
    deviations
        Where the replication differs from the paper whatever the scale, in sentences.
    moving
        Its moving picture, if it has one.
    """

    paper: str
    objective: str
    figures: dict[str, Plot]
    axes: tuple[str, ...]
    claims_read: tuple[str, ...]
    own_axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    deviations: tuple[str, ...] = ()
    moving: Moving | None = None


def along_axes(experiment: Results, axes: tuple[str, ...]) -> Results:
    """Return an experiment whose tables vary along the given config paths, and only along them.

    A path that the grid does not vary becomes a column of its one value. Of a grid key that is
    no axis only the first value is kept, and the note says so: curves over different values
    would pass for a spread over seeds.
    """
    grid, notes = experiment.config["grid"], []
    tables = [experiment.metrics, experiment.predictions, experiment.samples]
    for path in axes:
        *section, key = path.split(".")
        # A decay of null is one of the others, and so are its columns.
        holder = experiment.config.get(section[0]) or {} if section else tied(experiment.config)
        if path not in grid and key in holder:
            value = holder[key]
            # As the tables of a grid have it.
            value = format_value(value) if isinstance(value, list) else value
            tables = [table.assign(**{key: value}) for table in tables]
    for path, values in grid.items():
        key = path.rsplit(".", 1)[-1]
        if path not in axes and len(values) > 1:
            # From the table, not from the grid: there a list is text, and null may be NaN.
            first = experiment.metrics[key].iloc[0]
            tables = [of_value(table, key, first) for table in tables]
            notes.append(f"{key} = {format_value(values[0])} of {len(values)} values")
    return Results(experiment.config, *tables, note=", ".join(notes))


def of_value(rows: pd.DataFrame, key: str, value: Any) -> pd.DataFrame:
    """Return the rows in which a key has a value, which may be null."""
    return rows[rows[key].isna() if pd.isna(value) else rows[key] == value]


def load(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    InputError
        If there is no such study.
    """
    try:
        return import_module(f"collapse.studies.{name}").STUDY
    except (ModuleNotFoundError, AttributeError) as error:
        raise InputError(
            f"no study '{name}': its figures and claims are missing, collapse/studies/{name}/"
            f"__init__.py should hold STUDY = Study(...) ({error})"
        ) from None


def read_experiments(
    paths: list[str], described: dict[str, dict], study: str
) -> dict[str, Results]:
    """Read the tables of a study's experiments from ``.../STUDY/EXPERIMENT/TABLE.parquet``."""
    files = {Path(path).parts[-3:]: path for path in paths}
    replication = load(study)
    experiments = {}
    for name, config in described.items():
        tables = {table: files[study, name, f"{table}.parquet"] for table in TABLES}
        axes = (*replication.axes, *replication.own_axes.get(name, ()))
        experiments[name] = along_axes(read_results(tables, config), axes)
    return experiments


def read_results(tables: Mapping[str, str], config: dict[str, Any]) -> Results:
    """Read the tables of an experiment, whatever its grid varies, from their paths by name."""
    return Results(config, *(read_table(tables[name]) for name in TABLES))
