"""Timing of work on a device, and the names of devices."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

CPU_FACTS = Path("/proc/cpuinfo")


def seconds(work: Callable[[], object], device: torch.device, calls: int = 1) -> float:
    """Return the wall time of one call, the device's own work included."""
    # A GPU works on when a call returns: neither earlier work nor a rest of this may be missed.
    _wait(device)
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    _wait(device)
    return (time.perf_counter() - begin) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    ways: Mapping[str, Callable[[], float]], repeats: int
) -> dict[str, tuple[float, ...]]:
    """Time several ways in turn, so that what disturbs the machine disturbs all of them.

    A way does its work once and returns its seconds. Returned are those of each way by round, of
    `repeats` rounds; one more goes before them to warm up.
    """
    rounds = [{name: way() for name, way in ways.items()} for _ in range(repeats + 1)]
    return {name: tuple(times[name] for times in rounds[1:]) for name in ways}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads of the CPU inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """Return the GPU's model, or the CPU's with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{_cpu_model()}, {count} thread{'s' if count > 1 else ''}"


def _cpu_model() -> str:
    lines = CPU_FACTS.read_text().splitlines() if CPU_FACTS.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
