"""Networks: captured training against a data-loader loop, and what measuring them costs."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from collapse.artifacts import write_tensors
from collapse.benchmarks.sizes import MSE, Networks, Sizes
from collapse.benchmarks.table import Line, Row
from collapse.benchmarks.textbook.networks import TextbookTraining, loader, usable_workers
from collapse.benchmarks.timing import device_name, interleaved, seconds
from collapse.metrics.layers import Reading, head_readings
from collapse.models.network import Network, build
from collapse.models.states import get_arrays
from collapse.schedule import log_spaced
from collapse.training.ensemble import Ensemble
from collapse.training.extract import extract
from collapse.training.learner import Learner
from collapse.training.objective import Objective
from collapse.training.samples import Samples
from collapse.training.trainer import Trainer

MEAN, STD = 0.5, 0.25
PRECISIONS = ("tf32", "bf16")

_LOOP = "textbook DataLoader loop"
_RESNET = "ResNet18, batch 128, 50,000 images 3x32x32, {}"
RESNET = {
    "tf32": Line(_RESNET.format("TF32"), _LOOP, "s per epoch", least=3),
    "bf16": Line(_RESNET.format("bf16"), _LOOP, "s per epoch", least=5),
}
MLPS = Line(
    "32 MLPs (6 x 512, BatchNorm, Adam), batch 128", _LOOP, "s per epoch and network", least=75
)
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

    def training(self, precision: str) -> Trainer:
        """Return our training; whether it compiles follows from its whole length."""
        decay = self.size.decay
        objective = Objective(
            loss=MSE,
            weight_decay=decay,
            feature_decay=0.0,
            backbone_decay=decay,
            decayed="all",
            samples=self.size.images,
        )
        seeds = range(self.size.members)
        ensemble = Ensemble([self.network(seed).to(self.device) for seed in seeds])
        settings = self.settings(precision)
        learner = Learner(ensemble, self.images, self.labels, objective, settings, seeds)
        return Trainer([learner])

    def textbook(
        self, workers: int | None = None, order: Sequence[int] | None = None
    ) -> TextbookTraining:
        """Return the textbook training of the first network."""
        workers = usable_workers() if workers is None else workers
        batches = loader(
            self.pixels, self.classes, *self.statistics, self.size.batch, workers, order
        )
        settings = self.settings("tf32")
        return TextbookTraining(self.network(0), batches, settings, self.size.decay, self.device)

    def measuring_seconds(self, folder: Path) -> float:
        """Return the time that one recorded state costs: written, its features, its metrics."""
        network = self.network(0).to(self.device)

        def measure() -> None:
            write_tensors(folder / "state.safetensors", get_arrays(network.state_dict()), {})
            readings(network, self.images, self.labels)

        # Once to warm up; then the shorter, since what disturbs the machine only adds.
        measure()
        return min(seconds(measure, self.device) for _ in range(2))


def readings(network: Network, images: Samples, labels: torch.Tensor) -> list[Reading]:
    """Return the metrics of a network's layers on the images that it was trained on."""
    weights = [weight.detach() for weight in network.head.weights]
    bias = network.head.bias
    bias = None if bias is None else bias.detach()
    return list(head_readings(extract(network, images)["H1"], labels, weights, bias))


def _epoch_seconds(epoch: Callable[[], object], device: torch.device, networks: int = 1):
    return lambda: seconds(epoch, device) / networks


def _ours(training: Trainer) -> Callable[[], object]:
    # Epochs have numbers, from 1, which the schedule and the order of the samples depend on.
    numbers = count(1)
    return lambda: training.epoch(next(numbers))


def _share(work: Work, line: Line, epoch: float) -> Row:
    """Return the row of what measuring adds to a training of such epochs."""
    points = len(log_spaced(work.size.epochs, work.size.record)) - 1
    with tempfile.TemporaryDirectory() as folder:
        cost = work.measuring_seconds(Path(folder))
    note = (
        f"{points} points of {1e3 * cost:.3g} ms each (state written, features, metrics) against "
        f"{work.size.epochs} epochs of {1e3 * epoch:.3g} ms"
    )
    share = points * cost / (work.size.epochs * epoch)
    return line.valued(device_name(work.device), share, note)


def resnet(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of ResNet18, by precision, and of what measuring it costs."""
    work = Work(sizes.resnet, device)
    trainings = {precision: work.training(precision) for precision in PRECISIONS}
    ways = {"textbook": _epoch_seconds(work.textbook().epoch, device)} | {
        precision: _epoch_seconds(_ours(training), device)
        for precision, training in trainings.items()
    }
    # One baseline for both precisions, timed in the same rounds.
    times = interleaved(ways, sizes.repeats)
    for precision, training in trainings.items():
        note = _note(training)
        yield RESNET[precision].timed(
            device_name(device), times["textbook"], times[precision], note
        )
    yield _share(work, RESNET_SHARE, median(times["tf32"]))


def mlps(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of an ensemble of MLPs."""
    work = Work(sizes.mlp, device)
    training = work.training("tf32")
    ways = {
        "textbook": _epoch_seconds(work.textbook().epoch, device),
        "ours": _epoch_seconds(_ours(training), device, sizes.mlp.members),
    }
    times = interleaved(ways, sizes.repeats)
    yield MLPS.timed(device_name(device), times["textbook"], times["ours"], _note(training))
    yield _share(work, MLP_SHARE, median(times["ours"]))


def _note(training: Trainer) -> str:
    return (
        f"random images; ours: {'compiled, ' if training.compiled else ''}TF32 unless named "
        f"otherwise; baseline: one network, {usable_workers()} loader workers, pinned memory, "
        "PyTorch's default TF32 flags"
    )
