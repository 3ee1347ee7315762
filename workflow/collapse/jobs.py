"""What each job of the workflow is told, with which code it is planned, and which files it reads.

A job's spec is exactly the part of the config that it reads: a change elsewhere in the config
leaves the job alone. Paths are relative to the results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from collapse import describing, studies
from collapse.config.experiment import Experiment
from collapse.config.planning import Atlas, Group, Run, plain
from collapse.config.reading import known
from collapse.config.section import Section
from collapse.config.slots import implementation, kinds, nested
from collapse.data import catalogue
from collapse.errors import InputError
from collapse.grid import tied
from collapse.provenance import code_digest, package_digest
from collapse.specs import Spec, json_digest

DRAWN = ("pdf", "png", "csv")
"""What is written of a figure, beside the caption of a study's."""
MOVING = ("html", "gif")
"""What is written of a moving picture."""


@dataclass(frozen=True)
class Example:
    """A notebook that is of no study: it computes what it shows.

    Attributes
    ----------
    modules
        What it runs, itself or in commands: the roots of its code digest.
    shows
        Folders of this project whose files it shows.
    """

    modules: tuple[str, ...]
    shows: tuple[str, ...] = ()


# What the jobs of a problem load that descends by gradients from random points.
_DESCENT = (
    "collapse.stages.compute",
    "collapse.procedures.problem.compute",
    "collapse.problems.starts.random",
    "collapse.problems.solvers.sgd",
    "collapse.stages.measure_runs",
    "collapse.procedures.problem.measure",
    "collapse.stages.predictions",
)
EXAMPLES = {
    "own_network": Example(("collapse.metrics", "collapse.metrics.torchmetrics")),
    "own_experiment": Example(
        (
            *_DESCENT,
            "collapse.problems.deep_linear",
            "collapse.probes.classifier",
            "collapse.theory.deep_linear",
            "collapse.studies.deep_linear",
            "collapse.stages.picture",
            "collapse.stages.predict",
            # Whose word about a misspelt key it shows.
            "collapse.config",
        )
    ),
    "own_study": Example(
        (
            *_DESCENT,
            # What the study's own files import.
            "collapse.config.bases",
            "collapse.problems.base",
            "collapse.theory.hyperparameters",
            "collapse.studies.analysis",
            "collapse.stages.figure",
            "collapse.stages.claims",
        ),
        shows=("tests/toys/relu",),
    ),
}
"""Notebooks that are of no study."""


# Compared by identity (eq=False): the functions below are cached, so that a job is one object, and
# a comparison of values would descend through all the jobs behind it.
@dataclass(frozen=True, eq=False)
class Job:
    """A job of the workflow.

    Attributes
    ----------
    stage
        Its subcommand.
    told
        Exactly the part of the config that it reads.
    modules
        Modules that it loads by name: with the stage's they are the roots of its code digest.
    reads
        By their role, the files that it reads with the jobs that make them.
    """

    stage: str
    told: Mapping[str, Any]
    modules: tuple[str, ...] = ()
    reads: "Mapping[str, list[tuple[str, Job]]]" = field(default_factory=dict)

    @cached_property
    def spec(self) -> Spec:
        """What the job's file says.

        Raises
        ------
        InputError
            If a module does not exist.
        """
        # Before any code digest: an edit in between is then found, by a job that parses again.
        package = package_digest()
        modules = (f"collapse.stages.{self.stage}", *self.modules)
        inputs = {
            role: {path: {"code": job.spec.code, "config": job.spec.config} for path, job in files}
            for role, files in self.reads.items()
        }
        code = code_digest(*modules)
        return Spec(self.stage, modules, self.told, code, inputs, package=package)

    @cached_property
    def upstream(self) -> str:
        """The digest of all jobs behind it, of their config and code."""
        behind = {job for files in self.reads.values() for _, job in files}
        return json_digest(sorted(job.spec.digest + job.upstream for job in behind))

    def files(self, role: str) -> list[str]:
        """Return the files that it reads in a role."""
        return [path for path, _ in self.reads.get(role, ())]


@cache
def data(atlas: Atlas, name: str) -> Job:
    """Return the job that makes a data set."""
    data_set, section = _data_set(atlas, name)
    modules = catalogue.modules(data_set.source, name)
    return Job("data", section.spec(name, data_set), modules)


