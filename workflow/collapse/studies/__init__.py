"""The replications: per study its figures, its claims and what they read."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pandas as pd

from collapse.errors import InputError


@dataclass(frozen=True)
class Figure:
    """A figure of a study: the module of its name draws it.

    Attributes
    ----------
    reads
        Experiments whose tables it draws.
    caption
        What it shows, for the report.
    """

    reads: tuple[str, ...]
    caption: str


@dataclass(frozen=True)
class Experiment:
    """What figures and claims see of an experiment.

    Attributes
    ----------
    config
        Its resolved config, with ``grid`` and ``seeds``.
    metrics
        Its tidy table: keys, ``seed``, ``step``, ``layer``, ``metric``, ``value``.
    predictions
        The closed forms: the same keys, ``metric``, ``value``.
    """

    config: dict[str, Any]
    metrics: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def keys(self) -> list[str]:
        """Columns that name a run, the seed last."""
        return [c for c in self.metrics if c not in ("step", "layer", "metric", "value")]

    def values(self, metric: str, layer: str | None = None) -> pd.DataFrame:
        """Return the rows of one metric (of one layer)."""
        rows = self.metrics[self.metrics["metric"] == metric]
        return rows if layer is None else rows[rows["layer"] == layer]

    def predicted(self, metric: str) -> pd.DataFrame:
        """Return keys and ``value`` of one predicted number."""
        rows = self.predictions[self.predictions["metric"] == metric]
        return rows.drop(columns="metric")

    def last(self, metric: str, layer: str | None = None) -> pd.DataFrame:
        """Return one metric at the last recorded step of every run."""
        rows = self.values(metric, layer)
        return rows[rows["step"] == rows.groupby(self.keys)["step"].transform("max")]


@dataclass(frozen=True)
class Study:
    """The replication of one paper.

    Attributes
    ----------
    paper
        Its citation.
    objective
        The objective in one line, units included.
    figures
        Its figures by name.
    claims_read
        Experiments whose tables its claims are decided from.
    """

    paper: str
    objective: str
    figures: dict[str, Figure]
    claims_read: tuple[str, ...]


def load(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    InputError
        If there is no such study.
    """
    try:
        return import_module(f"collapse.studies.{name}").STUDY
    except ModuleNotFoundError:
        raise InputError(f"no study '{name}': collapse.studies has no such module") from None
