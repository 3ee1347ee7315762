"""How the cost of problems and metrics grows, beside what the machine could do at most."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median

import pandas as pd
import torch

from collapse.benchmarks import metrics, problems
from collapse.benchmarks.sizes import Features, Problems, Scaling, Sizes
from collapse.benchmarks.timing import device_name, interleaved, seconds, threads
from collapse.metrics import full_precision

COLUMNS = (
    "work", "axis", "size", "value", "low", "high", "unit", "product_bound", "copy_bound",
    "device",
)  # fmt: skip
PROBLEMS, METRICS = "problems", "metrics"
STATE_COPIES = 2
"""Position and velocity: what a step of gradient descent reads and writes."""
FLOAT32, FLOAT64 = 4, 8
"""Bytes of a number."""
FEWEST_STEPS = 10
"""Steps of the short run, whose time is the set-up and little more."""


def run(sizes: Sizes, device: torch.device) -> pd.DataFrame:
    """Measure all series on the device; of a CPU, one core for problems and two for metrics."""
    size = sizes.scaling_gpu if device.type == "cuda" else sizes.scaling_cpu
    cores = 1, metrics.CORES
    rows = []
    for series, count in zip((_problem_series, _metric_series), cores, strict=True):
        with threads(count):
            rows += [row | {"device": device_name(device)} for row in series(size, device, sizes)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _problem_series(size: Scaling, device: torch.device, sizes: Sizes) -> Iterator[dict]:
    """Yield problem-steps per second by B, N and d."""
    rate = product_rate(size.product, torch.float64, device, size.least_seconds)
    for axis, values, key in (
        ("B", size.batch, "batch"),
        ("N", size.samples, "per_class"),
        ("d", size.dim, "dim"),
    ):
        for value in values:
            number = value // size.problems.classes if axis == "N" else value
            case = replace(size.problems, **{key: number})
            times = _step_seconds(case, device, sizes.repeats, size.least_seconds)
            rates = [1 / time for time in times]
            # A CPU works problem by problem, in its cache; a GPU on the whole batch at once.
            together = case.batch if device.type == "cuda" else 1
            moved = problem_bytes(case)
            yield _row(PROBLEMS, axis, value, rates, "problem-steps per s") | {
                "product_bound": rate / problem_flops(case),
                "copy_bound": copy_rate(together * moved // 2, device, size.least_seconds) / moved,
            }


def _metric_series(size: Scaling, device: torch.device, sizes: Sizes) -> Iterator[dict]:
    """Yield the seconds of NC1 to NC4 by N, d and K."""
    rate = product_rate(size.product, torch.float32, device, size.least_seconds)
    for axis, values, key in (
        ("N", size.metric_samples, "samples"),
        ("d", size.metric_dim, "dim"),
        ("K", size.metric_classes, "classes"),
    ):
        for value in values:
            case = replace(size.features, **{key: value})
            sample = metrics.near_collapse(case, device)
            work = partial(metrics.compute, sample)
            times = interleaved(
                {"ours": partial(seconds, work, device, case.calls)}, sizes.repeats
            )["ours"]
            copied = FLOAT32 * case.samples * case.dim
            yield _row(METRICS, axis, value, times, "s") | {
                "product_bound": metric_flops(case) / rate,
                "copy_bound": 2 * copied / copy_rate(copied, device, size.least_seconds),
            }


def _row(work: str, axis: str, size: int, values: tuple | list, unit: str) -> dict:
    return {
        "work": work, "axis": axis, "size": size, "value": median(values), "low": min(values),
        "high": max(values), "unit": unit,
    }  # fmt: skip


def _step_seconds(size: Problems, device: torch.device, repeats: int, least: float) -> list[float]:
    """Return the time per problem and step, without set-up, of each repeat."""
    problem, start = problems.make(size, device)

    def run(steps: int) -> float:
        return seconds(partial(problems.solve, problem, start, steps), device)

    # Once to warm up; then twice the steps until they take long enough to be timed.
    run(FEWEST_STEPS)
    begin, steps = run(FEWEST_STEPS), 2 * FEWEST_STEPS
    while run(steps) - begin < least:
        steps *= 2
    ways = {count: partial(run, count) for count in (FEWEST_STEPS, steps)}
    short, long = interleaved(ways, repeats).values()
    problem_steps = (steps - FEWEST_STEPS) * size.batch
    # Noise must not make a difference of two times negative.
    return [
        max(after - before, 1e-9) / problem_steps for before, after in zip(short, long, strict=True)
    ]


def columns_of(size: Problems) -> int:
    """Return C: the columns left of N by the exact class reduction, where it gains."""
    return min(size.classes * size.per_class, size.classes + size.dim)


def problem_flops(size: Problems) -> int:
    """Return the operations of a step of one problem, 6 C d K + 6 (M-1) K d^2.

    Three products of K x d, d x C and K x C matrices, and three of K x d, d x d and K x d matrices
    for each of W_1 to W_{M-1}; two operations per entry.
    """
    columns, dim, classes = columns_of(size), size.dim, size.classes
    return 6 * columns * dim * classes + 6 * (size.depth - 1) * classes * dim**2


def problem_bytes(size: Problems) -> int:
    """Return what a step of one problem moves at least: its state, read once and written once."""
    hidden = (size.depth - 1) * size.dim**2
    state = size.dim * columns_of(size) + hidden + size.classes * size.dim
    return 2 * STATE_COPIES * FLOAT64 * state


def metric_flops(size: Features) -> int:
    """Return the operations of projecting on K class means and K rows of the classifier."""
    return 4 * size.samples * size.dim * size.classes


def product_rate(side: int, dtype: torch.dtype, device: torch.device, least: float) -> float:
    """Return the operations per second of a product of square matrices, without TF32."""
    first, second = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(first)
    with full_precision(device):
        return 2 * side**3 / _best(partial(torch.mm, first, second, out=out), device, least)


def copy_rate(size: int, device: torch.device, least: float) -> float:
    """Return the bytes per second, read and written, of copying so many bytes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    return 2 * size / _best(partial(torch.empty_like(source).copy_, source), device, least)


def _best(work: Callable[[], object], device: torch.device, least: float) -> float:
    """Return the shortest of three timings of `least` seconds or more."""
    work()
    # A clock may say 0: then as many calls as a tenth of a microsecond each would allow.
    calls = 1 + round(least / max(seconds(work, device), 1e-7))
    return min(seconds(work, device, calls) for _ in range(3))