def source(atlas: Atlas, name: str, home: str) -> list[str]:
    """Return the file that a data set is made from, if it is one: a user's table, or a policy.

    `home` is the folder of this project, which holds the policies that it ships.

    Raises
    ------
    InputError
        If there is no such data set, or the table does not exist.
    """
    data_set, section = _data_set(atlas, name)
    return section.source_file(name, data_set, atlas.results, home)


@cache
def policy(atlas: Atlas, task: str) -> Job:
    """Return the job that searches a policy.

    Raises
    ------
    InputError
        If no policy is searched for a task of this name.
    """
    data_set, section = _data_set(atlas, task)
    return Job(
        "policy", section.policy_spec(task, data_set), catalogue.modules(data_set.source, task)
    )


def _data_set(atlas: Atlas, name: str) -> tuple[Any, Section]:
    if name not in atlas.data_sets:
        allowed = ", ".join(sorted(atlas.data_sets))
        raise InputError(f"no data set '{name}' (there are: {allowed})")
    return atlas.data_sets[name], atlas.sources[name]


@cache
def compute(atlas: Atlas, study: str, experiment: str, folder: str) -> Job:
    """Return the job that computes the states of a group: it reads no key about measuring."""
    group = atlas.group(study, experiment, folder)
    first = group.runs[0].config
    files, references = _read(atlas, group.runs, first.measure_only)
    modules = _implementations(first, "compute", first.measure_only)
    spec = {
        "procedure": first.procedure,
        **first.ways,
        **_without(group, first.measure_only),
        "references": references,
    }
    reads = {"data": _data(atlas, first), "references": files}
    return Job("compute", spec, modules, reads)


@cache
def measure(atlas: Atlas, study: str, experiment: str) -> Job:
    """Return the job that measures a whole experiment and writes its table."""
    return _measure(atlas, study, experiment, atlas.groups(study, experiment))


@cache
def measure_group(atlas: Atlas, study: str, experiment: str, folder: str) -> Job:
    """Return the job that measures a group: it reads no key about optimisation."""
    group = atlas.group(study, experiment, folder)
    return _measure(atlas, study, experiment, {folder: group})


def _measure(atlas: Atlas, study: str, name: str, groups: Mapping[str, Group]) -> Job:
    experiment = atlas.experiment(study, name)
    # Keys are the same for all runs of an experiment.
    first = next(iter(groups.values())).runs[0]
    probes = _probes(atlas, experiment)
    runs = [run for group in groups.values() for run in group.runs]
    files, references = _read(atlas, runs, experiment.compute_only)
    spec = {
        "study": study,
        "experiment": name,
        "procedure": experiment.procedure,
        "keys": list(first.keys),
        "seeds": sorted({run.seed for group in groups.values() for run in group.runs}),
        "groups": [_without(group, experiment.compute_only) for group in groups.values()],
        "probes": [plain(probe) for probe in probes],
        "references": references,
    }
    jobs = {folder: compute(atlas, study, name, folder) for folder in groups}
    reads = {
        role: [(f"{study}/{name}/{folder}/{file}", job) for folder, job in jobs.items()]
        for role, file in (("states", "states.safetensors"), ("histories", "history.parquet"))
    }
    reads["frames"] = [(f"{study}/{name}/frames.parquet", predictions(atlas, study, name))]
    reads |= {"data": _data(atlas, experiment), "references": files}
    modules = _implementations(experiment, "measure", experiment.compute_only)
    modules += tuple(implementation(probe) for probe in probes)
    # A module twice would change the digest; a dict keeps the order, a set would not.
    return Job("measure_runs", spec, tuple(dict.fromkeys(modules)), reads)


def _probes(atlas: Atlas, experiment: Experiment) -> list[Section]:
    """Return the probes of an experiment: what its data or problem asks for, then its own."""
    usual = experiment.probes_for(atlas.data_set(experiment))
    # Named by the code of a section, not by the config: nothing has checked them before.
    for kind in usual:
        known("probe", kind, kinds("probe"))
    probes = [kinds("probe")[kind](kind=kind) for kind in usual]
    for probe in getattr(experiment, "probes", []):
        if probe not in probes:
            probes.append(probe)
    return probes


def _without(group: Group, keys: Iterable[str]) -> dict[str, Any]:
    config = {key: value for key, value in group.spec["config"].items() if key not in keys}
    return group.spec | {"config": config}


