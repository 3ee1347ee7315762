"""How large each piece of timed work is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from collapse.models import mlp, resnet18
from collapse.training.inputs import mixup, plain
from collapse.training.losses import ce, mse
from collapse.training.update_rules import adam, sgd


def section(module: ModuleType, **keys: Any) -> dict[str, Any]:
    """Return the section of a config whose kind is a module's.

    Named by its module: the code digest of a stage sees imports, and no names in strings.
    """
    return {"kind": module.__name__.rpartition(".")[2], **keys}


MLP = section(mlp, hidden=[512] * 6, normalisation="batch", ending="signed", init="uniform")
RESNET18 = section(resnet18, stem="cifar", feature_normalisation="batch")
SMALL_RESNET18 = section(resnet18, stem="imagenet", feature_normalisation="none")
MSE, CE = section(mse), section(ce)
PLAIN, MIXUP = section(plain), section(mixup, alpha=1.0, per_sample=False)
SGD = {"optimiser": section(sgd), "learning_rate": 0.05, "momentum": 0.9}
ADAM = {"optimiser": section(adam), "learning_rate": 1e-4, "momentum": 0.0}


@dataclass(frozen=True)
class Problems:
    """B bias-free MSE problems over free features, under gradient descent.

    Each with K `classes` of n samples (N = K n), dimension d and depth M.
    """

    batch: int
    classes: int = 4
    per_class: int = 100
    dim: int = 64
    depth: int = 6


@dataclass(frozen=True)
class Descent:
    """Gradient descent on problems, on both sides.

    Attributes
    ----------
    timed
        Steps of a short and a long run of ours that are timed; since all steps cost the same, the
        whole run follows from the two. The same number twice: that run is timed once.
    baseline_steps
        Steps that are timed of one problem on the other side, its set-up left out.
    steps
        Steps of a whole run. Its cost is stated per step and problem, set-up included.
    """

    problems: Problems
    timed: tuple[int, int]
    baseline_steps: int
    steps: int = 30_000


@dataclass(frozen=True)
class Flows:
    """B gradient flows of perturbation problems, to a time and a local error; see their study."""

    batch: int = 16
    classes: int = 4
    per_class: int = 3
    dim: int = 6
    last: float = 30.0
    record: int = 20
    tolerance: float = 1e-10


@dataclass(frozen=True)
class Mixtures:
    """B mixup problems with a free classifier, minimised to a largest slope; see their study."""

    batch: int = 2
    classes: int = 5
    dim: int = 6
    nodes: int = 9
    tolerance: float = 1e-5
    iterations: int = 20_000


@dataclass(frozen=True)
class Networks:
    """Networks (`members`, side by side) on random images.

    `model`, `loss` and `input` are these sections of a config, `optimiser` those keys of its
    section ``training`` that choose the update rule. Members are `stacked` in batched products, or
    each has kernels of its own. N images of C x H x W in K classes come in batches. A whole
    training has so many epochs, of which `record` states are measured; `decay` is lambda of all
    parameters but the head's bias.
    """

    model: Mapping[str, Any]
    optimiser: Mapping[str, Any]
    members: int = 1
    images: int = 50_000
    shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    batch: int = 128
    epochs: int = 200
    record: int = 40
    decay: float = 5e-4
    loss: Mapping[str, Any] = field(default_factory=lambda: MSE)
    input: Mapping[str, Any] = field(default_factory=lambda: PLAIN)
    stacked: bool = True


@dataclass(frozen=True)
class Features:
    """Features near collapse, and how often their metrics are computed in one timing."""

    samples: int = 50_000
    dim: int = 512
    classes: int = 10
    calls: int = 3


@dataclass(frozen=True)
class Scaling:
    """Series of one size each, all others as in the base, `problems` or `features`.

    Of the problems B, N and d vary, of the metrics N, d and K, which is at most d, the simplex
    ETF's dimension. `product` is the side of the square matrices whose product is timed, and
    `least_seconds` how long a timing lasts at least.
    """

    problems: Problems
    batch: tuple[int, ...]
    samples: tuple[int, ...]
    dim: tuple[int, ...]
    features: Features
    metric_samples: tuple[int, ...]
    metric_dim: tuple[int, ...]
    metric_classes: tuple[int, ...]
    product: int
    least_seconds: float = 0.1


@dataclass(frozen=True)
class Sizes:
    """All that is timed."""

    repeats: int = 5
    grid_core: Descent = Descent(Problems(64), (40, 240), 40)
    grid_gpu: Descent = Descent(Problems(64), (2_000, 10_000), 2_000)
    many_gpu: Descent = Descent(Problems(1_024), (500, 1_500), 2_000)
    # No multiple of 16, which tensor cores would want.
    odd_gpu: Descent = Descent(Problems(64, dim=63), (2_000, 10_000), 2_000)
    many_odd_gpu: Descent = Descent(Problems(1_024, dim=63), (500, 1_500), 2_000)
    wide_gpu: Descent = Descent(Problems(16, 10, 5_000, 512, 1), (100, 2_100), 400)
    resnet: Networks = field(default_factory=lambda: Networks(RESNET18, SGD))
    mixed: Networks = field(default_factory=lambda: Networks(RESNET18, SGD, loss=CE, input=MIXUP))
    four: Networks = field(
        default_factory=lambda: Networks(RESNET18, SGD, members=4, stacked=False)
    )
    nine: Networks = field(
        default_factory=lambda: Networks(
            SMALL_RESNET18, SGD, members=9, shape=(1, 28, 28), stacked=False
        )
    )
    mlp: Networks = field(default_factory=lambda: Networks(MLP, ADAM, members=32))
    flows: Flows = Flows()
    mixtures: Mixtures = Mixtures()
    features_cpu: Features = Features()
    features_gpu: Features = Features(calls=20)
    scaling_cpu: Scaling = Scaling(
        problems=Problems(8),
        batch=(1, 2, 4, 8, 16, 32, 64),
        samples=(40, 100, 400, 1_600, 6_400),
        dim=(16, 32, 64, 128, 256),
        features=Features(calls=1),
        metric_samples=(5_000, 10_000, 20_000, 50_000, 100_000),
        metric_dim=(64, 128, 256, 512, 1_024),
        metric_classes=(2, 10, 30, 100, 300),
        product=1_024,
    )
    scaling_gpu: Scaling = Scaling(
        problems=Problems(64),
        batch=(1, 4, 16, 64, 256, 1_024),
        samples=(40, 100, 400, 1_600, 6_400, 25_600),
        dim=(16, 32, 64, 128, 256, 512),
        features=Features(calls=10),
        metric_samples=(5_000, 20_000, 50_000, 200_000, 500_000),
        metric_dim=(64, 128, 256, 512, 1_024, 2_048),
        metric_classes=(2, 10, 30, 100, 300, 500),
        product=4_096,
    )
