"""How many problems a CPU core advances together, and how many cores a batch can use."""

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any

# What problems that advance together occupy at most: more leaves a core's share of the cache.
CHUNK_BYTES = 5_000_000


def chunks(batch: int, each: int) -> list[slice]:
    """Cut a batch into equal chunks that suit a core's cache.

    Parameters
    ----------
    batch : int
        The number of problems.
    each : int
        Bytes of one problem's position and velocity.

    Returns
    -------
    list of slice
        Chunks of a single problem where no two fit.
    """
    count = -(-batch // max(1, CHUNK_BYTES // each))
    size = -(-batch // count)
    return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]


def usable_cores(group: Mapping[str, Any]) -> int:
    """Return the number of cores that a shape group can use: one per chunk, one for L-BFGS.

    Parameters
    ----------
    group
        What `collapse.config.Atlas.groups` says of the group.
    """
    config = group["config"]
    if config["optimiser"]["kind"] == "lbfgs":
        return 1
    widths, outputs, samples, reducible = _shape(config["problem"])
    # The bias adds a direction to real targets; one-hot ones hold it already.
    rank = outputs + (config["problem"]["kind"] == "regression")
    columns = min(samples, rank + widths[0]) if reducible else samples
    entries = columns * widths[0] + sum(a * b for a, b in pairwise([*widths, outputs]))
    entries += outputs * config["problem"]["bias"]
    runs = len(group["seeds"]) * prod(map(len, group["grid"].values()))
    return len(chunks(runs, 2 * 8 * entries))


def _shape(problem: Mapping[str, Any]) -> tuple[list[int], int, int, bool]:
    """Return widths, outputs and samples, and whether the samples can be reduced."""
    if problem["kind"] == "regression":
        return [problem["dim"]], len(problem["target_covariance"]), problem["samples"], True
    sizes, widths = problem["class_sizes"], problem["widths"]
    widths = [widths] * problem["depth"] if isinstance(widths, int) else widths
    return widths, len(sizes), sum(sizes), problem["loss"] == "mse"