def _implementations(experiment: Experiment, verb: str, unread: Iterable[str]) -> tuple[str, ...]:
    """Return the module of a procedure's verb, and those of all kinds but under the unread keys."""
    modules = [f"{implementation(experiment)}.{verb}"]
    for path, section in nested(experiment):
        if path and path[0] not in unread:
            modules.append(implementation(section))
    return tuple(dict.fromkeys(module for module in modules if module))


def _data(atlas: Atlas, experiment: Experiment) -> list[tuple[str, Job]]:
    """Return the data set that an experiment reads, if any."""
    name = experiment.data_set
    return [] if name is None else [(f"data/{name}.safetensors", data(atlas, name))]


def _read(
    atlas: Atlas, runs: list[Run], unread: Iterable[str]
) -> tuple[list[tuple[str, Job]], dict[str, Any]]:
    """Return the files that runs refer to, and for each run where in them its references lie.

    References under the unread keys are left out.
    """
    files: dict[str, Job] = {}
    references: dict[str, dict[str, list]] = {}
    for run in runs:
        for path, reference in atlas.reads(run).items():
            if path.split(".")[0] in unread:
                continue
            where = reference.study, reference.experiment, reference.group
            file = f"{'/'.join(where)}/{reference.what}.safetensors"
            files[file] = (measure_group if reference.what == "features" else compute)(
                atlas, *where
            )
            # By its place among the files: the job's spec has their paths, in this order.
            references.setdefault(run.id, {})[path] = [list(files).index(file), reference.run]
    return list(files.items()), references


@cache
def predictions(atlas: Atlas, study: str, experiment: str) -> Job:
    """Return the job that computes the closed forms of an experiment, run by run."""
    config = atlas.experiment(study, experiment)
    unseen = config.compute_only | config.measure_only
    runs = []
    for run in atlas.runs(study, experiment):
        plainly = {k: v for k, v in tied(plain(run.config)).items() if k not in unseen}
        spec = {"config": plainly, "facts": run.config.facts(), "stages": run.config.stages()}
        runs.append((run.keys, spec))
    theory = f"collapse.theory.{study}"
    # A study need not have a closed form.
    modules = (theory,) if find_spec(theory) else ()
    return Job(
        "predictions",
        {
            "study": study,
            "experiment": experiment,
            "theory": theory if modules else None,
            "keys": list(runs[0][0]),
            "runs": _once(runs),
        },
        modules,
        {"data": _data(atlas, config)},
    )


def _once(runs: list[tuple[dict, dict]]) -> list[dict[str, Any]]:
    """Join the runs that differ in nothing but the seed: their closed form is the same."""
    entries: dict[str, dict[str, Any]] = {}
    for columns, spec in runs:
        keys = {key: value for key, value in columns.items() if key != "seed"}
        # By its text: configs hold lists, which cannot be keys.
        entry = entries.setdefault(repr((keys, spec)), {"keys": keys, **spec, "seeds": []})
        entry["seeds"].append(columns["seed"])
    return list(entries.values())


@cache
def table(atlas: Atlas, study: str, experiment: str) -> Job:
    """Return the job that joins the tables of an experiment's groups."""
    first = atlas.runs(study, experiment)[0]
    folders = atlas.groups(study, experiment)
    jobs = {folder: measure_group(atlas, study, experiment, folder) for folder in folders}
    reads = {
        role: [
            (f"{study}/{experiment}/{folder}/{role}.parquet", job) for folder, job in jobs.items()
        ]
        for role in ("metrics", "samples")
    }
    spec = {"study": study, "experiment": experiment, "keys": list(first.keys)}
    return Job("table", spec, reads=reads)


def tables(atlas: Atlas, study: str, experiments: Iterable[str]) -> list[tuple[str, Job]]:
    """Return the files that figures and claims read, with the jobs that make them."""
    files = []
    for name in experiments:
        by_group = atlas.experiment(study, name).measured_by_group
        job = (table if by_group else measure)(atlas, study, name)
        makers = {"predictions": predictions(atlas, study, name)}
        files += [
            (f"{study}/{name}/{kind}.parquet", makers.get(kind, job)) for kind in studies.TABLES
        ]
    return files


