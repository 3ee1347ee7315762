"""What planning asks of a kind: the bases of the sections of each slot that it asks something."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.costs import Size
from collapse.config.section import Section, fault
from collapse.data.catalogue import DataSet


class ProblemKind(Section):
    """Base of the sections of problems over free features.

    Attributes
    ----------
    penalties
        Which decays of the experiment the objective has: these are required, others refused.
    positive
        Those of them that may not be 0.
    batched
        Keys of the section that may differ inside one job: they change no tensor's shape, and
        `build` reads them from every config. Each value of another key gets a job of its own.
    layered
        Whether it has layers W_1 to W_M, each of which may have a weight decay of its own.
    sweeps
        Whether all its decays can be scaled together, as a `sweep` does.
    probes
        Kinds of probes that measure its states.
    further_probes
        Kinds of probes that measure them where an experiment asks for it.
    labelled_features
        Whether its only variable is features of labelled samples, as many of each class.
    """

    penalties: ClassVar[frozenset[str]] = frozenset()
    positive: ClassVar[frozenset[str]] = frozenset()
    batched: ClassVar[frozenset[str]] = frozenset()
    layered: ClassVar[bool] = True
    sweeps: ClassVar[bool] = False
    probes: ClassVar[tuple[str, ...]] = ()
    further_probes: ClassVar[tuple[str, ...]] = ()
    labelled_features: ClassVar[bool] = False

    def check_optimum(self, weight_decay: Any, feature_decay: Any) -> None:
        """Refuse decays at which no optimum is known in closed form; here none ever is."""
        raise fault("start", f"optimum found, none of a {self.kind} problem is known")

    @property
    def layers(self) -> int:
        """The length of a list of weight decays; a single number may stand for all."""
        return 1

    @property
    def products(self) -> float:
        """Multiply-adds of a gradient, where they are more than a few for each number."""
        return 0

    @property
    def entries(self) -> int:
        """Numbers in one problem's variables, in the columns that the solver works on."""
        return 1


class StartKind(Section):
    """Base of the sections of starts.

    Attributes
    ----------
    near_optimum
        Whether it is a known optimum, or one with noise.
    """

    near_optimum: ClassVar[bool] = False

    def check(self, experiment: Section) -> None:
        """Refuse an experiment that the start does not fit; raise a fault of the experiment's."""


class SolverKind(Section):
    """Base of the sections of solvers.

    Keys that are `batched` may differ inside one job; one that `sweeps` can follow a path of
    decays. One that works `side_by_side` on the problems of a job takes its steps for all at once.
    What a step is, or the metric that says it, is its `clock`.
    """

    batched: ClassVar[frozenset[str]] = frozenset()
    sweeps: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False
    clock: ClassVar[str] = "step"

    def cores(self, runs: int, entries: int) -> int:
        """Return how many cores a job can use for so many problems of so many numbers each."""
        return 1

    def passes(self, entries: int) -> float:
        """Return how often it passes over the numbers of a problem, as often as a gradient does."""
        return 1e5

    def calls(self, entries: int) -> float:
        """Return how many gradients it takes one after the other, each with its own overhead."""
        return self.passes(entries)

    @property
    def length(self) -> int:
        """How many steps it may take; of one without a key `steps` each is a record."""
        return getattr(self, "steps", self.records)

    def held(self, entries: int) -> int:
        """Return how many numbers it holds beside a few of a problem's own size."""
        return 0

    @property
    def records(self) -> int:
        """How many states of a run it keeps."""
        return 2


class InputKind(Section):
    """Base of the sections of what a network's batch is made of.

    One with `labels_only` does not take the real targets of a regression.
    """

    labels_only: ClassVar[bool] = False


class ProbeKind(Section):
    """Base of the sections of probes that do not fit every experiment.

    One `of_networks` measures these, or their samples, and no problem, one `of_problems` no
    network. Of problems those are measured that name it among their probes.
    """

    of_networks: ClassVar[bool] = False
    of_problems: ClassVar[bool] = False

    def passes(self, samples: int, records: int) -> int:
        """Return how many samples it sends through a network of which so many states are kept."""
        return samples * records

    def misfits(self, experiment: Section, data_set: DataSet | None) -> Iterator[tuple[str, str]]:
        """Yield what does not fit the experiment on a data set, of a problem None: key, and why."""
        return iter(())


