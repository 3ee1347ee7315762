"""All rows of the benchmark's table."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
import torch

from collapse.benchmarks import metrics, networks, problems
from collapse.benchmarks.sizes import Sizes
from collapse.benchmarks.table import COLUMNS, Line, Row

NO_GPU = "needs a CUDA GPU"


@dataclass(frozen=True)
class Benchmark:
    """Rows that `measure` yields together; `kind` is the device they are about, cpu or cuda."""

    kind: str
    lines: tuple[Line, ...]
    measure: Callable[[torch.device, Sizes], Iterator[Row]]


BENCHMARKS = (
    Benchmark("cpu", (problems.GRID_CORE,), problems.grid_on_a_core),
    Benchmark("cpu", (problems.FLOWS,), problems.flows),
    Benchmark("cpu", (problems.MIXTURES,), problems.mixtures),
    Benchmark(
        "cuda",
        (problems.GRID_SAMPLES, problems.GRID_REDUCED, problems.GRID_LEAN, problems.GRID_ODD),
        problems.grid_on_a_gpu,
    ),
    Benchmark(
        "cuda",
        (problems.MANY_SAMPLES, problems.MANY_REDUCED, problems.MANY_LEAN, problems.MANY_ODD),
        problems.many_on_a_gpu,
    ),
    Benchmark("cuda", (problems.WIDE,), problems.wide),
    Benchmark(
        "cuda",
        (
            *(line for lines in networks.RESNET.values() for line in lines.values()),
            networks.RESNET_SHARE,
        ),
        networks.resnet,
    ),
    Benchmark("cuda", (networks.MIXED,), networks.mixed),
    Benchmark("cuda", (networks.FOUR, networks.NINE), networks.side_by_side),
    Benchmark("cuda", (*networks.MLPS.values(), networks.MLP_SHARE), networks.mlps),
    Benchmark("cuda", (metrics.ON_GPU, metrics.ON_GPU_WHOLE, metrics.ERROR_GPU), metrics.on_gpu),
    Benchmark("cpu", (metrics.ON_CPU, metrics.ON_CPU_WHOLE, metrics.ERROR_CPU), metrics.on_cpu),
)


def run(sizes: Sizes, device: torch.device) -> pd.DataFrame:
    """Measure all that can be on this device and the CPU; the rest stands there with the reason."""
    rows = [row for benchmark in BENCHMARKS for row in _rows(benchmark, sizes, device)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(benchmark: Benchmark, sizes: Sizes, device: torch.device) -> list[Row]:
    label = "GPU" if benchmark.kind == "cuda" else "CPU"
    print(f"timing: {benchmark.lines[0].work} ({label})", file=sys.stderr, flush=True)
    if benchmark.kind == "cpu":
        device = torch.device("cpu")
    elif device.type == "cpu":
        return [line.left_out(label, NO_GPU) for line in benchmark.lines]
    try:
        # A list: the rows are measured here, not where an error would end the suite.
        return list(benchmark.measure(device, sizes))
    except torch.OutOfMemoryError:
        return [line.left_out(label, "not enough memory on the GPU") for line in benchmark.lines]
