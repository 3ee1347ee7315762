"""Work on a GPU that is captured once and replayed, and compiled where it can be."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Calls before the capture, so that libraries have set themselves up.
WARM_UP = 3
# Kernels of so many steps fill a GPU.
STREAMS = 8
# That one function may be compiled for.
MOST_SHAPES = 256


def captured(step: Callable[[], None], state: Sequence[Tensor], count: int = 1) -> Callable:
    """Return a function that replays `count` calls of `step` as one CUDA graph.

    Parameters
    ----------
    step
        Works in place on memory that it holds, and never waits for the device.
    state
        All tensors that `step` changes, on one GPU; they are as before when this returns.
    count
        Calls in the graph.
    """
    with torch.cuda.device_of(state[0]), torch.no_grad():
        originals = [tensor.clone() for tensor in state]
        # PyTorch asks for the warm-up on a stream that is not the default one.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                with torch.enable_grad():
                    step()
                # Each time: several steps in a row might lead beyond the end of the data.
                torch._foreach_copy_(list(state), originals)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Capturing runs nothing: the state is as it was.
        with torch.cuda.graph(graph), torch.enable_grad():
            for _ in range(count):
                step()
    return partial(_replay, graph, step)


def _replay(graph: torch.cuda.CUDAGraph, step: Callable[[], None]) -> None:
    """Replay a graph; the step comes along because the graph's memory lives as long as it."""
    graph.replay()


def in_turn(steps: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """Return a function that takes steps one after the other."""

    def step() -> None:
        for each in steps:
            each()

    return step


def side_by_side(steps: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """Return a function that takes steps at the same time, on streams of one GPU.

    No step may read what another writes.
    """
    if len(steps) == 1:
        return steps[0]
    count = min(STREAMS, len(steps))
    lanes = [(torch.cuda.Stream(), in_turn(steps[lane::count])) for lane in range(count)]

    def step() -> None:
        current = torch.cuda.current_stream()
        for stream, lane in lanes:
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                lane()
        for stream, _ in lanes:
            current.wait_stream(stream)

    return step


def compile_deterministically(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled for the shapes that it is first called with, always alike.

    PyTorch's compiler would pad products of matrices where that was faster in a trial of its own,
    which on a loaded GPU comes out otherwise: the same training then ends in other digits.
    """
    # Networks of many shapes may go through one function; past the limit nothing is compiled.
    torch._dynamo.config.recompile_limit = MOST_SHAPES
    return torch.compile(function, dynamic=False, options={"deterministic": True})


@cache
def can_compile() -> bool:
    """Return whether `torch.compile` finds the C compiler and Python's headers that it needs.

    Where it does not, a line on standard error says so, once.
    """
    compilers = (os.environ.get("CC"), "gcc", "clang")
    header = Path(sysconfig.get_path("include"), "Python.h")
    available = any(name and shutil.which(name) for name in compilers) and header.is_file()
    if not available:
        print("no C compiler with Python's headers: nothing is compiled", file=sys.stderr)
    return available