class LabelProbe(ProbeKind):
    """Base of the sections of probes of labelled samples."""

    def misfits(self, experiment: Section, data_set: DataSet | None) -> Iterator[tuple[str, str]]:
        """Yield that the data have real targets, if that is so."""
        if data_set is not None and data_set.regression:
            yield "kind", f"{self.kind} found, {data_set.title} has real targets, no labels"


class RealProbe(ProbeKind):
    """Base of the sections of probes of a head of one layer on real targets."""

    def misfits(self, experiment: Section, data_set: DataSet | None) -> Iterator[tuple[str, str]]:
        """Yield that the data of a network have labels or its head more layers, if that is so."""
        if data_set is None:
            return
        if not data_set.regression:
            yield "kind", f"{self.kind} found, {data_set.title} has labels, no real targets"
        if experiment.head.depth > 1:
            found = f"{self.kind} found, the head has {experiment.head.depth} layers"
            yield "kind", f"{found}, needed is one"


class HeldProbe(ProbeKind):
    """Base of the sections of probes of a perturbation problem that is held near an H_0."""

    of_problems: ClassVar[bool] = True

    def misfits(self, experiment: Section, data_set: DataSet | None) -> Iterator[tuple[str, str]]:
        """Yield that there is no H_0 without a beta."""
        if experiment.problem.beta is None:
            yield "kind", f"{self.kind} found, problem.beta is null: there is no H_0"


class MixedProbe(ProbeKind):
    """Base of the sections of probes of mixed samples of a network."""

    of_networks: ClassVar[bool] = True
    views: list[Literal["eval", "train", "eval_augmented", "train_augmented"]] = Field(
        ["eval"],
        min_length=1,
        description="Modes of the network, in training with the batch statistics of BatchNorm; "
        "`_augmented` moves images. Rows are of the first, the others are of the last state only.",
    )
    augmentation: list[Literal["crop", "flip"]] = Field(
        default_factory=list, description="How images are moved, as in `training.augmentation`."
    )
    layers: Literal["last", "all"] = Field(
        "last", description="Layers: what the head gets, or every hidden layer's too."
    )

    @model_validator(mode="after")
    def _augmented(self) -> "MixedProbe":
        augmented = [view for view in self.views if view.endswith("_augmented")]
        if bool(augmented) != bool(self.augmentation):
            found = augmented[0] if augmented else f"no augmented view with {self.augmentation}"
            needed = "augmentation too" if augmented else "one"
            raise fault("views", f"{found} found, needed is {needed}")
        return self

    def misfits(self, experiment: Section, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield real targets, too few classes, and moves of what are no images."""
        if data_set.regression:
            yield "kind", f"{self.kind} found, {data_set.title} has no classes to mix"
        elif len(data_set.classes) < 3:
            count = len(data_set.classes)
            yield "kind", f"{self.kind} found, {data_set.title} has {count} classes, needed are 3"
        elif self.augmentation and not data_set.images:
            found = f"{self.augmentation} found, {data_set.title} is a table, not images"
            yield "augmentation", found
        if experiment.head.activation != "linear":
            head = f"a {experiment.head.activation} head"
            yield "kind", f"{self.kind} found with {head}, which is no plane of logits"


class LossKind(Section):
    """Base of the sections of networks' losses.

    One with `real_targets` takes those of a regression.
    """

    real_targets: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Its name in figures."""
        return self.kind.upper()


class ModelKind(Section):
    """Base of the sections of networks' backbones.

    Those of an `ensemble`, of one shape, train side by side in one job.
    """

    ensemble: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Its name in figures."""
        return self.kind

    @property
    def dim(self) -> int | None:
        """The features' dimension, None where the section does not say it."""
        return None

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return what a pass over one image of C x H x W takes: here as much as a large network."""
        return Size(10**8, 10**10, 10**7)

    def misfit(self, image_shape: tuple[int, int, int]) -> tuple[str, str] | None:
        """Return which key does not fit images of C x H x W, and why, or None."""
        return None

    @property
    def layerwise(self) -> bool:
        """Whether it is a chain of hidden layers that can be trained one after the other."""
        return False


class UpdateRuleKind(Section):
    """Base of the sections of networks' update rules."""

    @property
    def label(self) -> str:
        """Its name in figures."""
        return self.kind
