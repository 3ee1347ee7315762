"""Networks: captured training against a data-loader loop, and what measuring them costs."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import MixUp

from collapse.artifacts import write_tensors
from collapse.benchmarks.sizes import Networks, Sizes
from collapse.benchmarks.table import Line, Row
from collapse.benchmarks.textbook.networks import (
    CapturedTraining,
    ResidentBatches,
    TextbookTraining,
    loader,
    usable_workers,
)
from collapse.benchmarks.timing import device_name, interleaved, seconds
from collapse.metrics.layers import Reading, head_readings
from collapse.models.network import Network, build
from collapse.models.states import get_arrays
from collapse.schedule import log_spaced
from collapse.training.ensemble import Ensemble
from collapse.training.extract import extract_to_measure
from collapse.training.objective import Objective
from collapse.training.samples import Samples
from collapse.training.supervised import SupervisedLearner
from collapse.training.trainer import Trainer

MEAN, STD = 0.5, 0.25
PRECISIONS = ("tf32", "bf16")

_WAYS = {
    "loader": "textbook DataLoader loop",
    "eager": "textbook step, images on the GPU",
    "graph": "textbook step in a CUDA graph, images on the GPU",
}
"""The other side: as one would write it, and without what a host decides."""


def _lines(work: str, unit: str, loader: float) -> dict[str, Line]:
    """Return a line for each of the other side's ways; the goal is against the loader."""
    goals = {"loader": {"least": loader, "judged": False}}
    return {way: Line(work, against, unit, **goals.get(way, {})) for way, against in _WAYS.items()}


_RESNET = "ResNet18, batch 128, 50,000 images 3x32x32, {}"
_PER_NETWORK = "s per epoch and network"
RESNET = {
    "tf32": _lines(_RESNET.format("TF32"), "s per epoch", 3),
    "bf16": _lines(_RESNET.format("bf16"), "s per epoch", 5),
}
MIXED = Line(
    f"{_RESNET.format('TF32')}, with mixup",
    "textbook DataLoader loop with torchvision's MixUp",
    "s per epoch",
)
MLPS = _lines("32 MLPs (6 x 512, BatchNorm, Adam), batch 128", _PER_NETWORK, 75)
FOUR = Line(f"4 times {_RESNET.format('bf16')}", "one of them by itself", _PER_NETWORK, least=1.35)
NINE = Line(
    "9 ResNet18 (ImageNet stem), batch 128, 50,000 images 1x28x28, TF32", _WAYS["graph"],
    _PER_NETWORK,
)  # fmt: skip
_SHARE = "share of checkpoints and metrics, {}"
RESNET_SHARE = Line(_SHARE.format("ResNet18"), "training time", "of it", most=0.05)
MLP_SHARE = Line(_SHARE.format("MLP"), "training time", "of it", most=0.05)


