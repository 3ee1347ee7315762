"""Steps of gradient descent with momentum on all samples, many problems at a time.

All problems of a batch advance together; the result of one does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from heapq import merge
from itertools import chain, groupby, pairwise

import torch
from torch import Tensor

from collapse.capture import can_compile, captured, compile_deterministically
from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.chunks import chunks
from collapse.problems.parameters import Parameters, add_decay, flat_copy
from collapse.problems.trajectory import Recorder, core_settings, sound

# A run is checked for divergence at every record and at least this often.
CHECK_EVERY = 500
# Steps in one CUDA graph: the GPU waits between two graphs.
GRAPH_STEPS = 10
# Compiled, `_descend_pass` reads position and velocity once instead of twice. torch.compile takes
# some 20 s, in which a GPU reads this many bytes at 3 TB/s.
COMPILE_BYTES = 60e12


def _descend_pass(position: Tensor, velocity: Tensor, decay: Tensor) -> None:
    """End a step: give the velocity its decay and move the position."""
    add_decay(position, velocity, decay)
    position.sub_(velocity)


def update_pass(start: Parameters, steps: int) -> Callable[[Tensor, Tensor, Tensor], None]:
    """Return `_descend_pass`, compiled where that repays itself.

    The choice depends on the problem's size and the number of steps alone: a compiler may round
    otherwise, and the same run must give the same bytes.
    """
    if _repays_compiling(start, steps) and can_compile():
        return compile_deterministically(_descend_pass)
    return _descend_pass


def _repays_compiling(start: Parameters, steps: int) -> bool:
    # Position and velocity, read once less in every step.
    bytes_per_step = 2 * sum(tensor.nbytes for tensor in start.tensors())
    return start.first.is_cuda and bytes_per_step * steps > COMPILE_BYTES


class _Descent:
    """A chunk of problems under gradient descent."""

    def __init__(
        self,
        problem: Problem,
        start: Parameters,
        learning_rate: Tensor,
        momentum: float,
        update: Callable[[Tensor, Tensor, Tensor], None],
    ):
        self.problem = problem
        self.position = flat_copy(start)
        self.velocity = flat_copy(start.map(torch.zeros_like))
        self._begun = problem.objective(start)
        # The velocity is kept as learning_rate * (SGD's velocity), which saves a factor per pass.
        options = self.position, self.velocity, learning_rate, momentum
        # Takes so many steps.
        self._run = problem.resident(*options) or self._repeated(
            problem.accumulator(*options, update)
        )

    def _state(self) -> tuple[Tensor, Tensor]:
        return self.position.rows.clone(), self.velocity.rows.clone()

    def _restore(self, state: tuple[Tensor, Tensor]) -> None:
        self.position.rows.copy_(state[0])
        self.velocity.rows.copy_(state[1])

    def _repeated(self, step: Callable[[], None]) -> Callable[[int], None]:
        """Return a function that repeats a step, on a GPU in graphs of several."""
        # How many steps each call takes, most first.
        calls = {1: step}
        if self.position.rows.is_cuda:
            state = (self.position.rows, self.velocity.rows)
            calls = {count: captured(step, state, count) for count in (GRAPH_STEPS, 1)}

        def run(steps: int) -> None:
            # As many graphs of several steps as fit, then single steps.
            for count, call in calls.items():
                for _ in range(steps // count):
                    call()
                steps %= count

        return run

    def advance(self, step: int, until: int, diverged: Tensor) -> None:
        """Go from `step` to `until` and note in `diverged` where an objective stops being sound.

        What is lost stays so, but for a rise that is over by the end. It is therefore enough to
        look there, and to repeat the interval step by step only when a problem was lost in it.
        """
        start = self._state()
        self._run(until - step)
        if not bool((self._lost() & (diverged < 0)).any()):
            return
        # The exact step: once more, looking after each.
        self._restore(start)
        for current in range(step + 1, until + 1):
            self._run(1)
            diverged[self._lost() & (diverged < 0)] = current

    def _lost(self) -> Tensor:
        return ~sound(self.problem.objective(self.position.parameters), self._begun)


def descend(
    problem: Problem,
    start: Parameters,
    learning_rate: Tensor,
    momentum: float,
    steps: int,
    states: Recorder,
    update: Callable[[Tensor, Tensor, Tensor], None],
    threads: int,
    on_stop: Callable[[int], None] = lambda _: None,
) -> None:
    """Run gradient descent on a (reduced) problem and fill `states`.

    `on_stop` is called now and then with the step, and at each that is recorded after that is done.
    """
    if (learning_rate.shape, learning_rate.dtype) != ((problem.batch,), start.first.dtype):
        rate = f"{learning_rate.dtype} {tuple(learning_rate.shape)}"
        raise InputError(f"learning_rate: {rate}; need {start.first.dtype} ({problem.batch},)")
    if threads < 1:
        raise InputError(f"threads: {threads}; need at least 1")
    descents = [
        (
            index,
            _Descent(
                problem.select(index),
                start.map(lambda tensor, index=index: tensor[index]),
                learning_rate[index],
                momentum,
                update,
            ),
        )
        for index in split(start)
    ]
    # A start that is not finite diverged at step 0: no step is taken to find out.
    states.diverged[~problem.objective(start).isfinite()] = 0
    record_numbers = {step: number for number, step in enumerate(states.steps)}
    # Each interval ends at a record or a check, whichever comes first.
    stops = merge(states.steps, range(0, steps, CHECK_EVERY), [steps])

    def advance(step: int, until: int, chunk: tuple[slice, _Descent]) -> None:
        index, descent = chunk
        descent.advance(step, until, states.diverged[index])
        if until in record_numbers:
            states.write(record_numbers[until], index, descent.problem, descent.position.parameters)

    # A thread for each chunk at most.
    with _mapping(min(threads, len(descents))) as over_chunks:
        # Two stops at one step are one.
        for step, until in pairwise(chain([0], (stop for stop, _ in groupby(stops)))):
            if bool((states.diverged >= 0).all()):
                return
            # A list, so that each chunk has come there, and an error in a thread is raised.
            list(over_chunks(partial(advance, step, until), descents))
            on_stop(until)


def split(start: Parameters) -> list[slice]:
    """Cut the batch into chunks for a CPU core; a GPU takes it whole."""
    batch = len(start.first)
    if start.first.is_cuda:
        return [slice(0, batch)]
    return chunks(batch, 2 * sum(tensor[0].nbytes for tensor in start.tensors()))


@contextmanager
def _mapping(threads: int) -> Iterator[Callable]:
    """Give a `map` that spreads its calls over threads, each at home on one core."""
    with core_settings():
        if threads == 1:
            yield map
            return
        # Threads take over the number of PyTorch's threads, but not the mode of the processor.
        with ThreadPoolExecutor(threads, "solver", torch.set_flush_denormal, (True,)) as pool:
            yield pool.map