@cache
def figure(atlas: Atlas, study: str, name: str) -> Job:
    """Return the job that draws a figure.

    Raises
    ------
    InputError
        There is no such study, it has no such figure, or the config leaves out all that it shows.
    """
    known("study", study, atlas.studies)
    figures = studies.load(study).figures
    if name not in figures:
        raise InputError(f"{study} has no figure '{name}' (there are: {', '.join(figures)})")
    if name not in drawn(atlas, study):
        absent = ", ".join(figures[name].reads)
        raise InputError(f"{study} has no figure '{name}' at this scale: {absent} left out of it")
    reads = _present(atlas, study, figures[name].reads, f"figure {name}")
    spec = {"study": study, "figure": name, "experiments": described(atlas, study, reads)}
    modules = (f"collapse.studies.{study}.{name}",)
    return Job("figure", spec, modules, {"tables": tables(atlas, study, reads)})


def drawn(atlas: Atlas, study: str) -> list[str]:
    """Return the names of a study's figures, less those of which the config leaves out all."""
    replication, there = studies.load(study), set(atlas.studies[study])
    return [
        name
        for name, plot in replication.figures.items()
        if there.intersection(plot.reads) or not replication.optional.issuperset(plot.reads)
    ]


def figures(atlas: Atlas, study: str) -> list[tuple[str, Job]]:
    """Return the files of a study's figures, with the jobs that draw them."""
    return [
        (f"figures/{study}/{name}.{kind}", figure(atlas, study, name))
        for name in drawn(atlas, study)
        for kind in (*DRAWN, "rst")
    ]


@cache
def picture(atlas: Atlas, study: str, name: str) -> Job:
    """Return the job that draws the metrics of an experiment, whatever it is.

    Raises
    ------
    InputError
        If the study has no such experiment.
    """
    clock = atlas.experiment(study, name).clock
    config = described(atlas, study, [name])[name]
    first, *others = (
        run.config.labels(atlas.data_set(run.config)) for run in atlas.runs(study, name)
    )
    # What the grid varies has a name at each of its points.
    config["labels"] = {k: v for k, v in first.items() if all(each[k] == v for each in others)}
    spec = {"study": study, "experiment": name, "clock": clock, "config": config}
    modules = (f"collapse.studies.{study}",)
    return Job("picture", spec, modules, {"tables": tables(atlas, study, [name])})


@cache
def moving(atlas: Atlas, study: str) -> Job:
    """Return the job that makes the moving picture of a study.

    Raises
    ------
    InputError
        If the study has none, or the config leaves out what it shows.
    """
    known("study", study, atlas.studies)
    wanted = studies.load(study).moving
    if wanted is None:
        there = ", ".join(name for name in atlas.studies if studies.load(name).moving) or "none"
        raise InputError(f"{study} has no moving picture (studies that have one: {there})")
    name = wanted.experiment
    if name not in atlas.studies[study]:
        raise InputError(f"{study} has no moving picture at this scale: {name} left out of it")
    folder, run = _run_like(atlas, study, name, wanted.run)
    spec = {
        "study": study,
        "shown": name,
        "run": run.id,
        "keys": run.keys,
        "clock": run.config.clock,
        "config": plain(run.config),
    }
    states = f"{study}/{name}/{folder}/states.safetensors"
    reads = {
        "states": [(states, compute(atlas, study, name, folder))],
        "tables": tables(atlas, study, [name]),
    }
    return Job("moving", spec, (f"collapse.studies.{study}.moving",), reads)


def _run_like(atlas: Atlas, study: str, name: str, keys: Mapping[str, Any]) -> tuple[str, Run]:
    """Return the first of the runs that have the most of some keys, and its group's folder."""
    groups = atlas.groups(study, name).items()
    runs = [(folder, run) for folder, group in groups for run in group.runs]
    return max(runs, key=lambda pair: sum(pair[1].keys.get(k) == v for k, v in keys.items()))


def movings(atlas: Atlas, study: str) -> list[tuple[str, Job]]:
    """Return the files of a study's moving picture, if it has one, with the job that makes them."""
    wanted = studies.load(study).moving
    if wanted is None or wanted.experiment not in atlas.studies[study]:
        return []
    return [(f"moving/{study}.{kind}", moving(atlas, study)) for kind in MOVING]


def _present(atlas: Atlas, study: str, experiments: Iterable[str], reader: str) -> tuple[str, ...]:
    """Return those of the experiments that are there; refuse that one which is needed is not."""
    optional = studies.load(study).optional
    there = atlas.studies[study]
    for name in experiments:
        if name not in there and name not in optional:
            may = ", ".join(sorted(optional)) or "none"
            raise InputError(
                f"{study}.{name}: null found, but its {reader} cannot do without (what can be "
                f"left out of {study}: {may})"
            )
    return tuple(name for name in experiments if name in there)


