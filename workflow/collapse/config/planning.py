"""The validated config, and its expansion into runs and the groups that share a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from collapse import grid
from collapse.config.experiment import Experiment
from collapse.config.reading import known
from collapse.config.reference import Reference
from collapse.config.section import Section
from collapse.config.slots import nested
from collapse.data.catalogue import DataSet
from collapse.errors import InputError


@dataclass(frozen=True)
class Run:
    """One point of an experiment's grid at one seed.

    `point` holds its grid values by dotted path, `config` is the experiment there, every value
    resolved.
    """

    study: str
    experiment: str
    point: dict[str, Any]
    seed: int
    config: Experiment

    @property
    def keys(self) -> dict[str, Any]:
        """The columns that name it in tables."""
        return {**grid.short_keys(self.point), "seed": self.seed}

    @property
    def id(self) -> str:
        """The name of its folder, ``depth=3+bias=false+seed=0``."""
        return grid.identifier(
            {**{p.rsplit(".", 1)[-1]: v for p, v in self.point.items()}, "seed": self.seed}
        )


@dataclass(frozen=True)
class Group:
    """Runs that one job computes.

    Attributes
    ----------
    spec
        What the job is told: study, experiment, the point that its runs share, the config there,
        the grid of what varies inside, the order of the grid's keys, and the seeds.
    runs
        In the order of the grid, seeds fastest.
    """

    spec: dict[str, Any]
    runs: list[Run]


@dataclass(frozen=True)
class Read:
    """A run of another experiment that a run reads: what of it, where it lies, its id."""

    what: str
    study: str
    experiment: str
    group: str
    run: str


@dataclass(frozen=True, eq=False)
class Atlas:
    """The whole validated config.

    Data sets and their `sources`, the sections of ``datasets`` that say where each comes from, are
    by name, experiments by study and name. `results` is the folder of the results.
    """

    scale: str
    first_seed: int
    results: str
    data_sets: dict[str, DataSet]
    sources: dict[str, Section]
    studies: dict[str, dict[str, Experiment]]

    def experiment(self, study: str, name: str) -> Experiment:
        """Return one experiment.

        Raises
        ------
        InputError
            If the study or the experiment does not exist.
        """
        known("study", study, self.studies)
        known(f"experiment of {study}", name, self.studies[study])
        return self.studies[study][name]

    def data_set(self, experiment: Experiment) -> DataSet | None:
        """Return the data set that an experiment reads, if it reads one."""
        return None if experiment.data_set is None else self.data_sets[experiment.data_set]

    @cache  # noqa: B019  (one Atlas lives as long as the process, which asks for each job)
    def runs(self, study: str, name: str) -> list[Run]:
        """Return the runs of an experiment in the order of its grid, seeds fastest."""
        experiment = self.experiment(study, name)
        return [
            Run(study, name, point, seed, config)
            for point in grid.points(experiment.grid)
            # Once per point, not per seed: it validates the config anew.
            for config in [resolve(experiment, point)]
            for first in [self.first_seed + experiment.first_seed]
            for seed in range(first, first + experiment.seeds)
        ]

    @cache  # noqa: B019
    def groups(self, study: str, name: str) -> dict[str, Group]:
        """Return what one job computes, by the name of its folder.

        Runs whose tensors have one shape share a job. The folder is named by what they have in
        common, ``depth=3``, and where the procedure says so by the seeds it holds,
        ``depth=3+seeds=0-2``; that of a single run is the run's.
        """
        experiment = self.experiment(study, name)
        members: dict[str, list[Run]] = {}
        for run in self.runs(study, name):
            shared = _shared(run)
            members.setdefault(run.id if shared is None else _named(shared), []).append(run)
        return dict(_group(experiment, runs) for runs in members.values())

    def group(self, study: str, name: str, folder: str) -> Group:
        """Return one group of an experiment by the name of its folder.

        Raises
        ------
        InputError
            If there is no such folder.
        """
        groups = self.groups(study, name)
        if folder not in groups:
            raise InputError(
                f"{study}.{name} has no folder '{folder}' (there are: {', '.join(groups)})"
            )
        return groups[folder]

    def reads(self, run: Run) -> dict[str, Read]:
        """Return the runs of other experiments that a run reads, by the path of the reference.

        Raises
        ------
        InputError
            If a reference names no run, or more than one.
        """
        return {
            ".".join(path): self._find(run, ".".join(path), section)
            for path, section in nested(run.config)
            if isinstance(section, Reference)
        }

    def _find(self, reader: Run, path: str, reference: Reference) -> Read:
        where = f"{reader.study}.{reader.experiment}.{path}"
        try:
            groups = self.groups(reference.study, reference.experiment)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        experiment = self.experiment(reference.study, reference.experiment)
        # Its own place among the seeds: those of both need not begin alike.
        place = reader.seed - self.first_seed - reader.config.first_seed
        place = place if reference.seed is None else reference.seed
        criteria = {**reference.run, "seed": self.first_seed + experiment.first_seed + place}
        if reference.read == "features" and not experiment.measured_by_group:
            raise InputError(
                f"{where}: {experiment.procedure} experiments write no features, only states"
            )
        # By the keys of tables: a reference names a run as a table's columns do.
        matches = [
            (folder, run.id)
            for folder, group in groups.items()
            for run in group.runs
            if all(key in run.keys and _is(run.keys[key], value) for key, value in criteria.items())
        ]
        if len(matches) != 1:
            conditions = ", ".join(f"{key}={grid.format_value(v)}" for key, v in criteria.items())
            number = f"{len(matches)} runs of" if matches else "no run of"
            source = f"{reference.study}.{reference.experiment}"
            keys = ", ".join(next(iter(groups.values())).runs[0].keys)
            raise InputError(
                f"{where}: {number} {source} with {conditions}, allowed is one (its keys: {keys})"
            )
        return Read(reference.read, reference.study, reference.experiment, *matches[0])

    def check_references(self) -> None:
        """Refuse references that lead nowhere, or back to where they began.

        Raises
        ------
        InputError
            Names the experiment and the reference, or the circle.
        """
        edges: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for study, experiments in self.studies.items():
            for name, experiment in experiments.items():
                if not any(isinstance(section, Reference) for _, section in nested(experiment)):
                    continue
                # Of every run: a grid may vary what is referred to.
                edges[study, name] = {
                    (reference.study, reference.experiment)
                    for run in self.runs(study, name)
                    for reference in self.reads(run).values()
                }
        for start in edges:
            _check_circle(edges, [start])


def _is(value: Any, criterion: Any) -> bool:
    """Return whether a run's key has the value that is asked for: ``1e-3`` in YAML is text."""
    # As in `Run.keys`, where a list is text.
    if isinstance(criterion, list):
        criterion = grid.format_value(criterion)
    # In Python True == 1.
    if isinstance(value, bool) != isinstance(criterion, bool):
        return False
    if isinstance(value, float) and isinstance(criterion, str):
        try:
            return value == float(criterion)
        except ValueError:
            return False
    return value == criterion


