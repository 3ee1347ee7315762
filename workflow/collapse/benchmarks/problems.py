"""Problems over free features: the solver against autograd, one problem at a time."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial

import numpy as np
import torch

from collapse.benchmarks.sizes import Descent, Problems, Sizes
from collapse.benchmarks.table import Line, Row
from collapse.benchmarks.textbook.problems import (
    TextbookProblem,
    textbook_flow,
    textbook_minimum,
)
from collapse.benchmarks.timing import device_name, interleaved, seconds, threads
from collapse.problems import mixup, perturbation
from collapse.problems.deep_linear import DeepLinear, build
from collapse.problems.parameters import Parameters
from collapse.problems.solvers.flow import gradient_flow
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent

MOMENTUM = 0.9
LEARNING_RATE = 0.1
# Standard deviation of a start times sqrt(d): 0.1 at d = 64, and no wide problem diverges.
INIT_GAIN = 0.8
DECAYS = (2.5e-4, 5e-4, 1e-3, 2e-3)

_GRID = "{} problems (K=4, d=64, N=400, M=6)"
_UNIT = "us per problem and step"
_EAGER = "eager autograd, one problem at a time"
_GRAPH = "one CUDA-graphed problem at a time"
_LEAN = f"{_GRAPH}, decay in the optimiser"
GRID_CORE = Line(_GRID.format(64), _EAGER, _UNIT, least=15)
GRID_SAMPLES = Line(f"{_GRID.format(64)}, all samples", _GRAPH, _UNIT, least=300)
GRID_REDUCED = Line(f"{_GRID.format(64)}, class-reduced", _GRAPH, _UNIT, least=1000)
MANY_SAMPLES = Line(f"{_GRID.format('1,024')}, all samples", _GRAPH, _UNIT)
MANY_REDUCED = Line(f"{_GRID.format('1,024')}, class-reduced", _GRAPH, _UNIT, least=2000)
_ODD = "{} problems (K=4, d=63, N=400, M=6), class-reduced"
GRID_ODD = Line(_ODD.format(64), _GRAPH, _UNIT, least=600)
MANY_ODD = Line(_ODD.format("1,024"), _GRAPH, _UNIT, least=1200)
MANY_LEAN = Line(f"{_GRID.format('1,024')}, class-reduced", _LEAN, _UNIT)
GRID_LEAN = Line(f"{_GRID.format(64)}, class-reduced", _LEAN, _UNIT)
WIDE = Line("16 problems (K=10, d=512, N=50,000, M=1)", _EAGER, _UNIT, least=100)
FLOWS = Line(
    "16 flows of perturbation (K=4, n=3, d=6) to t=30",
    "SciPy's DOP853 with autograd, one flow at a time",
    "ms per flow",
)
MIXTURES = Line(
    "2 problems of mixup (K=5, d=6, 9 nodes), slopes below 1e-5",
    "torch.optim.LBFGS with autograd, one problem at a time",
    "ms per problem",
)


class AllSamples(DeepLinear):
    """The same problems, solved on all N columns."""

    def reduced(self, start: Parameters) -> tuple[DeepLinear, Parameters, None]:
        """Return the problem and the start as they are."""
        return self, start, None


def all_samples(problem: DeepLinear) -> AllSamples:
    """Return the problems in the form that is not reduced."""
    return AllSamples(**{field.name: getattr(problem, field.name) for field in fields(problem)})


def make(size: Problems, device: torch.device) -> tuple[DeepLinear, Parameters]:
    """Return a grid over decays and starts, and the starts, drawn on the device."""
    shape = {
        "class_sizes": [size.per_class] * size.classes,
        "depth": size.depth,
        "widths": size.dim,
        "loss": "mse",
        "bias": False,
    }
    # A grid as studies have it: decays that differ, in one job.
    decays = [DECAYS[index % len(DECAYS)] for index in range(size.batch)]
    problem = build(
        [{"problem": shape, "weight_decay": decay, "feature_decay": decay} for decay in decays],
        device,
    )
    generator = torch.Generator(device).manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64, device=device)
    outputs, scale = (*[size.dim] * (size.depth - 1), size.classes), INIT_GAIN / size.dim**0.5
    weights = tuple(draw(size.batch, rows, size.dim).mul_(scale) for rows in outputs)
    features = draw(size.batch, size.dim, size.classes * size.per_class).mul_(scale)
    return problem, Parameters.of_head(features, weights)


def solve(problem: DeepLinear, start: Parameters, steps: int) -> None:
    """Run the solver and keep the end."""
    rates = torch.full_like(problem.feature_decay, LEARNING_RATE)
    end = gradient_descent(problem, start, rates, MOMENTUM, steps, [steps])
    if (end.diverged_step >= 0).any():
        # The solver would stop early, or look for the step: no time of steps.
        raise ArithmeticError("a timed problem diverged")


def run_seconds(
    problem: DeepLinear, start: Parameters, size: Descent, device: torch.device
) -> float:
    """Return the time per problem and step of a whole run, set-up included."""
    short, long = size.timed
    ends = seconds(partial(solve, problem, start, long), device)
    if short != long:
        begins = seconds(partial(solve, problem, start, short), device)
        # Noise must not make a difference of two times negative.
        ends += (size.steps - long) * max(ends - begins, 0.0) / (long - short)
    return ends / (size.steps * problem.batch)


def textbook(
    problem: DeepLinear, start: Parameters, penalties_in_loss: bool = True
) -> TextbookProblem:
    """Return the first problem of a batch the textbook way."""
    return TextbookProblem(problem, start, 0, LEARNING_RATE, MOMENTUM, penalties_in_loss)


def _repeat(step: Callable[[], None], times: int) -> None:
    for _ in range(times):
        step()


def _baseline(
    problem: DeepLinear,
    start: Parameters,
    size: Descent,
    device: torch.device,
    graphed: bool,
    penalties_in_loss: bool = True,
) -> Callable[[], float]:
    """Return what times a step of a single problem, eager or captured."""
    single = textbook(problem, start, penalties_in_loss)
    step = single.captured() if graphed else single.step
    work = partial(_repeat, step, size.baseline_steps)
    return lambda: seconds(work, device) / size.baseline_steps


def _compare(
    size: Descent,
    device: torch.device,
    lines: dict[str, Line],
    graphed: bool,
    repeats: int,
    lean: Line | None = None,
) -> Iterator[Row]:
    """Time the routes named in `lines` against a single problem, `reduced` also a lean one."""
    problem, start = make(size.problems, device)
    routes = {"reduced": problem, "samples": all_samples(problem)}
    ways = {"baseline": _baseline(problem, start, size, device, graphed)} | {
        route: partial(run_seconds, routes[route], start, size, device) for route in lines
    }
    # Without the penalties' forward pass: the fastest form of the textbook way.
    if lean is not None:
        ways["lean"] = _baseline(problem, start, size, device, graphed, penalties_in_loss=False)
    times = interleaved(ways, repeats)
    note = f"ours: runs of {size.steps:,} steps with their set-up"
    if size.timed[0] != size.timed[1]:
        note += ", from runs of {:,} and {:,}".format(*size.timed)
    note += f"; baseline: {size.baseline_steps:,} steps of one problem, without its set-up"
    for route, line in lines.items():
        yield line.timed(device_name(device), times["baseline"], times[route], note)
    if lean is not None:
        yield lean.timed(device_name(device), times["lean"], times["reduced"], note)


def grid_on_a_core(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the row of the grid on one core of the CPU."""
    with threads(1):
        yield from _compare(sizes.grid_core, device, {"reduced": GRID_CORE}, False, sizes.repeats)


