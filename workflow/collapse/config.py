"""The config as typed, frozen models, and its expansion into runs.

A study's file holds the paper's own values, a scale's file what a smaller scale reduces, and a
user's config whatever they change. They are merged in that order, mappings key by key, lists
and ``grid`` whole. Every number is in the units of the objective as the study prints it.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from collapse import grid
from collapse.data.registry import DATA_SETS, PACKAGE_TABLES
from collapse.data.tasks import TASKS
from collapse.errors import InputError
from collapse.grid import TIED
from collapse.theory.covariance import principal_axes, symmetric

KNOWN_DATA = {*DATA_SETS, *PACKAGE_TABLES, *TASKS}
"""Data sets that this project can get; others are tables of the user's."""

TABLE_COLUMNS = ("seed", "step", "layer", "metric", "value")
"""Columns that tables have beside those of the grid."""


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a boolean")
    return value


Real = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Positive = Annotated[Real, Field(gt=0)]
NonNegative = Annotated[Real, Field(ge=0)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Decays = NonNegative | Annotated[list[NonNegative], Field(min_length=1)]
Widths = Count | Annotated[list[Count], Field(min_length=1)]


class Section(BaseModel):
    """Base of every config section: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataSource(Section):
    """Where a data set comes from."""

    sources: list[Literal["directory", "debian", "download", "package"]] = Field(
        min_length=1, description="Sources in the order they are tried; the first that answers."
    )
    directory: str | None = Field(
        None, description="Folder that holds the data set's official files (source `directory`)."
    )


class Demonstrations(Section):
    """An expert's demonstrations of a control task, made in a simulator."""

    policy: Literal["shipped", "searched"] = Field(
        "shipped",
        description="The policy of swimmer and hopper: this project's, or one that is searched "
        "first, in minutes. Reacher's expert is a controller and needs none.",
    )
    seed: Annotated[int, BeforeValidator(_no_bool), Field(ge=0)] = Field(
        0, description="Seed of the episodes' starts, and of the search."
    )


class Table(Section):
    """A regression's inputs and targets in a table of the user's."""

    table: str = Field(description="A csv or parquet file.")
    targets: list[str] = Field(min_length=1, description="Columns to predict.")
    inputs: list[str] | None = Field(
        None, min_length=1, description="Columns to predict from; null for all others."
    )
    test_share: Annotated[Real, Field(ge=0, le=0.5)] = Field(
        0.2, description="Share of the rows, evenly spaced, that is kept for testing."
    )


class Data(Section):
    """The data a network is trained on."""

    name: str = Field(description="Data set, a key of `datasets`.")
    samples: Count | None = Field(
        None, description="Training samples of a regression, evenly spaced; null takes all."
    )
    standardise: list[Literal["inputs", "targets"]] = Field(
        default_factory=list,
        description="What of a regression gets mean 0 and variance 1 over the training samples; "
        "images always do, by channel.",
    )
    samples_per_class: Count | None = Field(
        None, description="First images of each class to train on; null takes all."
    )
    class_sizes: list[Count] | None = Field(
        None,
        min_length=2,
        description="First images of each class instead, in label order; null for equal sizes.",
    )
    imbalance_ratio: Annotated[Real, Field(ge=1)] | None = Field(
        None,
        description="Long tail: sizes fall by a constant factor from class to class, from "
        "samples_per_class (null: the size of the smallest class) to one this many times smaller.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Data":
        if self.class_sizes and (self.samples_per_class or self.imbalance_ratio):
            other = "samples_per_class" if self.samples_per_class else "imbalance_ratio"
            raise ValueError(
                f"class_sizes and {other} are both set, allowed is one: set the other to null"
            )
        ratio, largest = self.imbalance_ratio, self.samples_per_class
        if ratio and largest and ratio > largest:
            message = f"{ratio:g} found, allowed is up to samples_per_class, {largest}"
            raise _fault("imbalance_ratio", message)
        return self


class Problem(Section):
    """A deep-linear problem over free features: Z = W_M ... W_1 H + b against one-hot targets."""

    kind: Literal["deep_linear"] = Field(description="Problem module.")
    loss: Literal["mse", "ce"] = Field(
        "mse", description="Data term: 1/(2N) ||Z - Y||^2 summed over classes, or mean CE."
    )
    class_sizes: list[Count] = Field(min_length=2, description="Samples of each class.")
    depth: Count = Field(1, description="Number M of linear layers W_1 to W_M.")
    widths: Widths = Field(
        description="Feature dimension and hidden widths d_1 to d_M, or one number for all."
    )
    bias: bool = Field(False, description="Unregularised bias b in the last layer.")
    init_scale: Positive = Field(0.1, description="Std of the Gaussian start of H and each W_m.")

    @model_validator(mode="after")
    def _widths_match(self) -> "Problem":
        _check_layers("widths", self.widths, self.depth)
        return self


class RegressionProblem(Section):
    """A regression over free features: Z = W H + b against real targets of given covariance."""

    depth: ClassVar[int] = 1

    kind: Literal["regression"] = Field(description="Problem module.")
    target_covariance: list[list[Real]] = Field(
        min_length=1, description="Covariance of the n targets, n x n, with the factor 1/M."
    )
    target_mean: list[Real] | None = Field(None, description="Mean of the targets; null for 0.")
    samples: Count = Field(description="Number M of samples, more than n.")
    dim: Count = Field(description="Feature dimension d, at least n.")
    bias: bool = Field(True, description="Unregularised bias b.")
    init_scale: Positive = Field(0.1, description="Std of the Gaussian start of H and W.")

    @model_validator(mode="after")
    def _consistent(self) -> "RegressionProblem":
        outputs = len(self.target_covariance)
        try:
            principal_axes(symmetric(self.target_covariance))
        except InputError as error:
            message = str(error).removeprefix("target_covariance: ")
            raise _fault("target_covariance", message) from None
        for row, entries in enumerate(self.target_covariance):
            if not entries[row] > 0:
                message = f"target {row} has zero variance, allowed are targets that vary"
                raise _fault("target_covariance", message)
        for key, least in (("samples", outputs + 1), ("dim", outputs)):
            if getattr(self, key) < least:
                found = getattr(self, key)
                raise _fault(key, f"{found} found, allowed is {least} or more: {outputs} targets")
        if self.target_mean is not None and len(self.target_mean) != outputs:
            message = f"{len(self.target_mean)} numbers found, allowed is one for each target"
            raise _fault("target_mean", f"{message}, {outputs}")
        return self


class GradientDescent(Section):
    """Full-batch gradient descent with heavy-ball momentum at a constant learning rate."""

    kind: Literal["sgd"] = Field(description="Optimiser.")
    learning_rate: Positive = Field(description="Step size.")
    momentum: Annotated[Real, Field(ge=0, lt=1)] = Field(0.0, description="Momentum.")
    steps: Count = Field(description="Number of steps.")
    record: Count = Field(40, description="Log-spaced steps whose state is kept.")


class LBFGS(Section):
    """L-BFGS with strong-Wolfe line search, for the optimum rather than the path to it."""

    kind: Literal["lbfgs"] = Field(description="Optimiser.")
    steps: Count = Field(description="Largest number of iterations.")
    tolerance: Positive = Field(1e-12, description="Gradient norm at which a run has converged.")


class Sweep(Section):
    """A path of decays, each solved from the end of the one before."""

    scaled_decay: list[Positive] = Field(
        min_length=1,
        description="Scaled decays b/n of the largest class; all decays scale together.",
    )
    direction: Literal["up", "down"] = Field("up", description="Order of the path.")
    perturbation: NonNegative = Field(
        0.0, description="Std of the Gaussian noise added to every parameter between decays."
    )


class MLP(Section):
    """Fully connected network with ReLU."""

    kind: Literal["mlp"] = Field(description="Model module.")
    hidden: list[Count] = Field(min_length=1, description="Widths of the hidden layers.")
    normalisation: Literal["batch", "none"] = Field(
        "batch", description="`batch` puts BatchNorm after each ReLU and on the features."
    )
    ending: Literal["signed", "relu", "linear"] = Field(
        "signed",
        description="`signed` gives the features both signs by BatchNorm, or without "
        "normalisation by one more linear layer; `relu` takes the last ReLU's values as features, "
        "`linear` what enters it (both without normalisation).",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "MLP":
        if self.normalisation == "batch" and self.ending != "signed":
            raise _fault("ending", f"{self.ending} found, with BatchNorm allowed is signed")
        return self


class ResNet18(Section):
    """ResNet18 with the CIFAR stem (3x3, stride 1, no pooling) and BatchNorm on the features."""

    kind: Literal["resnet18"] = Field(description="Model module.")


class CNN(Section):
    """A small convolutional network, for scales without a GPU."""

    kind: Literal["cnn"] = Field(description="Model module.")
    channels: list[Count] = Field(
        min_length=1, description="Channels of the 3x3 convolutions; each halves the image."
    )


class Head(Section):
    """The M-layer linear head."""

    depth: Count = Field(1, description="Number M of linear layers W_1 to W_M.")
    bias: bool = Field(False, description="Unregularised bias in the last layer.")
    init: Literal["orthogonal", "uniform"] = Field(
        "orthogonal", description="Start of the layers; `uniform` in +-1/sqrt(d)."
    )


class Schedule(Section):
    """Step decay of the learning rate."""

    step: Count = Field(description="Epochs between reductions.")
    factor: Annotated[Real, Field(gt=0, le=1)] = Field(description="Factor of each reduction.")


class Training(Section):
    """How a network is trained."""

    optimiser: Literal["sgd", "adam"] = Field(description="Optimiser.")
    learning_rate: Positive = Field(description="Initial learning rate.")
    momentum: Annotated[Real, Field(ge=0, lt=1)] = Field(0.0, description="Momentum of `sgd`.")
    schedule: Schedule | None = Field(None, description="Learning-rate steps; null is constant.")
    epochs: Count = Field(description="Passes over the training set.")
    batch_size: Count = Field(description="Samples in a batch.")
    record: Count = Field(40, description="Log-spaced epochs whose network is kept and measured.")
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "tf32",
        description="Products on a GPU: `tf32` rounds their factors to 10 bits of mantissa, `bf16` "
        "runs the network in mixed precision. Features that a metric reads are always float32.",
    )
    augmentation: list[Literal["crop", "flip"]] = Field(
        default_factory=list,
        description="What is done to training images anew in each epoch: `crop` moves them by up "
        "to 4 pixels over a black border, `flip` mirrors half of them left to right.",
    )


class Experiment(Section):
    """What every experiment has."""

    grid: dict[str, list] = Field(
        default_factory=dict, description="Lists of values at dotted paths of this experiment."
    )
    seeds: Count = Field(description="Number of seeds, 0 to seeds - 1.")


class ProblemExperiment(Experiment):
    """An optimisation over free features; float64, one batch per shape."""

    # Values that may differ inside one batch: they change no tensor's shape.
    batched: ClassVar[frozenset[str] | None] = frozenset(
        {
            "weight_decay",
            "feature_decay",
            "optimiser.learning_rate",
            "problem.init_scale",
            "sweep.direction",
        }
    )

    problem: Annotated[Problem | RegressionProblem, Field(discriminator="kind")] = Field(
        description="The objective."
    )
    optimiser: Annotated[GradientDescent | LBFGS, Field(discriminator="kind")] = Field(
        description="The solver."
    )
    sweep: Sweep | None = Field(None, description="Path of decays; null keeps them constant.")
    weight_decay: Decays = Field(
        description="lambda_W in 1/2 lambda_W ||W_m||^2: W_1 to W_M, or one number for all."
    )
    feature_decay: NonNegative | None = Field(
        description="lambda_H in 1/2 lambda_H ||H||^2, summed over all samples; of a regression "
        "in 1/(2M) lambda_H ||H||^2, a mean over them. Null: as weight_decay."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ProblemExperiment":
        _check_layers("weight_decay", self.weight_decay, self.problem.depth)
        _check_tied(self, "feature_decay")
        if self.sweep and self.problem.kind != "deep_linear":
            raise _fault("sweep", f"found with a {self.problem.kind} problem, allowed is null")
        if self.sweep and self.optimiser.kind != "sgd":
            raise ValueError("a sweep follows gradient descent: optimiser.kind must be sgd")
        decays = self.weight_decay if isinstance(self.weight_decay, list) else [self.weight_decay]
        if self.sweep and not all([*decays, self.feature_decay]):
            raise ValueError("a sweep scales the decays: none of them may be 0")
        return self


class NetworkExperiment(Experiment):
    """A real network trained on real data; MLPs of one shape train as one ensemble."""

    data: Data = Field(description="Training data.")
    model: Annotated[MLP | ResNet18 | CNN, Field(discriminator="kind")] = Field(
        description="Backbone that computes the features H."
    )
    head: Head = Field(description="Linear layers on the features.")
    loss: Literal["mse", "ce"] = Field(
        description="Data term: 1/(2N) ||Z - Y||^2 summed over classes, or mean CE."
    )
    weight_decay: Decays = Field(
        description="lambda_W in 1/2 lambda_W ||W_m||^2 of the head's layers."
    )
    feature_decay: NonNegative | None = Field(
        description="lambda_H in 1/2 lambda_H ||H||^2, summed over all N samples; "
        "a batch of B counts N/B times. Of a regression in 1/(2N) lambda_H ||H||^2, a mean over "
        "them. Null: as weight_decay."
    )
    backbone_decay: NonNegative | None = Field(
        0.0,
        description="lambda in 1/2 lambda ||theta||^2 of the backbone. Null: as weight_decay.",
    )
    decayed: Literal["all", "weights"] = Field(
        "all",
        description="Backbone parameters in theta: all, or without biases and those of BatchNorm.",
    )
    training: Training = Field(description="Optimisation.")
    features: Literal["last", "all"] = Field(
        "last", description="Recorded epochs whose full features are written; all are measured."
    )

    @property
    def batched(self) -> frozenset[str] | None:
        """Values that may differ inside one job; None if each run is a job of its own."""
        if self.model.kind != "mlp":
            return None
        return frozenset({"weight_decay", "feature_decay", "backbone_decay"})

    @model_validator(mode="after")
    def _consistent(self) -> "NetworkExperiment":
        _check_layers("weight_decay", self.weight_decay, self.head.depth)
        _check_tied(self, "feature_decay", "backbone_decay")
        return self


def _fault(key: str, message: str) -> PydanticCustomError:
    """Return the error of a section's validator about one of its keys."""
    return PydanticCustomError("fault", "{message}", {"key": key, "message": message})


def _check_layers(key: str, values: float | list[float], depth: int) -> None:
    """Refuse, at `key` of the section, a list that has not one value per layer."""
    if isinstance(values, list) and len(values) != depth:
        message = f"{len(values)} values found, allowed are one, or one per layer (depth {depth})"
        raise _fault(key, message)


def _check_tied(section: Section, *keys: str) -> None:
    """Refuse decays that equal `weight_decay` where that is a list."""
    for key in keys:
        if getattr(section, key) is None and isinstance(section.weight_decay, list):
            raise _fault(key, "null found with a list of weight decays, allowed is a number")


@dataclass(frozen=True)
class Run:
    """One point of an experiment's grid at one seed.

    Attributes
    ----------
    study, experiment
        Where it belongs.
    point
        Its grid values by dotted path.
    seed
        Its seed.
    config
        The experiment at this point, every value resolved.
    """

    study: str
    experiment: str
    point: dict[str, Any]
    seed: int
    config: ProblemExperiment | NetworkExperiment

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


@dataclass(frozen=True, eq=False)
class Atlas:
    """The whole validated config.

    Attributes
    ----------
    scale
        The scale it was read at.
    datasets
        Where each data set comes from, by name.
    studies
        Experiments by study and name.
    """

    scale: str
    datasets: dict[str, DataSource | Demonstrations | Table]
    studies: dict[str, dict[str, ProblemExperiment | NetworkExperiment]]

    def experiment(self, study: str, name: str) -> ProblemExperiment | NetworkExperiment:
        """Return one experiment.

        Raises
        ------
        InputError
            If the study or the experiment does not exist.
        """
        _known("study", study, self.studies)
        _known(f"experiment of {study}", name, self.studies[study])
        return self.studies[study][name]

    @cache  # noqa: B019  (one Atlas lives as long as the process, which asks for each job)
    def runs(self, study: str, name: str) -> list[Run]:
        """Return the runs of an experiment in the order of its grid, seeds fastest."""
        experiment = self.experiment(study, name)
        return [
            Run(study, name, point, seed, config)
            for point in grid.points(experiment.grid)
            for config in [resolve(experiment, point)]
            for seed in range(experiment.seeds)
        ]

    @cache  # noqa: B019
    def groups(self, study: str, name: str) -> dict[str, dict[str, Any]]:
        """Return what one job solves or trains, by the name of its folder.

        Runs whose tensors have one shape share a job: problems over free features, and MLPs.
        A folder of problems is named by what they have in common, ``depth=3``; one of networks
        says which seeds it holds, ``depth=3+seeds=0-2``, and one of a single network is the run's.

        Each value holds the group's config, the grid of what varies inside and the seeds.
        """
        experiment = self.experiment(study, name)
        members: dict[str, list[Run]] = {}
        for run in self.runs(study, name):
            outer = _outer(run)
            members.setdefault(run.id if outer is None else _named(outer), []).append(run)
        return dict(_group(experiment, runs) for runs in members.values())


def _outer(run: Run) -> dict[str, Any] | None:
    """Return the part of a run's point that its whole job shares; None if it runs alone."""
    batched = run.config.batched
    if batched is None:
        return None
    return {path: value for path, value in run.point.items() if path not in batched}


def _named(point: Mapping[str, Any]) -> str:
    return grid.identifier({path.rsplit(".", 1)[-1]: value for path, value in point.items()})


def _group(
    experiment: ProblemExperiment | NetworkExperiment, runs: list[Run]
) -> tuple[str, dict[str, Any]]:
    """Return the folder and the description of the job of these runs."""
    first, outer = runs[0], _outer(runs[0])
    point = first.point if outer is None else outer
    seeds = sorted({run.seed for run in runs})
    if isinstance(experiment, ProblemExperiment):
        folder = _named(point)
    elif len(runs) == 1:
        folder = first.id
    else:
        folder = f"{_named(point)}+" if point else ""
        folder += f"seeds={seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else f"seed={seeds[0]}"
    inner = {path: values for path, values in experiment.grid.items() if path not in point}
    return folder, {
        "study": first.study,
        "experiment": first.experiment,
        "point": point,
        "config": plain(resolve(experiment, point)),
        "grid": inner,
        "order": list(experiment.grid),
        "seeds": seeds,
    }


def plain(section: Section) -> dict[str, Any]:
    """Return a section as JSON values, its grid and seeds left out."""
    return section.model_dump(mode="json", exclude={"grid", "seeds"})


def resolve(
    experiment: ProblemExperiment | NetworkExperiment, point: Mapping[str, Any]
) -> ProblemExperiment | NetworkExperiment:
    """Return the experiment at one point of its grid, validated."""
    return type(experiment).model_validate(grid.assign(experiment.model_dump(), point))


def _known(what: str, name: str, allowed: Mapping[str, Any] | set[str]) -> None:
    if name not in allowed:
        close = difflib.get_close_matches(str(name), [str(key) for key in allowed], 1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise InputError(f"no {what} '{name}'{hint} (there are: {', '.join(sorted(allowed))})")


Layer = tuple[str, Mapping[str, Any]]
_NO_GRID: Mapping[str, list] = {}


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested configs: mappings key by key; lists, values and ``grid`` whole."""
    merged = dict(base)
    for key, value in override.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        # A mapping of another kind (mlp -> cnn) is another thing: its keys do not mix.
        same = both and value.get("kind", merged[key].get("kind")) == merged[key].get("kind")
        merged[key] = merge(merged[key], value) if same and key != "grid" else value
    return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; raise InputError in one line where it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: should be a mapping, found {type(content).__name__}")
    return content


def load(folder: str | Path, user: Mapping[str, Any] | None = None, origin: str = "") -> Atlas:
    """Read, merge and validate the whole config.

    Parameters
    ----------
    folder
        The ``config`` folder.
    user
        The user's config (``--configfile`` and ``--config``, already merged), which may name
        the scale.
    origin
        Where `user` came from, for messages.

    Raises
    ------
    InputError
        In one line: the file, the key, what was found and what is allowed.
    """
    folder, user = Path(folder), dict(user or {})
    base = read_yaml(folder / "config.yaml")
    scale = user.get("scale", base.get("scale"))
    scales = {path.stem for path in (folder / "scales").glob("*.yaml")}
    _known("scale", scale, scales)
    scale_file = folder / "scales" / f"{scale}.yaml"
    layers: list[Layer] = [(str(folder / "config.yaml"), base)]
    layers += [(str(path), read_yaml(path)) for path in sorted(folder.glob("studies/*.yaml"))]
    layers += [(str(scale_file), read_yaml(scale_file)), (origin or "--config", user)]
    merged: dict[str, Any] = {}
    for name, layer in layers:
        _check_keys(name, layer)
        merged = merge(merged, layer)
    merged.pop("scale")
    return _validate(merged, layers, scale)


def _check_keys(origin: str, block: Any, where: tuple[str, ...] = ()) -> None:
    """Refuse keys that YAML reads as something else than text, such as ``1`` and ``on``."""
    for key, value in block.items() if isinstance(block, Mapping) else ():
        if not isinstance(key, str):
            place = ".".join([*where, str(key)])
            raise InputError(f"{origin}: {place}: a key should be text, found {key!r}")
        _check_keys(origin, value, (*where, key))


def _validate(merged: dict[str, Any], layers: list[Layer], scale: str) -> Atlas:
    datasets = _validate_datasets(merged.pop("datasets", {}), layers)
    known = {key for _, layer in layers[:-2] for key in layer} - {"scale", "datasets"}
    studies: dict[str, dict] = {}
    for study, experiments in merged.items():
        if study not in known:
            _refuse(layers, (study,), "no such study", known)
        if not isinstance(experiments, Mapping):
            _refuse(layers, (study,), "should be a mapping of experiments", None)
        studies[study] = {
            name: _validate_experiment(block, layers, (study, name), set(datasets))
            for name, block in experiments.items()
        }
    return Atlas(scale, datasets, studies)


def _validate_datasets(blocks: Any, layers: list[Layer]) -> dict[str, Section]:
    if not isinstance(blocks, Mapping):
        _refuse(layers, ("datasets",), "should be a mapping of data sets", None)
    datasets = {}
    for name, block in blocks.items():
        if name in KNOWN_DATA and isinstance(block, Mapping) and "table" in block:
            message = f"{name} is not the user's: name the table otherwise"
            _refuse(layers, ("datasets", name, "table"), message, None)
        source = _parse(_source_kind(name, block), block, layers, ("datasets", name))
        if not isinstance(source, Table) and name not in KNOWN_DATA:
            message = "no such data set, and no table of the user's"
            _refuse(layers, ("datasets", name), message, KNOWN_DATA)
        datasets[name] = source
    return datasets


def _source_kind(name: str, block: Any) -> type[Section]:
    if name in TASKS:
        return Demonstrations
    return Table if isinstance(block, Mapping) and "table" in block else DataSource


def _validate_experiment(
    block: Any, layers: list[Layer], where: tuple[str, ...], datasets: set[str]
):
    if not isinstance(block, Mapping):
        _refuse(layers, where, "should be a mapping", None)
    kind = ProblemExperiment if "problem" in block else NetworkExperiment
    if kind is NetworkExperiment and "model" not in block and "data" not in block:
        fields = set(ProblemExperiment.model_fields) | set(NetworkExperiment.model_fields)
        for key in block:
            if key not in fields:
                _refuse(layers, (*where, key), "unknown key", fields)
        names = {name for _, layer in layers[:-2] for name in layer.get(where[0]) or {}}
        _refuse(layers, where, "is no experiment: it has neither `problem` nor `model`", names)
    lists = block.get("grid") or {}
    base = {key: value for key, value in block.items() if key != "grid"}
    if not isinstance(lists, Mapping):
        _refuse(layers, (*where, "grid"), "should be a mapping of lists", None)
    for path, values in lists.items():
        if not isinstance(values, list) or not values:
            _refuse(layers, (*where, "grid", path), "should be a list of at least one value", None)
        if any(isinstance(value, Mapping) for value in values):
            _refuse(layers, (*where, "grid", path), "should hold values, not sections", None)
        if None in values and path in TIED:
            message = "null among others, allowed are numbers: null equals weight_decay"
            _refuse(layers, (*where, "grid", path), message, None)
        if len({isinstance(value, list) for value in values if value is not None}) > 1:
            message = "should hold either lists or single values: they share a column"
            _refuse(layers, (*where, "grid", path), message, None)
        if len({grid.format_value(value) for value in values}) < len(values):
            _refuse(layers, (*where, "grid", path), "has the same value twice", None)
        _check_path(kind, base, path, layers, where)
    names = {path: path.rsplit(".", 1)[-1] for path in lists}
    columns = [*TABLE_COLUMNS, *names.values()]
    for path, name in names.items():
        if columns.count(name) > 1:
            message = f"two columns of a table would be called '{name}'"
            _refuse(layers, (*where, "grid", path), message, None)
    # The base alone need not be valid (a grid may supply a value); every point must be.
    parsed = [
        (point, _parse(kind, grid.assign(base, point), layers, where, lists))
        for point in grid.points(lists)
    ]
    for _, each in parsed:
        if isinstance(each, NetworkExperiment):
            if each.data.name not in datasets:
                _refuse(layers, (*where, "data", "name"), "no such data set", datasets)
            for key, message in _misfits(each):
                _refuse(layers, _swept(where, key, lists), message, None)
    read = {path: [_value_at(each, path) for point, each in parsed] for path in lists}
    typed = {
        path: [v for i, v in enumerate(read[path]) if v not in read[path][:i]] for path in lists
    }
    return parsed[0][1].model_copy(update={"grid": typed})


def _value_at(experiment: Section, path: str) -> Any:
    """Return the value at a dotted path as it was read: ``1e-3`` in YAML is text, here a number."""
    value: Any = experiment.model_dump(mode="json")
    for key in path.split("."):
        value = value[key]
    return value


def _check_path(kind, base: dict, path: str, layers: list[Layer], where: tuple[str, ...]) -> None:
    """Refuse a grid path whose parents do not exist or that varies what it must not."""
    if path == "data.name":
        _refuse(layers, (*where, "grid", path), "an experiment has one data set", None)
    node: Any = base
    *parents, _ = path.split(".")
    for parent in parents:
        node = node.get(parent) if isinstance(node, Mapping) else None
    allowed = set(kind.model_fields) - {"grid", "seeds"}
    if path.split(".")[0] not in allowed or not isinstance(node, Mapping):
        _refuse(layers, (*where, "grid", path), "is not a key of this experiment", allowed)


def _misfits(experiment: NetworkExperiment) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is known not to fit the data set before it is fetched: the key, and why."""
    name, data = experiment.data.name, experiment.data
    entry, moves = DATA_SETS.get(name), experiment.training.augmentation
    if entry is None:
        if experiment.loss != "mse":
            yield ("loss",), f"{experiment.loss} found, allowed is mse: {name} has real targets"
        if experiment.head.depth > 1:
            yield ("head", "depth"), f"{experiment.head.depth} found, allowed is 1: a regression"
        for key in ("samples_per_class", "class_sizes", "imbalance_ratio"):
            if getattr(data, key) is not None:
                yield ("data", key), f"{getattr(data, key)} found, {name} has no classes"
    elif data.class_sizes and len(data.class_sizes) != len(entry.classes):
        message = f"{len(data.class_sizes)} sizes found, {name} has {len(entry.classes)} classes"
        yield ("data", "class_sizes"), message
    else:
        for key in ("samples", "standardise"):
            if getattr(data, key):
                yield ("data", key), f"{getattr(data, key)} found, {name} is no regression"
    if moves and (entry is None or entry.image_shape[1:] == (1, 1)):
        message = f"{moves} found, allowed is []: {name} is a table, not images"
        yield ("training", "augmentation"), message


def _swept(where: tuple[str, ...], key: tuple[str, ...], lists: Mapping) -> tuple[str, ...]:
    """Return the place of an experiment's key: in its grid where that supplies the value."""
    dotted = ".".join(key) + "."
    path = next((path for path in lists if dotted.startswith(f"{path}.")), None)
    return (*where, "grid", path) if path else (*where, *key)


def _parse(model, block, layers: list[Layer], where: tuple[str, ...], lists: Mapping = _NO_GRID):
    try:
        return model.model_validate(block)
    except ValidationError as error:
        # Of a union's branches, the one that got furthest is the one that was meant.
        problem = max(error.errors(), key=lambda e: len(_place(e, block)))
    key = _place(problem, block)
    place = _swept(where, key, lists)
    if problem["type"] == "extra_forbidden":
        _refuse(layers, place, "unknown key", _fields(model, block, key[:-1]))
    if problem["type"] == "missing":
        _refuse(layers, place, "is missing", None)
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if isinstance(problem["input"], Mapping) else f", found {problem['input']!r}"
    _refuse(layers, place, message[0].lower() + message[1:] + found, None)


def _place(problem: Mapping[str, Any], block: Any) -> tuple[str, ...]:
    """Return the path of a validation error in the config, the tags of unions left out."""
    place = []
    for part in problem["loc"]:
        if isinstance(block, Mapping) and part in block:
            block = block[part]
        elif isinstance(block, list) and isinstance(part, int):
            block = block[part]
        elif not (problem["type"] == "missing" and part == problem["loc"][-1]):
            continue
        place.append(str(part))
    if problem["type"] == "fault":
        place.append(problem["ctx"]["key"])
    return tuple(place)


def _fields(model, block, parents: tuple[str, ...]) -> set[str]:
    """Return the keys allowed in the section at `parents`, following discriminated unions."""
    for parent in parents:
        block = block[parent]
        annotation = model.model_fields[parent].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        sections = [o for o in options if isinstance(o, type) and issubclass(o, Section)]
        model = next((s for s in sections if block.get("kind") in _kinds(s)), sections[0])
    return set(model.model_fields)


def _kinds(section) -> tuple[str, ...]:
    field = section.model_fields.get("kind")
    return field.annotation.__args__ if field else ()


def _refuse(
    layers: list[Layer], place: tuple[str, ...], message: str, allowed: set[str] | None
) -> None:
    """Raise the one-line error, naming the last file that sets the key (or its section)."""
    hint = ""
    if allowed is not None:
        close = difflib.get_close_matches(place[-1], allowed, 1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        hint += f" (allowed: {', '.join(sorted(allowed))})"
    for length in range(len(place), 0, -1):
        for origin, layer in reversed(layers):
            if _holds(layer, place[:length]):
                raise InputError(f"{origin}: {'.'.join(place)}: {message}{hint}")
    raise InputError(f"{layers[-1][0]}: {'.'.join(place)}: {message}{hint}")


def _holds(layer: Any, place: tuple[str, ...]) -> bool:
    for key in place:
        if not isinstance(layer, Mapping) or key not in layer:
            return False
        layer = layer[key]
    return True