def described(atlas: Atlas, study: str, experiments: Iterable[str]) -> dict[str, Any]:
    """Return what figures and claims may say of experiments: their resolved config, and labels."""
    return {
        name: {
            **plain(config),
            "grid": dict(config.grid),
            "seeds": config.seeds,
            "labels": config.labels(atlas.data_set(config)),
        }
        for name in experiments
        for config in [atlas.experiment(study, name)]
    }


@cache
def claims(atlas: Atlas, study: str) -> Job:
    """Return the job that decides the claims of a study.

    Raises
    ------
    InputError
        If there is no such study.
    """
    known("study", study, atlas.studies)
    reads = _present(atlas, study, studies.load(study).claims_read, "claims")
    spec = {"study": study, "scale": atlas.scale, "experiments": described(atlas, study, reads)}
    modules = (f"collapse.studies.{study}.claims",)
    return Job("claims", spec, modules, {"tables": tables(atlas, study, reads)})


@cache
def join_claims(atlas: Atlas) -> Job:
    """Return the job that joins the claims of all studies."""
    files = [(f"claims/{study}.csv", claims(atlas, study)) for study in atlas.studies]
    return Job("join_claims", {"studies": list(atlas.studies)}, reads={"claims": files})


@cache
def overview(atlas: Atlas) -> Job:
    """Return the job that writes the first page of the report."""
    modules = tuple(f"collapse.studies.{study}" for study in atlas.studies)
    reads = {"claims": [("claims.csv", join_claims(atlas))]}
    return Job("overview", {"studies": list(atlas.studies)}, modules, reads)


def notebooks(atlas: Atlas, home: str) -> list[str]:
    """Return the notebooks that there are, of studies and examples.

    `home` is the folder of this project. An example whose files to show are not there, as in an
    installation without the tests, is none.
    """
    return [
        name
        for name in (*atlas.studies, *EXAMPLES)
        if Path(home, "notebooks", f"{name}.ipynb").is_file()
        and all(Path(home, folder).is_dir() for folder in _shows(name))
    ]


def shown(name: str, home: str) -> list[str]:
    """Return the files of this project that a notebook shows, beside what it reads of results."""
    found = (path for folder in _shows(name) for path in Path(home, folder).rglob("*"))
    return sorted(str(path) for path in found if path.suffix in (".py", ".yaml"))


def _shows(name: str) -> tuple[str, ...]:
    return EXAMPLES[name].shows if name in EXAMPLES else ()


@cache
def reference_page(atlas: Atlas) -> Job:
    """Return the job that writes the page of all that is declared."""
    names = list(atlas.studies)
    # What docstrings say is no code: without their digest the page would outlive an edit of one.
    told = {"studies": names, "docstrings": describing.docstrings()}
    return Job("reference_page", told, describing.modules(names))


@cache
def notebook(atlas: Atlas, name: str) -> Job:
    """Return the job that executes a study's notebook, or an example.

    A study's shows what it reads from the results; an example computes what it shows.
    """
    if name in EXAMPLES:
        return Job("notebook", {"notebook": name}, EXAMPLES[name].modules)
    study = name
    modules = ["collapse.showing", *(f"collapse.{part}.{study}" for part in ("studies", "theory"))]
    reads = {
        "claims": [(f"claims/{study}.csv", claims(atlas, study))],
        "tables": tables(atlas, study, atlas.studies[study]),
        "figures": figures(atlas, study),
    }
    present = tuple(module for module in modules if find_spec(module))
    return Job("notebook", {"study": study}, present, reads)


@cache
def benchmark(_: Atlas) -> Job:
    """Return the job that times the engine."""
    return Job("benchmark", {})


@cache
def benchmark_precision(atlas: Atlas) -> Job:
    """Return the job that trains at several precisions."""
    name = "fashion_mnist"
    reads = {"data": [(f"data/{name}.safetensors", data(atlas, name))]}
    return Job("benchmark_precision", {}, reads=reads)


@cache
def benchmark_figure(_: Atlas, name: str) -> Job:
    """Return the job that draws a figure of the benchmark."""
    return Job("benchmark_figure", {"figure": name})