def grid_on_a_gpu(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of the grid on a GPU, against a problem in a CUDA graph."""
    lines = {"samples": GRID_SAMPLES, "reduced": GRID_REDUCED}
    yield from _compare(sizes.grid_gpu, device, lines, True, sizes.repeats, GRID_LEAN)
    yield from _compare(sizes.odd_gpu, device, {"reduced": GRID_ODD}, True, sizes.repeats)


def many_on_a_gpu(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of a larger grid."""
    lines = {"samples": MANY_SAMPLES, "reduced": MANY_REDUCED}
    yield from _compare(sizes.many_gpu, device, lines, True, sizes.repeats, MANY_LEAN)
    yield from _compare(sizes.many_odd_gpu, device, {"reduced": MANY_ODD}, True, sizes.repeats)


def wide(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the row of many samples in a wide feature space."""
    yield from _compare(sizes.wide_gpu, device, {"reduced": WIDE}, False, sizes.repeats)


def _in_turn(work: Callable[[int], object], count: int) -> Callable[[], None]:
    def run() -> None:
        for index in range(count):
            work(index)

    return run


def _each(
    line: Line,
    ours: Callable[[], object],
    theirs: Callable[[int], object],
    count: int,
    device: torch.device,
    repeats: int,
    note: str,
) -> Row:
    """Time what is done of all problems against one problem at a time."""
    ways = {
        "ours": lambda: seconds(ours, device) / count,
        "theirs": lambda: seconds(_in_turn(theirs, count), device) / count,
    }
    times = interleaved(ways, repeats)
    return line.timed(device_name(device), times["theirs"], times["ours"], note)


def flows(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the row of gradient flows on one core of the CPU."""
    size = sizes.flows
    shape = {"classes": size.classes, "samples_per_class": size.per_class, "dim": size.dim}
    problem = perturbation.build(
        [{"problem": shape | {"beta": None}, "weight_decay": 0.1, "feature_decay": 0.03}]
        * size.batch
    )
    start = problem.initial(range(size.batch), 1.0)
    times = np.geomspace(1e-2, size.last, size.record)
    ours = partial(gradient_flow, problem, start, times, size.tolerance)
    theirs = partial(textbook_flow, problem, start, times, size.tolerance)
    note = f"both: DOP853, local error {size.tolerance:g}; ours: analytic gradients"
    with threads(1):
        yield _each(FLOWS, ours, theirs, size.batch, device, sizes.repeats, note)


def mixtures(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the row of mixup's problems on one core of the CPU."""
    size = sizes.mixtures
    shape = {"classes": size.classes, "dim": size.dim, "nodes": size.nodes, "alpha": 1.0}
    shape |= {"loss": "ce", "classifier": "free"}
    configs = [{"problem": shape, "weight_decay": 1e-3, "feature_decay": 1e-3}] * size.batch
    problem = mixup.build(configs)
    start = problem.initial(range(size.batch), 1.0)
    ours = partial(lbfgs, problem, start, size.tolerance, size.iterations)
    theirs = partial(textbook_minimum, problem, start, size.tolerance, size.iterations)
    note = "both: L-BFGS; ours: SciPy's, analytic gradients, columns scaled by their weight"
    with threads(1):
        yield _each(MIXTURES, ours, theirs, size.batch, device, sizes.repeats, note)