class Work:
    """Random images, and both ways of training on them."""

    def __init__(self, size: Networks, device: torch.device) -> None:
        self.size, self.device = size, device
        random = np.random.default_rng(0)
        self.pixels = random.integers(0, 256, (size.images, *size.shape), dtype=np.uint8)
        self.classes = np.arange(size.images) % size.classes
        channels = size.shape[0]
        self.statistics = (MEAN,) * channels, (STD,) * channels
        self.images = Samples(self.pixels, *self.statistics, 255, device)
        self.labels = torch.from_numpy(self.classes).to(device)

    def network(self, seed: int) -> Network:
        """Return a network, from its seed."""
        config = {
            "model": self.size.model,
            "head": {"depth": 1, "bias": True, "init": "orthogonal"},
        }
        return build(config, self.size.shape, self.size.classes, seed)

    def settings(self, precision: str) -> dict[str, Any]:
        """Return the section ``training`` of a config."""
        return {
            **self.size.optimiser,
            "schedule": None,
            "epochs": self.size.epochs,
            "batch_size": self.size.batch,
            "record": self.size.record,
            "precision": precision,
            "augmentation": [],
        }

    def training(self, precision: str, members: int | None = None) -> Trainer:
        """Return our training of the first networks, of all if their number is not given.

        Whether it compiles follows from its whole length.
        """
        decay, seeds = self.size.decay, range(members or self.size.members)
        objective = Objective(
            loss=self.size.loss,
            weight_decay=decay,
            feature_decay=0.0,
            backbone_decay=decay,
            decayed="all",
            samples=self.size.images,
        )
        settings = self.settings(precision)
        return Trainer(
            [
                SupervisedLearner(
                    Ensemble([self.network(seed).to(self.device) for seed in group]),
                    self.images,
                    self.labels,
                    objective,
                    settings,
                    group,
                    self.size.input,
                )
                for group in ([seeds] if self.size.stacked else [[seed] for seed in seeds])
            ]
        )

    def textbook(
        self, workers: int | None = None, order: Sequence[int] | None = None
    ) -> TextbookTraining:
        """Return the textbook training of the first network, fed by a `DataLoader`."""
        workers = usable_workers() if workers is None else workers
        mixup, further = None, ()
        if "alpha" in self.size.input:
            mixup = MixUp(alpha=self.size.input["alpha"], num_classes=self.size.classes)
            # Of soft labels; the mean over samples, as ours.
            further = (functional.cross_entropy,)
        batches = loader(
            self.pixels, self.classes, *self.statistics, self.size.batch, workers, order, mixup
        )
        return TextbookTraining(*self._textbook(batches), *further)

    def resident(self, training: type[TextbookTraining]) -> TextbookTraining:
        """Return such a training whose images lie on the device."""
        images = self.images.take(slice(None)).contiguous()
        return training(*self._textbook(ResidentBatches(images, self.labels, self.size.batch)))

    def _textbook(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple:
        return self.network(0), batches, self.settings("tf32"), self.size.decay, self.device

    def others(self) -> dict[str, Callable[[], float]]:
        """Return what times an epoch of each of the other side's ways."""
        ways = {"loader": self.textbook(), "eager": self.resident(TextbookTraining)}
        if self.device.type == "cuda":
            ways["graph"] = self.resident(CapturedTraining)
        return {way: _epoch_seconds(each.epoch, self.device) for way, each in ways.items()}

    def measuring_seconds(self, folder: Path, products: str) -> float:
        """Return the time that one recorded state costs: written, its features, its metrics.

        `products` is the precision of the features, see `extract_to_measure`.
        """
        network = self.network(0).to(self.device)

        def measure() -> None:
            write_tensors(folder / "state.safetensors", get_arrays(network.state_dict()), {})
            readings(network, self.images, self.labels, products)

        # Once to warm up; then the shorter, since what disturbs the machine only adds.
        measure()
        return min(seconds(measure, self.device) for _ in range(2))


def readings(
    network: Network, images: Samples, labels: torch.Tensor, products: str = "float32"
) -> list[Reading]:
    """Return the metrics of a network's layers on the images that it was trained on."""
    weights = [weight.detach() for weight in network.head.weights]
    bias = network.head.bias
    bias = None if bias is None else bias.detach()
    features, _ = extract_to_measure(network, images, labels, products, hidden=False)
    return list(head_readings(features["H1"], labels, weights, bias))


def _epoch_seconds(epoch: Callable[[], object], device: torch.device, networks: int = 1):
    return lambda: seconds(epoch, device) / networks


def _ours(training: Trainer) -> Callable[[], object]:
    # Epochs have numbers, from 1, which the schedule and the order of the samples depend on.
    numbers = count(1)
    return lambda: training.epoch(next(numbers))


def _share(work: Work, line: Line, epoch: float) -> Row:
    """Return the row of what measuring adds to a training of such epochs, before it collapses."""
    points = len(log_spaced(work.size.epochs, work.size.record)) - 1
    with tempfile.TemporaryDirectory() as folder:
        rounded, exact = (
            work.measuring_seconds(Path(folder), products) for products in ("tf32", "float32")
        )
    note = (
        f"{points - 1} points of {1e3 * rounded:.3g} ms each (state written, features, metrics) "
        f"and the last, whose features are exact, of {1e3 * exact:.3g} ms, against "
        f"{work.size.epochs} epochs of {1e3 * epoch:.3g} ms"
    )
    share = ((points - 1) * rounded + exact) / (work.size.epochs * epoch)
    return line.valued(device_name(work.device), share, note)


def resnet(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of ResNet18, by precision, and of what measuring it costs."""
    work = Work(sizes.resnet, device)
    trainings = {precision: work.training(precision) for precision in PRECISIONS}
    ways = work.others() | {
        precision: _epoch_seconds(_ours(training), device)
        for precision, training in trainings.items()
    }
    # One baseline for both precisions, timed in the same rounds.
    times = interleaved(ways, sizes.repeats)
    for precision, training in trainings.items():
        yield from _compared(RESNET[precision], times, times[precision], training, device)
    yield _share(work, RESNET_SHARE, median(times["tf32"]))


def mlps(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of an ensemble of MLPs."""
    work = Work(sizes.mlp, device)
    training = work.training("tf32")
    ours = _epoch_seconds(_ours(training), device, sizes.mlp.members)
    times = interleaved(work.others() | {"ours": ours}, sizes.repeats)
    yield from _compared(MLPS, times, times["ours"], training, device)
    yield _share(work, MLP_SHARE, median(times["ours"]))


def mixed(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the row of ResNet18 on mixed samples."""
    work = Work(sizes.mixed, device)
    training = work.training("tf32")
    ways = {
        "loader": _epoch_seconds(work.textbook().epoch, device),
        "ours": _epoch_seconds(_ours(training), device),
    }
    times = interleaved(ways, sizes.repeats)
    yield MIXED.timed(device_name(device), times["loader"], times["ours"], _note(training))


def side_by_side(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of convolutional networks that train side by side."""
    four, nine = Work(sizes.four, device), Work(sizes.nine, device)
    single = _epoch_seconds(_ours(four.training("bf16", 1)), device)
    together = four.training("bf16")
    ways = {"single": single, "ours": _epoch_seconds(_ours(together), device, sizes.four.members)}
    times = interleaved(ways, sizes.repeats)
    yield FOUR.timed(device_name(device), times["single"], times["ours"], _note(together))
    together = nine.training("tf32")
    # The fastest way there is.
    *_, other = nine.others().values()
    ways = {"other": other, "ours": _epoch_seconds(_ours(together), device, sizes.nine.members)}
    times = interleaved(ways, sizes.repeats)
    yield NINE.timed(device_name(device), times["other"], times["ours"], _note(together))


def _compared(
    lines: dict[str, Line],
    times: Mapping[str, Sequence[float]],
    ours: Sequence[float],
    training: Trainer,
    device: torch.device,
) -> Iterator[Row]:
    for way, line in lines.items():
        if way in times:
            yield line.timed(device_name(device), times[way], ours, _note(training))


def _note(training: Trainer) -> str:
    return (
        f"random images; ours: {'compiled, ' if training.compiled else ''}TF32 unless named "
        f"otherwise; baseline: one network, {usable_workers()} loader workers, pinned memory, "
        "PyTorch's default TF32 flags"
    )
