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
    problem, samples = config["problem"], sum(config["problem"]["class_sizes"])
    classes, depth, widths = len(problem["class_sizes"]), problem["depth"], problem["widths"]
    widths = [widths] * depth if isinstance(widths, int) else widths
    columns = min(samples, classes + widths[0]) if problem["loss"] == "mse" else samples
    entries = columns * widths[0] + sum(a * b for a, b in pairwise([*widths, classes]))
    entries += classes * problem["bias"]
    runs = len(group["seeds"]) * prod(map(len, group["grid"].values()))
    return len(chunks(runs, 2 * 8 * entries))
