"""What each job of the workflow is told, and from which files it works.

A job's spec is exactly the part of the config that it reads: a change elsewhere in the config
leaves the job alone. All paths are relative to the workflow's results.
"""

from pathlib import Path
from typing import Any

from collapse import studies
from collapse.config import Atlas, DataSource, Demonstrations, NetworkExperiment, Table, plain
from collapse.data.registry import PACKAGE_TABLES
from collapse.data.tasks import TASKS
from collapse.errors import InputError
from collapse.grid import tied

Spec = dict[str, Any]

SHIPPED_POLICIES = "results/reference/policies"


def units(atlas: Atlas, study: str, experiment: str) -> list[str]:
    """Return the folders of an experiment, one per job that solves or trains."""
    return list(atlas.groups(study, experiment))


def results_of(atlas: Atlas, study: str, experiment: str) -> list[str]:
    """Return the two files that figures and claims read of an experiment."""
    atlas.experiment(study, experiment)
    return [f"results/{study}/{experiment}/{name}.parquet" for name in ("metrics", "predictions")]


def data(atlas: Atlas, dataset: str) -> Spec:
    """Return what the data stage is told, but for the file that it may read."""
    source = _dataset(atlas, dataset)
    told = source.model_dump(mode="json", exclude={"table", "policy"})
    maker = {Demonstrations: "demonstrations", Table: "tables"}.get(type(source), "fetch")
    if dataset in PACKAGE_TABLES:
        maker = "tables"
    return {"name": dataset, "maker": maker, **told}


def data_source(atlas: Atlas, dataset: str, home: str) -> list[str]:
    """Return the file that a data set is made from, if it is one: a user's table, or a policy.

    Parameters
    ----------
    atlas, dataset
        The config and the data set's name.
    home
        The folder of this project, which holds the policies it ships.

    Raises
    ------
    InputError
        If there is no such data set, or the table does not exist.
    """
    source = _dataset(atlas, dataset)
    if isinstance(source, Table):
        if not Path(source.table).is_file():
            raise InputError(f"datasets.{dataset}.table: {source.table}: no such file")
        return [source.table]
    if not isinstance(source, Demonstrations) or not TASKS[dataset].search:
        return []
    folder = "results/policies" if source.policy == "searched" else f"{home}/{SHIPPED_POLICIES}"
    return [f"{folder}/{dataset}.safetensors"]


def policy(atlas: Atlas, task: str) -> Spec:
    """Return what the search for a policy is told."""
    source = _dataset(atlas, task)
    if not isinstance(source, Demonstrations) or not TASKS[task].search:
        raise InputError(f"results/policies: no policy is searched for '{task}'")
    return {"task": task, "seed": source.seed}


def _dataset(atlas: Atlas, name: str) -> DataSource | Demonstrations | Table:
    if name not in atlas.datasets:
        raise InputError(f"no data set '{name}' (there are: {', '.join(sorted(atlas.datasets))})")
    return atlas.datasets[name]


def _group(atlas: Atlas, study: str, experiment: str, folder: str) -> Spec:
    groups = atlas.groups(study, experiment)
    if folder not in groups:
        raise InputError(
            f"{study}.{experiment} has no folder '{folder}' (there are: {', '.join(groups)})"
        )
    return groups[folder]


def solve(atlas: Atlas, study: str, experiment: str, group: str) -> Spec:
    """Return what the solver is told of one shape group."""
    return _group(atlas, study, experiment, group)


def train(atlas: Atlas, study: str, experiment: str, run: str) -> Spec:
    """Return what the trainer is told: all but what is done with the features later."""
    group = _group(atlas, study, experiment, run)
    config = {key: value for key, value in group["config"].items() if key != "features"}
    return group | {"config": config}


def features(atlas: Atlas, study: str, experiment: str, run: str) -> Spec:
    """Return what the features' job is told: all but how the network was trained."""
    group = _group(atlas, study, experiment, run)
    sections = ("data", "model", "head", "loss", "weight_decay", "feature_decay", "features")
    return group | {"config": {name: group["config"][name] for name in sections}}


def data_read(atlas: Atlas, study: str, experiment: str) -> list[str]:
    """Return the data file of a network experiment; a problem over free features has none."""
    config = atlas.experiment(study, experiment)
    if not isinstance(config, NetworkExperiment):
        return []
    return [f"results/data/{config.data.name}.safetensors"]


def predictions(atlas: Atlas, study: str, experiment: str) -> Spec:
    """Return what the closed forms of an experiment are computed from, run by run."""
    runs = []
    for run in atlas.runs(study, experiment):
        config = tied(plain(run.config))
        config.pop("optimiser", None)
        config.pop("training", None)
        runs.append({"keys": run.keys, "config": config})
    order = list(runs[0]["keys"])
    return {"study": study, "experiment": experiment, "keys": order, "runs": _once(runs)}


def _once(runs: list[Spec]) -> list[Spec]:
    """Join the runs that differ in nothing but the seed: their closed form is the same."""
    joined: dict[str, Spec] = {}
    for run in runs:
        keys = {key: value for key, value in run["keys"].items() if key != "seed"}
        entry = joined.setdefault(
            repr((keys, run["config"])), {"keys": keys, "config": run["config"], "seeds": []}
        )
        entry["seeds"].append(run["keys"]["seed"])
    return list(joined.values())


def table(atlas: Atlas, study: str, experiment: str) -> Spec:
    """Return what the experiment's table is told: its name and its key columns in order."""
    first = atlas.runs(study, experiment)[0]
    return {"study": study, "experiment": experiment, "keys": list(first.keys)}


def figure(atlas: Atlas, study: str, name: str) -> Spec:
    """Return what a figure is told.

    Raises
    ------
    InputError
        If the study has no such figure.
    """
    figures = studies.load(study).figures
    if name not in figures:
        raise InputError(f"{study} has no figure '{name}' (there are: {', '.join(figures)})")
    return {
        "study": study,
        "figure": name,
        "experiments": described(atlas, study, figures[name].reads),
    }


def described(atlas: Atlas, study: str, experiments: tuple[str, ...]) -> Spec:
    """Return what figures and claims may say of experiments: their resolved config."""
    return {
        name: {**plain(config), "grid": dict(config.grid), "seeds": config.seeds}
        for name in experiments
        for config in [atlas.experiment(study, name)]
    }


def claims(atlas: Atlas) -> Spec:
    """Return what the claims are decided with."""
    return {
        "scale": atlas.scale,
        "studies": {
            study: described(atlas, study, studies.load(study).claims_read)
            for study in atlas.studies
        },
    }


def notebook(_: Atlas, study: str) -> Spec:
    """Return what a notebook is told: its study; the rest it reads from the results."""
    return {"study": study}