def _check_circle(edges: Mapping, path: list[tuple[str, str]]) -> None:
    for following in edges.get(path[-1], ()):
        if following in path:
            circle = [*path[path.index(following) :], following]
            names = " reads ".join(".".join(experiment) for experiment in circle)
            raise InputError(f"experiments read each other in a circle: {names}")
        _check_circle(edges, [*path, following])


def _shared(run: Run) -> dict[str, Any] | None:
    """Return the part of a run's point that its whole job shares; None if it runs alone."""
    batched = run.config.batched
    if batched is None:
        return None
    return {path: value for path, value in run.point.items() if path not in batched}


def _named(point: Mapping[str, Any]) -> str:
    return grid.identifier({path.rsplit(".", 1)[-1]: value for path, value in point.items()})


def _group(experiment: Experiment, runs: list[Run]) -> tuple[str, Group]:
    """Return the folder and the group of these runs."""
    first, shared = runs[0], _shared(runs[0])
    point = first.point if shared is None else shared
    seeds = sorted({run.seed for run in runs})
    if not experiment.seeds_in_folder:
        folder = _named(point)
    elif len(runs) == 1:
        folder = first.id
    else:
        folder = f"{_named(point)}+" if point else ""
        folder += f"seeds={seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else f"seed={seeds[0]}"
    # Of a key that only some of its values batch, such as a null, the others have groups of their
    # own.
    varied = {
        path: [value for value in values if repr(value) in present]
        for path, values in experiment.grid.items()
        if path not in point
        # By their text, as lists cannot be put into a set.
        for present in [{repr(run.point[path]) for run in runs}]
    }
    spec = {
        "study": first.study,
        "experiment": first.experiment,
        "point": point,
        "config": plain(resolve(experiment, point)),
        "grid": varied,
        # Point and grid together lose the order of the keys, which tables and ids have.
        "order": list(experiment.grid),
        "seeds": seeds,
    }
    return folder, Group(spec, runs)


def plain(section: Section) -> dict[str, Any]:
    """Return a section as JSON values, its grid and which seeds left out."""
    return section.model_dump(mode="json", exclude={"grid", "seeds", "first_seed"})


def resolve(experiment: Experiment, point: Mapping[str, Any]) -> Experiment:
    """Return the experiment at one point of its grid, validated; it has no grid itself."""
    # Of a long grid each run would copy all.
    config = experiment.model_dump(exclude={"grid"})
    return type(experiment).model_validate(grid.assign(config, point))
