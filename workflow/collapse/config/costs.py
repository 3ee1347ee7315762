"""What jobs cost: the work that an experiment means, and the measured speeds that make it time."""

import math
from dataclasses import dataclass

from collapse.config.experiment import Resources


@dataclass(frozen=True)
class Speed:
    """How fast a kind of work goes: units a second, and seconds that each step takes at least."""

    units: float
    step: float = 0.0


# Measured: one core of an EPYC with torch 2.14, one H100 with torch 2.11. Units are multiply-adds
# of a network's forward and backward pass, in the precision that it trains in and in float32 as
# features are computed; of problems numbers (float64) that a gradient passes over.
SPEEDS = {
    "cpu": {
        "float32": Speed(1.6e10, 1e-3),
        "tf32": Speed(1.6e10, 1e-3),
        # Emulated.
        "bf16": Speed(1e8, 1e-3),
        "problem": Speed(5e8, 2e-4),
    },
    "gpu": {
        "float32": Speed(1.1e13, 4e-4),
        "tf32": Speed(4.6e13, 4e-4),
        "bf16": Speed(7.7e13, 4e-4),
        "problem": Speed(2e10, 1e-4),
    },
}
# As much work as one number of a problem are so many multiply-adds of its gradient.
PRODUCTS = 30
# A GPU is asked for where a core would take longer, and where it is so many times faster: many wait
# for it, and small work does not fill it.
PATIENCE, GAIN = 600.0, 4.0
# Other machines are slower, and a job that is ended has waited in vain: the time limit is so many
# times what is expected, beside the start (imports, data, compiling) on a busy file system.
MARGIN, START = 4.0, 600.0
# Of a process with torch (0.75 GB) and the Snakemake around it, and with a CUDA context, in MB.
PROCESS, CUDA_PROCESS = 2000, 5000


@dataclass(frozen=True)
class Size:
    """What a network's pass over one sample takes.

    Attributes
    ----------
    parameters
        Numbers in its parameters.
    products
        Multiply-adds of the forward pass.
    activations
        Numbers that layers hand on, which a backward pass needs.
    """

    parameters: int = 0
    products: int = 0
    activations: int = 0

    def __add__(self, other: "Size") -> "Size":
        """Return that of both, one after the other."""
        return Size(
            self.parameters + other.parameters,
            self.products + other.products,
            self.activations + other.activations,
        )

    def times(self, count: int) -> "Size":
        """Return that of so many alike."""
        return Size(self.parameters * count, self.products * count, self.activations * count)


def dense(inputs: int, outputs: int, places: int = 1) -> Size:
    """Return the size of a linear layer with bias, at so many places of a sample."""
    return Size(outputs * (inputs + 1), inputs * outputs * places, outputs * places)


def convolution(inputs: int, outputs: int, kernel: int, pixels: int) -> Size:
    """Return the size of a convolution without bias that gives so many pixels."""
    weights = inputs * outputs * kernel**2
    return Size(weights, weights * pixels, outputs * pixels)


def norm(channels: int, places: int = 1) -> Size:
    """Return the size of a normalisation, at so many places."""
    return Size(2 * channels, 0, channels * places)


@dataclass(frozen=True)
class Work:
    """What a job does.

    Attributes
    ----------
    kind
        A kind of work in `SPEEDS`.
    units
        How much of it.
    steps
        In how many steps, one after the other.
    host_bytes
        What it holds in the machine's memory: data, states.
    device_bytes
        What it holds on the GPU or, without one, in the machine's memory too.
    written_bytes
        The size of the files that it leaves.
    """

    kind: str
    units: float
    steps: float = 1.0
    host_bytes: float = 0.0
    device_bytes: float = 0.0
    written_bytes: float = 0.0

    def seconds(self, device: str, cores: int = 1) -> float:
        """Return what it takes on a core or a GPU."""
        speed = SPEEDS[device][self.kind]
        return (self.units / speed.units + self.steps * speed.step) / cores


def asked(work: Work, cores: int = 1, gpu: bool = True) -> Resources:
    """Return what a job with this work asks for; a GPU only where it can use one and that pays."""
    alone, accelerated = work.seconds("cpu", cores), work.seconds("gpu")
    gpu = gpu and alone > PATIENCE and alone > GAIN * accelerated
    seconds = accelerated if gpu else alone
    size = work.host_bytes + (0.0 if gpu else work.device_bytes)
    memory = (CUDA_PROCESS if gpu else PROCESS) + math.ceil(size / 1e6)
    limit = math.ceil((START + MARGIN * seconds) / 60)
    return Resources(cores, int(gpu), memory, limit, seconds, work.written_bytes / 1e6)
